/**
 * The look at a port whose server takes long to answer. Each connection had one of its own, so that a burst of clients took twice
 * as many places of the server: of 30 at once with room for 24, eight heard that it was busy.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { connect } from "../../mod.ts";

Deno.test("many connections to one server that takes long are looked at once", async () => {
  const CLIENTS = 20;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const socket of listener) accepted.push(socket);
  })();
  const location = `grpc://127.0.0.1:${listener.addr.port}/x`;
  const codes = await Promise.all(Array.from({ length: CLIENTS }, () => {
    return connect(location, { timeoutMs: 2000 }).then(() => "connected", ({ code }) => code);
  }));
  assertEquals(codes, new Array(CLIENTS).fill("timeout"));
  // One look speaks HTTP/2, then UCX, which opens what it needs.
  assertGreater(accepted.length, CLIENTS);
  assert(accepted.length <= CLIENTS + 4, `${accepted.length} connections of ${CLIENTS} clients`);
  for (const socket of accepted) socket.close();
  listener.close();
  await accepting.catch(() => {});
});
