/**
 * System calls on the runtime's sockets: each is found by its addresses, bytes arrive, and nothing waits.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { EAGAIN } from "../../ffi/files.ts";
import { replaceSocket } from "../../ffi/sockets.ts";
import { findConnection, receiveNow, sendNow } from "../../ffi/tcp_sockets.ts";
import { join, utf8 } from "../support/bytes.ts";

/** Both ends of a connection. */
async function connected(listen: string, connect = listen): Promise<[client: Deno.TcpConn, server: Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: listen, port: 0 });
  const client = Deno.connect({ hostname: connect, port: listener.addr.port });
  return [await client, await listener.accept()];
}

function descriptorOf({ localAddr, remoteAddr }: Deno.TcpConn): number {
  const fd = findConnection(localAddr.port, remoteAddr);
  assert(fd !== null, `a descriptor of ${JSON.stringify([localAddr, remoteAddr])}`);
  return fd;
}

/** Waits until there is something to receive. */
async function received(fd: number, into: Uint8Array<ArrayBuffer>): Promise<number> {
  for (;;) {
    const bytes = receiveNow(fd, into);
    if (bytes !== -EAGAIN) return bytes;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const ADDRESSES = [["127.0.0.1"], ["::1"], ["::", "127.0.0.1"], ["0.0.0.0", "127.0.0.1"]];

for (const addresses of ADDRESSES as [string, string?][]) {
  Deno.test(`the descriptors of a connection are found, listening on ${addresses[0]}, and carry bytes both ways`, async () => {
    const [client, server] = await connected(...addresses);
    const [there, here] = [descriptorOf(client), descriptorOf(server)];
    assert(there !== here);
    const into = new Uint8Array(100);
    assertEquals(receiveNow(here, into), -EAGAIN);
    const many = Array.from({ length: 50 }, (_, i) => new Uint8Array(100).fill(i).subarray(0, i));
    for (const [from, to] of [[there, here], [here, there]]) {
      assertEquals(sendNow(from, many), 49 * 25);
      const got: Uint8Array[] = [];
      for (let bytes = 0; bytes < 49 * 25;) {
        const count = await received(to, into);
        got.push(into.slice(0, count));
        bytes += count;
      }
      assertEquals(join(...got), join(...many));
    }
    // What one of the runtime's own calls has sent comes by these, and the other way round.
    await client.write(utf8("by the runtime"));
    assertEquals(await received(here, into), 14);
    sendNow(here, [utf8("to the runtime".padEnd(100)).subarray(0, 14)]);
    assertEquals(await client.read(into), 14);
    client.close();
    assertEquals(await received(here, into), 0);
    server.close();
  });
}

Deno.test("sending takes what there is room for, then nothing; after the peer has reset it, that is said once", async () => {
  const [client, server] = await connected("127.0.0.1");
  const fd = descriptorOf(client);
  const piece = new Uint8Array(2 ** 20);
  let sent = 0, last = 0;
  while ((last = sendNow(fd, [piece, piece])) > 0) sent += last;
  assertEquals(last, -EAGAIN);
  assert(sent > 0);
  // A socket that is closed with unread bytes resets its connection.
  assert(replaceSocket(descriptorOf(server), server.localAddr.port));
  const into = new Uint8Array(100);
  assertEquals(await received(fd, into), -104);
  assertEquals(receiveNow(fd, into), 0);
  assertEquals(sendNow(fd, [piece]), -32);
  client.close();
  server.close();
});

Deno.test("no descriptor is found for addresses that no connection has", async () => {
  const [client, server] = await connected("127.0.0.1");
  const { localAddr, remoteAddr } = client;
  const other = { ...remoteAddr, port: remoteAddr.port ^ 1 };
  assertEquals(findConnection(localAddr.port, other), null);
  assertEquals(findConnection(localAddr.port ^ 1, remoteAddr), null);
  assertEquals(findConnection(localAddr.port, { ...remoteAddr, hostname: "127.0.0.2" }), null);
  client.close();
  assertEquals(findConnection(localAddr.port, remoteAddr), null);
  server.close();
});
