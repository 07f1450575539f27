/** The transport over UCX: what arrives, what is refused, and how channels end. */
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { addressOf } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import type { Channel } from "../../src/wire/transport.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import { assertDipcError } from "../support/assert.ts";
import { needsIpv6, needsUcx, needsUcx113, testNeeding, ucx, ucx113 } from "../support/needs.ts";
import { delay } from "../support/time.ts";
import { ROOT } from "../support/paths.ts";
import { descriptors } from "../support/proc.ts";
import { Bench, LONG_MS, nextFrame, pattern, pump, settle, withoutLeaks } from "../support/ucx_pair.ts";

const MASK = 0xffff_ffffn;
/** Both sides of the switch from eager to rendezvous (233 KiB), and the edges. */
const SIZES = [0, 1, 8, 1024, 8192, 65_536, 233 * 1024 - 1, 233 * 1024, 233 * 1024 + 1, 1 << 20, 20 << 20];
const VERSION = ucx?.label ?? "";
// Libraries, and what UCX keeps for the life of the process, are opened here, not by a single test.
if (ucx !== null) {
  await using bench = await Bench.open();
  const [client] = await bench.pair();
  await client.close();
}

function wireTest(name: string, run: () => Promise<void>): void {
  testNeeding([needsUcx], name, () => withoutLeaks(run));
}

/** Sends a body one way and checks what arrives. */
async function transfer(from: Channel, to: Channel, size: number, synchronous: boolean, early: boolean): Promise<void> {
  const data = pattern(size, size + 1);
  const tag = BigInt(size) | 0x0123_4500n << 32n;
  const block = hostPool().acquire(size);
  const send = () => from.sendTagged(tag, wrapBytes(data), synchronous);
  const post = () => to.receive(BigInt(size), MASK, block, size);
  let operation, receive;
  if (early) {
    receive = post();
    operation = send();
  } else {
    operation = send();
    await to.until(() => to.probe() !== null, { timeoutMs: LONG_MS });
    receive = post();
  }
  await settle(to, receive);
  assertEquals([receive.poll(), receive.error, receive.tag, receive.byteLength], [1, null, tag, size]);
  const body = block.toBody(size);
  assertEquals(body.bytes().byteLength, size);
  assert(body.bytes().every((byte, i) => byte === data[i]), `the bytes of ${size} differ`);
  body.release();
  await settle(from, operation);
  assertEquals(operation?.poll() ?? 1, 1);
}

for (const synchronous of [false, true]) {
  for (const early of [false, true]) {
    const how = `${synchronous ? "synchronous" : "plain"} sends, receive posted ${early ? "before" : "after"}`;
    wireTest(`bodies of every size arrive whole in both directions: ${how}`, async () => {
      await using bench = await Bench.open();
      const [client, server] = await bench.pair();
      assert(
        client.transports.length > 0 && client.transports.every((name) => /^[a-z]\w+$/.test(name)),
        client.transports.join(),
      );
      for (const size of SIZES) {
        await transfer(server, client, size, synchronous, early);
        if (size < 1 << 21) await transfer(client, server, size, synchronous, early);
      }
      await client.close();
    });
  }
}

wireTest("frames of every size arrive in order, behind their prefix at 3 modulo 8", async () => {
  await using bench = await Bench.open({ maxMetadataBytes: 32 << 20 });
  const [client, server] = await bench.pair();
  for (const rendezvous of [false, true]) {
    const sizes = [0, 1, 300, 1020, 5000, 65_536, 3, 300_000, 7, 2 << 20, 40];
    const operations = sizes.map((size, i) => server.sendFrame(1, 0xffff_fff0 + i, pattern(size, i), rendezvous));
    for (const [i, size] of sizes.entries()) {
      const frame = await nextFrame(client);
      assertEquals(addressOf(frame) % 8n, 3n);
      assertEquals([frame.byteLength, frame[0], new DataView(frame.buffer, frame.byteOffset).getUint32(1, true)], [
        size + 5,
        1,
        0xffff_fff0 + i,
      ]);
      const expected = pattern(size, i);
      assert(frame.subarray(5).every((byte, at) => byte === expected[at]), `frame ${i} of ${size} bytes differs`);
    }
    for (const operation of operations) await settle(server, operation);
  }
  assertEquals([client.queuedFrames, client.queuedFrameBytes], [0, 0]);
  await client.close();
});

wireTest("ten thousand frames and bodies keep their order and their pairs", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  const count = 10_000, window = 64;
  let sent = 0, received = 0, frames = 0;
  const bodies = Array.from({ length: window }, () => new Uint8Array(512));
  const pending: (ReturnType<Channel["sendTagged"]>)[] = [];
  const sending = server.until(() => {
    while (pending.length > 0 && (pending[0] === null || pending[0].poll() !== 0)) pending.shift();
    while (sent < count && sent - received < window) {
      const bytes = bodies[sent % window];
      new DataView(bytes.buffer).setUint32(0, sent, true);
      server.sendFrame(1, sent, bytes);
      pending.push(server.sendTagged(BigInt(sent), wrapBytes(bytes), true));
      sent++;
    }
    return sent === count && pending.length === 0;
  }, { timeoutMs: LONG_MS });
  const queue: {
    block: ReturnType<ReturnType<typeof hostPool>["acquire"]>;
    receive: ReturnType<Channel["receive"]>;
  }[] = [];
  const done = await client.until(() => {
    for (let frame; queue.length < 16 && (frame = client.takeFrame()) !== null;) {
      const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(1, true);
      assertEquals(sequence, frames++);
      const block = hostPool().acquire(512);
      queue.push({ block, receive: client.receive(BigInt(sequence), MASK, block, 512) });
    }
    while (queue.length > 0 && queue[0].receive.poll() === 1) {
      const { block } = queue.shift()!;
      const view = new DataView(block.bytes().buffer, block.bytes().byteOffset);
      assertEquals(view.getUint32(0, true), received++);
      block.release();
    }
    return received === count;
  }, { timeoutMs: LONG_MS });
  assert(done && await sending, "the message did not arrive");
  await client.close();
});

wireTest("a message longer than its receive is a protocol error and writes nothing beyond", async () => {
  await using bench = await Bench.open();
  for (const size of [100, 20_000, 1 << 20]) {
    const [client, server] = await bench.pair();
    const block = hostPool().acquire(size);
    block.bytes().fill(1);
    const receive = client.receive(5n, MASK, block, size / 2);
    server.sendTagged(5n, wrapBytes(new Uint8Array(size).fill(2)), false);
    await settle(client, receive);
    assertEquals([receive.poll(), receive.error?.code], [2, "protocol"]);
    assert(block.bytes().subarray(size / 2).every((byte) => byte === 1), "bytes beyond the message were written");
    await client.close();
    block.release();
  }
});

wireTest("a receive that is cancelled settles, and its block is free again", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  const block = hostPool().acquire(1000);
  const receive = client.receive(1n, MASK, block, 1000);
  assertEquals(receive.poll(), 0);
  receive.cancel();
  await settle(client, receive);
  assertEquals([receive.poll(), receive.error?.code], [2, "cancelled"]);
  receive.cancel();
  await transfer(server, client, 1, true, true); // the channel lives on
  await client.close();
  block.release();
});

wireTest("a message that nothing was posted for is probed and stays until received", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  assertEquals(client.probe(), null);
  for (const size of [0, 10, 1 << 20]) {
    const tag = 0xff00_0000_0000_0007n;
    const operation = server.sendTagged(tag, wrapBytes(pattern(size, 1)), false);
    await client.until(() => client.probe() !== null, { timeoutMs: LONG_MS });
    assertEquals(client.probe(), { tag, byteLength: size });
    assertEquals(client.probe(), { tag, byteLength: size });
    const block = hostPool().acquire(size);
    await settle(client, client.receive(tag, 0xffff_ffff_ffff_ffffn, block, size));
    block.release();
    assertEquals(client.probe(), null);
    await settle(server, operation);
  }
  await client.close();
});

wireTest("a frame over the limit, or too many that nobody takes, fail the channel and not the process", async () => {
  await using bench = await Bench.open({ maxMetadataBytes: 1000, maxQueuedFrameBytes: 100_000 });
  const [small, sender] = await bench.pair();
  sender.sendFrame(1, 0, new Uint8Array(1000));
  assertEquals((await nextFrame(small)).byteLength, 1005);
  for (const [size, rendezvous] of [[1001, false], [1 << 20, true]] as const) {
    const [client, server] = await bench.pair();
    server.sendFrame(1, 0, new Uint8Array(size), rendezvous);
    await assertDipcError("limit_exceeded", "", () => client.until(() => false, { timeoutMs: LONG_MS }));
    assertEquals(client.failure?.code, "limit_exceeded");
    await client.close();
    await server.close();
  }
  for (const size of [0, 900]) {
    const [client, server] = await bench.pair();
    for (let i = 0; i < 200; i++) server.sendFrame(1, i, new Uint8Array(size));
    await assertDipcError("limit_exceeded", "", () => client.until(() => false, { timeoutMs: LONG_MS }));
    await client.close();
    await server.close();
  }
  await small.close();
});

wireTest("a connection may have limits on metadata of its own", async () => {
  await using bench = await Bench.open();
  const connect = async (maxMetadataBytes: number) => {
    const options = { timeoutMs: LONG_MS, maxMetadataBytes };
    const client = await bench.transport.connect(bench.listener.address, null, options);
    pump(client);
    return client;
  };
  const large = await connect(100 << 20);
  const data = pattern(70 << 20, 3);
  const operation = bench.accepted[0].sendFrame(1, 0, data);
  const frame = await nextFrame(large);
  assertEquals(frame.byteLength, data.byteLength + 5);
  assert(frame.subarray(5).every((byte, i) => byte === data[i]), "some bytes differ");
  await settle(bench.accepted[0], operation);
  await large.close();
  const small = await connect(100);
  bench.accepted[1].sendFrame(1, 0, new Uint8Array(101));
  await assertDipcError("limit_exceeded", "", () => small.until(() => false, { timeoutMs: LONG_MS }));
  await small.close();
});

wireTest("metadata and bodies may come from two servers", async () => {
  await using metadata = await Bench.open();
  await using bodies = await Bench.open();
  const client = await metadata.transport.connect(metadata.listener.address, bodies.listener.address, {
    timeoutMs: LONG_MS,
  });
  pump(client);
  const first = metadata.accepted[0], second = bodies.accepted[0];
  await settle(client, client.sendTagged(1n, wrapBytes(pattern(9, 9)), false, "metadata"));
  await settle(client, client.sendTagged(2n, wrapBytes(pattern(9, 9)), false, "body"));
  for (const [server, tag] of [[first, 1n], [second, 2n]] as const) {
    await server.until(() => server.probe() !== null, { timeoutMs: LONG_MS });
    assertEquals(server.probe(), { tag, byteLength: 9 });
  }
  first.sendFrame(1, 1, pattern(100, 1));
  assertEquals((await nextFrame(client)).byteLength, 105);
  await transfer(second, client, 1 << 20, true, true);
  await second.close();
  await assertDipcError("connection_lost", "", () => client.until(() => false, { timeoutMs: LONG_MS }));
  await client.close();
});

wireTest("many channels of one isolate move at the same time", async () => {
  await using bench = await Bench.open();
  const pairs = [];
  for (let i = 0; i < 8; i++) pairs.push(await bench.pair());
  await Promise.all(pairs.map(async ([client, server], i) => {
    for (let k = 0; k < 20; k++) await transfer(server, client, (i + 1) * 10_000 + k, k % 2 === 0, true);
  }));
  await Promise.all(pairs.map(([client]) => client.close()));
});

wireTest("a wait ends by its step, its time, its signal, an error of its step, or the channel's end", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  assertEquals(await client.until(() => true), true);
  assertEquals(await client.until(() => false, { timeoutMs: 20 }), false);
  assertEquals(await client.until(() => false, { timeoutMs: 0 }), false);
  const reason = new Error("enough");
  for (const signal of [AbortSignal.abort(reason), abortLater(reason)]) {
    const error = await assertDipcError("cancelled", "", () => client.until(() => false, { signal }));
    assertEquals(error.cause, reason);
  }
  for (const early of [true, false]) {
    const throwing = assertRejects(() =>
      client.until(() => {
        if (early || client.queuedFrames > 0) throw new TypeError("broken step");
        return false;
      }), TypeError);
    server.sendFrame(1, 0, null);
    assertEquals((await throwing).message, "broken step");
  }
  const ended = assertDipcError("connection_lost", "", () => client.until(() => false));
  await server.close();
  await ended;
  await assertDipcError("connection_lost", "", () => client.until(() => false));
  assertEquals(await client.until(() => true), true);
  await client.close();
  await assertDipcError("closed", "", () => client.until(() => true));
});

function abortLater(reason: unknown): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 20);
  return controller.signal;
}

wireTest("closing settles everything, twice is once, and the peer is notified", async () => {
  await using bench = await Bench.open();
  for (const flush of [false, true]) {
    for (const size of [100, 1 << 20]) {
      const [client, server] = await bench.pair();
      const blocks = [1, 2, 3].map(() => hostPool().acquire(size));
      const receives = blocks.map((block, i) => client.receive(BigInt(i), MASK, block, size));
      const sends = [7n, 8n].map((tag) => client.sendTagged(tag, wrapBytes(new Uint8Array(size)), true));
      const waiting = assertRejects(() => client.until(() => false), DipcError);
      await Promise.all([client.close({ flush }), client.close()]);
      for (const operation of [...receives, ...sends]) assertEquals(operation?.poll(), 2);
      assert(receives.every((receive) => receive.error !== null), "a receive ended without an error");
      await waiting;
      assertEquals(client.sendFrame(1, 0, null)?.poll(), 2);
      assertEquals(client.receive(0n, MASK, blocks[0], 1).error?.code, "closed");
      assertEquals([client.progress(), client.probe(), client.takeFrame()], [false, null, null]);
      for (const block of blocks) block.release();
      await assertDipcError(
        "connection_lost",
        "",
        () => server.until(() => false, { timeoutMs: LONG_MS }),
      );
      await server.close();
    }
  }
});

wireTest("what was sent before a close with flush arrives", async () => {
  await using bench = await Bench.open();
  for (let round = 0; round < 10; round++) {
    const [client, server] = await bench.pair();
    for (let i = 0; i < 20; i++) server.sendFrame(1, i, pattern(200, i));
    server.sendFrame(0, 20, null);
    const closing = server.close({ flush: true });
    for (let i = 0; i <= 20; i++) assertEquals((await nextFrame(client)).byteLength, i < 20 ? 205 : 5);
    await client.close();
    await closing;
  }
});

wireTest("what arrived before the peer's end can still be received after it, in several goes", async () => {
  await using bench = await Bench.open();
  const count = 100;
  const [client, server] = await bench.pair();
  for (let i = 0; i < count; i++) {
    server.sendFrame(1, i, pattern(50, i));
    server.sendTagged(BigInt(i), wrapBytes(pattern(500, i)), false);
  }
  // The notice of the end may overtake what is still in the socket, which UCX then drops: all of it must have arrived.
  server.sendFrame(1, count, pattern(50, count));
  assert(await client.until(() => client.queuedFrames === count + 1, { timeoutMs: LONG_MS }));
  await server.close({ flush: true });
  await client.until(() => client.failure !== null, { timeoutMs: LONG_MS });
  const block = hostPool().acquire(500);
  let received = 0;
  let receive: ReturnType<Channel["receive"]> | null = null;
  const whole = await client.until(() => {
    if (receive !== null && receive.poll() === 1) {
      assertEquals([receive.tag, block.bytes()[499]], [BigInt(received), pattern(500, received)[499]]);
      receive = null;
      received++;
    }
    if (receive === null && client.takeFrame() !== null) receive = client.receive(BigInt(received), MASK, block, 500);
    return received === count;
  });
  assert(whole, "the connection ended before everything had arrived");
  await assertRejects(() => client.until(() => false), DipcError);
  await client.close();
  block.release();
});

wireTest("a worker is used again after a clean end only, and brings nothing along", async () => {
  await using bench = await Bench.open();
  for (let round = 0; round < 6; round++) {
    const [client, server] = await bench.pair();
    assertEquals([server.probe(), server.queuedFrames], [null, 0]);
    await transfer(client, server, 5000, true, true);
    if (round % 2 === 0) {
      client.sendTagged(99n, wrapBytes(new Uint8Array(10)), false);
      client.sendFrame(1, 99, new Uint8Array(10));
      await server.until(() => server.probe() !== null && server.queuedFrames > 0, { timeoutMs: LONG_MS });
    }
    await client.close({ flush: true });
    await server.close({ flush: true });
  }
});

wireTest("a connection that may not be accepted is refused", async () => {
  const transport = await ucxTransport();
  const listener = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    mayAccept: () => false,
    onChannel: () => {
      throw new Error("accepted all the same");
    },
  });
  await assertDipcError("unreachable", "", () => transport.connect(listener.address, null, { timeoutMs: LONG_MS }));
  await listener.close();
  await listener.close();
  await transport.close();
});

wireTest("an address without a listener fails soon, and says what was tried", async () => {
  const transport = await ucxTransport();
  for (const host of ["127.0.0.1", "localhost"]) {
    const error = await assertDipcError(
      "unreachable",
      "",
      () => transport.connect({ host, port: 1 }, null, { timeoutMs: LONG_MS }),
    );
    assertEquals(error.foreign?.system, "ucx");
    assert(error.message.includes(`${host}:1`), error.message);
  }
  await assertDipcError(
    "unreachable",
    "",
    () => transport.connect({ host: "no-such-host.invalid", port: 1 }, null, { timeoutMs: LONG_MS }),
  );
  await assertDipcError(
    "invalid_argument",
    "",
    () => transport.connect({ host: "127.0.0.1", port: 65_536 }, null, { timeoutMs: LONG_MS }),
  );
  await assertDipcError("unreachable", "", () => transport.listen({ host: "192.0.2.1", port: 0, onChannel() {} }));
  await transport.close();
});

wireTest("a server that accepts and never answers is left after the time-out or at the signal", async () => {
  const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const transport = await ucxTransport();
  const address = { host: "127.0.0.1", port: (silent.addr as Deno.NetAddr).port };
  await assertDipcError("timeout", "", () => transport.connect(address, null, { timeoutMs: 100 }));
  const reason = new Error("no patience");
  const cancelled = await assertDipcError(
    "cancelled",
    "",
    () => transport.connect(address, null, { timeoutMs: LONG_MS, signal: abortLater(reason) }),
  );
  assertEquals(cancelled.cause, reason);
  silent.close();
  await transport.close();
});

/** Whether this UCX is too old for IPv6. */
const IPV4_ONLY = VERSION.startsWith("1.13.");

function ipv6Test(name: string, run: () => Promise<void>): void {
  testNeeding([needsUcx, needsIpv6], name, () => withoutLeaks(run));
}

async function transferBetween(host: string): Promise<void> {
  await using bench = await Bench.open({}, host);
  assertGreater(bench.listener.address.port, 0);
  const [client, server] = await bench.pair();
  await transfer(server, client, 1 << 20, true, true);
  await client.close();
}

wireTest("host names work", () => transferBetween("localhost"));

if (IPV4_ONLY) {
  wireTest("an IPv6 address is refused by a UCX that is too old for it", async () => {
    const transport = await ucxTransport();
    await assertDipcError("unsupported", "", () => transport.listen({ host: "::1", port: 0, onChannel() {} }));
    await transport.close();
  });
} else {
  ipv6Test("IPv6 addresses work", () => transferBetween("::1"));
}

/** Local addresses of this process's listening TCP sockets, as /proc writes them. */
function listening(): string[] {
  const inodes = new Set<string>();
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    try {
      inodes.add(Deno.readLinkSync(`/proc/self/fd/${entry.name}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? "");
    } catch {
      // closed meanwhile
    }
  }
  const addresses: string[] = [];
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of Deno.readTextFileSync(table).split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === "0A" && inodes.has(fields[9])) addresses.push(fields[1].split(":")[0]);
    }
  }
  return addresses;
}

/** Connects over `host` and checks that all listening sockets of this process have the address `expected`. */
async function listensOnlyOn(host: string, expected: string): Promise<void> {
  await using bench = await Bench.open({}, host);
  const [client] = await bench.pair();
  let addresses = listening();
  // Sockets of a test before this one may take a moment to close; those of this one stay.
  for (let tries = 0; tries < 20 && addresses.some((address) => address !== expected); tries++) {
    await delay(100);
    addresses = listening();
  }
  assertGreater(addresses.length, 1, `sockets: ${descriptors("self").join(" ")}`);
  for (const address of addresses) assertEquals(address, expected, `a socket listens on ${address}`);
  await client.close();
}

wireTest(
  "a server bound to a loopback address listens nowhere else, nor does its client",
  () => listensOnlyOn("127.0.0.1", "0100007F"),
);
if (!IPV4_ONLY) {
  ipv6Test(
    "a server bound to the IPv6 loopback address listens nowhere else, nor does its client",
    () => listensOnlyOn("::1", "00000000000000000000000001000000"),
  );
}

if (Deno.env.get("DIPC_WIRE_AGAIN") === undefined) {
  testNeeding([needsUcx113], "all of this holds on UCX 1.13.1 too", async () => {
    const again = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", `${ROOT}/tests/wire/ucx_test.ts`],
      cwd: ROOT,
      env: { ...ucx113!.env, DIPC_WIRE_AGAIN: "1", NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(again.stdout) + new TextDecoder().decode(again.stderr);
    assert(again.success, text);
    assertGreater(Number(text.match(/ok \| (\d+) passed/)?.[1] ?? 0), 15);
  });
}
