/**
 * The loopback transport keeps the rules that it stands in for: what completes when, what arrives when, and how a
 * connection ends.
 *
 * @module
 */
import { assert, assertEquals, assertLess, assertNotEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { FULL_MASK, SEQUENCE_MASK } from "../../src/protocol/tag.ts";
import { assertDipcError } from "../support/assert.ts";
import { type FaultKind, type LoopbackOptions, LoopbackTransport } from "../support/loopback.ts";
import { Random } from "../support/random.ts";
import { type Channel, DONE, FAILED, PENDING } from "../../src/wire/transport.ts";
import { SimulatedPool } from "../support/simulated_memory.ts";

const pool = new SimulatedPool();
const bytes = (...values: number[]) => Uint8Array.from(values);
const large = () => pool.body(new Uint8Array(10_000).fill(7));

interface Pair {
  transport: LoopbackTransport;
  client: Channel;
  server: Channel;
  /** The second server's channel, if there are two connections. */
  second: Channel;
}

async function pair(options: Partial<LoopbackOptions> = {}, connections = 1): Promise<Pair> {
  const transport = new LoopbackTransport({ seed: 1, ...options });
  const servers: Channel[] = [];
  const addresses = [];
  for (let i = 0; i < connections; i++) {
    const { address } = await transport.listen({ host: "h", port: 0, onChannel: (channel) => servers[i] = channel });
    addresses.push(address);
  }
  const client = await transport.connect(addresses[0], addresses[1] ?? null, { timeoutMs: 1000 });
  return { transport, client, server: servers[0], second: servers[1] };
}

/** Lets everything happen that can happen on a channel. */
async function settle(...channels: Channel[]): Promise<void> {
  await Promise.all(channels.map((channel) => channel.until(() => false, { timeoutMs: 1000 }).catch(() => {})));
}

Deno.test("a small plain send is done at once, a synchronous one once it is matched", async () => {
  const { client, server } = await pair();
  assertEquals(server.sendTagged(5n, pool.body(bytes(1, 2)), false), null);
  const synchronous = server.sendTagged(6n, pool.body(bytes(3)), true)!;
  await settle(client, server);
  assertEquals(synchronous.poll(), PENDING, "it has arrived, but nobody took it");
  assertEquals(client.probe(), client.probe(), "a probe leaves it in place");
  assertEquals([client.probe()!.tag, client.probe()!.byteLength], [5n, 2]);
  const block = pool.acquire(8);
  const receive = client.receive(6n, FULL_MASK, block, 8);
  assertEquals([receive.poll(), receive.tag, receive.byteLength, block.bytes()[0]], [DONE, 6n, 1, 3]);
  await settle(client, server);
  assertEquals(synchronous.poll(), DONE);
});

Deno.test("a large send is done once it is matched, and its bytes are read only then", async () => {
  const { client, server } = await pair();
  const body = large();
  const send = server.sendTagged(1n, body, false)!;
  await settle(client, server);
  assertEquals(send.poll(), PENDING);
  body.bytes()[0] = 99;
  const block = pool.acquire(10_000);
  const receive = client.receive(1n, SEQUENCE_MASK, block, 10_000);
  assertEquals([receive.poll(), block.bytes()[0], block.bytes()[9999]], [DONE, 99, 7]);
  await settle(client, server);
  assertEquals(send.poll(), DONE);
});

Deno.test("a receive posted before takes the first message that matches under its mask", async () => {
  const { client, server } = await pair();
  const block = pool.acquire(8);
  const receive = client.receive(7n, SEQUENCE_MASK, block, 8);
  server.sendTagged(8n, pool.body(bytes(1)), false);
  server.sendTagged(0x0100000000000007n, pool.body(bytes(2)), false);
  server.sendTagged(7n, pool.body(bytes(3)), false);
  await settle(client, server);
  assertEquals([receive.poll(), receive.tag, block.bytes()[0]], [DONE, 0x0100000000000007n, 2]);
  assertEquals(client.probe()!.tag, 8n);
});

Deno.test("a message that is longer than its receive fails it", async () => {
  const { client, server } = await pair();
  const receive = client.receive(1n, FULL_MASK, pool.acquire(2), 2);
  server.sendTagged(1n, pool.body(bytes(1, 2, 3)), false);
  await settle(client, server);
  assertEquals([receive.poll(), receive.error?.code], [FAILED, "protocol"]);
});

Deno.test("frames arrive in order, 8-aligned after the prefix, and are valid until the next one is taken", async () => {
  const { client, server } = await pair();
  const payload = bytes(1, 2, 3);
  assertEquals(server.sendFrame(1, 9, payload), null);
  payload.fill(0); // the caller may reuse it
  server.sendFrame(0, 10, null);
  assertEquals(client.takeFrame(), null, "nothing arrives before progress");
  await settle(client, server);
  assertEquals([client.queuedFrames, client.queuedFrameBytes], [2, 13]);
  const first = client.takeFrame()!;
  assertEquals([...first], [1, 9, 0, 0, 0, 1, 2, 3]);
  assertEquals(first.byteOffset % 8, 3);
  assertEquals([...client.takeFrame()!], [0, 10, 0, 0, 0]);
  assertNotEquals([...first], [1, 9, 0, 0, 0, 1, 2, 3]);
  assertEquals([client.takeFrame(), client.queuedFrames, client.queuedFrameBytes], [null, 0, 0]);
});

Deno.test("a frame with the rendezvous flag is done once the peer has fetched it", async () => {
  const { client, server } = await pair();
  const send = server.sendFrame(1, 0, bytes(1), true)!;
  await settle(server);
  assertEquals(send.poll(), PENDING, "the client does not progress");
  await settle(client, server);
  assertEquals(send.poll(), DONE);
});

Deno.test("two connections of one channel lead to two servers", async () => {
  const { client, server, second } = await pair({}, 2);
  client.sendTagged(1n, pool.body(bytes(1)), false, "metadata");
  client.sendTagged(2n, pool.body(bytes(2)), false, "body");
  await settle(server, second);
  assertEquals([server.probe()!.tag, second.probe()!.tag], [1n, 2n]);
  server.sendFrame(0, 1, null);
  second.sendTagged(3n, pool.body(bytes(3)), false);
  await settle(client);
  assertEquals([client.queuedFrames, client.probe()!.tag], [1, 3n]);
});

Deno.test("a broken connection fails both sides, and a receive of lost bytes never settles before close", async () => {
  const { client, server } = await pair({ dropAtMessage: 1 });
  const receive = client.receive(1n, FULL_MASK, pool.acquire(10_000), 10_000);
  server.sendFrame(1, 0, bytes(1));
  const send = server.sendTagged(1n, large(), true)!; // message 1
  await settle(client, server);
  assertEquals([client.failure?.code, server.failure?.code], ["connection_lost", "connection_lost"]);
  assertEquals([receive.poll(), send.poll()], [PENDING, PENDING]);
  assertEquals(server.sendTagged(2n, pool.body(bytes(1)), true)!.poll(), FAILED);
  assertEquals(server.sendFrame(1, 1, null)!.poll(), FAILED);
  await client.close();
  await server.close();
  assertEquals([receive.poll(), receive.error?.code, send.poll()], [FAILED, "closed", FAILED]);
});

Deno.test("a wait on a channel that fails gets one more step, then the failure", async () => {
  const { client, server } = await pair();
  server.sendFrame(0, 1, null);
  void server.close({ flush: true });
  assertEquals(await client.until(() => client.queuedFrames === 1), true);
  await assertDipcError("connection_lost", "", () => client.until(() => false));
});

Deno.test("a close with flush waits until everything has arrived, one without cuts", async () => {
  const flushed = await pair();
  flushed.server.sendFrame(0, 1, null);
  const closing = flushed.server.close({ flush: true });
  await settle(flushed.client);
  await closing;
  assertEquals(flushed.client.queuedFrames, 1);
  const cut = await pair();
  cut.server.sendFrame(0, 1, null);
  await cut.server.close();
  await settle(cut.client);
  assertEquals([cut.client.queuedFrames, cut.client.failure?.code], [0, "connection_lost"]);
});

Deno.test("a cancelled receive settles, and leaves the message to the next one", async () => {
  const { client, server } = await pair();
  const cancelled = client.receive(1n, FULL_MASK, pool.acquire(1), 1);
  cancelled.cancel();
  assertEquals([cancelled.poll(), cancelled.error?.code], [FAILED, "cancelled"]);
  server.sendTagged(1n, pool.body(bytes(4)), false);
  const receive = client.receive(1n, FULL_MASK, pool.acquire(1), 1);
  await settle(client);
  assertEquals(receive.poll(), DONE);
});

Deno.test("waits end by timeout in virtual time, and by their signal", async () => {
  const { client, transport } = await pair();
  const started = performance.now();
  assertEquals(await client.until(() => false, { timeoutMs: 3_600_000 }), false);
  assertEquals(transport.nowMs, 3_600_000);
  assertLess(performance.now() - started, 60_000);
  const reason = new Error("enough");
  const error = await assertDipcError(
    "cancelled",
    "",
    () => client.until(() => false, { signal: AbortSignal.abort(reason) }),
  );
  assertStrictEquals(error.cause, reason);
});

Deno.test("once nothing can happen any more, a strict network fails its waits", async () => {
  const { client } = await pair({ strict: true });
  await assertDipcError("internal", "", () => client.until(() => false));
});

Deno.test("a refused, closed or unknown address is unreachable", async () => {
  const transport = new LoopbackTransport({ seed: 1 });
  const connectTo = (port: number) => () => transport.connect({ host: "h", port }, null, { timeoutMs: 1 });
  const refusing = await transport.listen({ host: "h", port: 0, onChannel: () => {}, mayAccept: () => false });
  await assertDipcError("unreachable", "", connectTo(refusing.address.port));
  const closed = await transport.listen({ host: "h", port: 7, onChannel: () => {} });
  await assertRejects(() => transport.listen({ host: "h", port: 7, onChannel: () => {} }), DipcError);
  await closed.close();
  await assertDipcError("unreachable", "", connectTo(7));
  await assertDipcError("unreachable", "", connectTo(8));
  await transport.close();
  await assertDipcError("closed", "", connectTo(refusing.address.port));
  await assertRejects(() => transport.listen({ host: "h", port: 9, onChannel: () => {} }), DipcError);
});

Deno.test("each kind of fault does what it says", async () => {
  const send = 40;
  /** What arrives of so many frames and tagged messages under one fault. */
  async function arrivals(kind: FaultKind, rate: number) {
    const { client, server, transport } = await pair({ seed: 5, faults: { [kind]: rate } });
    for (let i = 0; i < send; i++) {
      server.sendFrame(1, i, bytes(i, i, i));
      server.sendTagged(BigInt(i), pool.body(bytes(1, 2, 3)), false);
    }
    await settle(client, server);
    const frames: number[][] = [];
    for (let frame; (frame = client.takeFrame()) !== null;) frames.push([...frame]);
    const tagged: [bigint, number][] = [];
    for (let message; (message = client.probe()) !== null;) {
      tagged.push([message.tag, message.byteLength]);
      client.receive(message.tag, FULL_MASK, pool.acquire(128), 128);
    }
    assert(transport.faults[kind] > 0, `${kind} never happened`);
    return { frames, tagged, failure: client.failure, count: transport.faults[kind] };
  }
  const inOrder = (frames: number[][]) => frames.every((frame, i) => frame[1] === i);
  const rightTags = (tagged: [bigint, number][]) => tagged.every(([tag], i) => tag === BigInt(i));
  for (const kind of ["delay", "split"] as const) {
    const { frames, tagged } = await arrivals(kind, 0.5);
    assertEquals([frames.length, inOrder(frames), tagged.length, rightTags(tagged)], [send, true, send, true], kind);
  }
  const reorderedFrames = await arrivals("reorderFrame", 0.5);
  assertEquals([reorderedFrames.frames.length, inOrder(reorderedFrames.frames)], [send, false]);
  assertEquals(rightTags(reorderedFrames.tagged), true);
  const reorderedTags = await arrivals("reorderTagged", 0.5);
  assertEquals([reorderedTags.tagged.length, rightTags(reorderedTags.tagged), inOrder(reorderedTags.frames)], [
    send,
    false,
    true,
  ]);
  const lost = await arrivals("lose", 0.5);
  assertEquals(lost.frames.length + lost.tagged.length, 2 * send - lost.count);
  const twice = await arrivals("duplicateFrame", 0.5);
  assertEquals(twice.frames.length, send + twice.count);
  const tagsTwice = await arrivals("duplicateTagged", 0.5);
  assertEquals(tagsTwice.tagged.length, send + tagsTwice.count);
  const types = await arrivals("corruptType", 0.5);
  assertEquals(types.frames.filter((frame) => frame[0] !== 1).length, types.count);
  const sequences = await arrivals("corruptSequence", 0.5);
  assertEquals(
    sequences.frames.filter((frame, i) => frame[1] !== i || frame[2] + frame[3] + frame[4] > 0).length,
    sequences.count,
  );
  const metadata = await arrivals("corruptMetadata", 0.5);
  assertEquals(metadata.frames.filter((frame, i) => frame.slice(5).join() !== [i, i, i].join()).length, metadata.count);
  const lengths = await arrivals("corruptFrameLength", 0.5);
  assertEquals(lengths.frames.filter((frame) => frame.length !== 8).length, lengths.count);
  const tags = await arrivals("corruptTag", 0.5);
  assertEquals(tags.tagged.filter(([tag], i) => tag !== BigInt(i)).length, tags.count);
  const bodies = await arrivals("corruptBodyLength", 0.5);
  assertEquals(bodies.tagged.filter(([, length]) => length !== 3).length, bodies.count);
  const dropped = await arrivals("drop", 0.1);
  assertEquals([dropped.count, dropped.failure?.code], [1, "connection_lost"]);
});

Deno.test("a seeded generator gives the same numbers again, evenly", () => {
  const draw = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 8 }, () => random.uint32());
  };
  assertEquals(draw(1), draw(1));
  assertNotEquals(draw(1), draw(2));
  const random = new Random(3);
  const counts = new Array(10).fill(0);
  for (let i = 0; i < 100_000; i++) counts[random.below(10)]++;
  for (const count of counts) assert(count > 9_500 && count < 10_500, `${counts}`);
  for (let i = 0; i < 1000; i++) {
    const value = random.between(-2, 2);
    assert(value >= -2 && value <= 2 && Number.isInteger(value), String(value));
  }
  assertEquals(random.shuffle([1, 2, 3, 4, 5]).sort(), [1, 2, 3, 4, 5]);
  assertEquals([random.chance(0), random.chance(1)], [false, true]);
});
