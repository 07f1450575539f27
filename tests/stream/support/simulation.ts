/**
 * One simulated transfer: the real sending and receiving streams over the loopback transport, everything decided by a
 * seed, in virtual time.
 *
 * @module
 */
import { DipcError } from "../../../src/errors.ts";
import type { IpcMessage } from "../../../src/ipc/message.ts";
import { readerLimits } from "../../../src/limits.ts";
import { encodeRequest, parseRequest, REQUEST_ERRORS } from "../../../src/protocol/envelope.ts";
import type { StreamRole } from "../../../src/protocol/role.ts";
import { FULL_MASK } from "../../../src/protocol/tag.ts";
import { IncomingStream } from "../../../src/stream/incoming.ts";
import { OutgoingStream } from "../../../src/stream/outgoing.ts";
import {
  FAULT_KINDS,
  type FaultCounts,
  type FaultKind,
  type FaultRates,
  LoopbackTransport,
} from "../../support/loopback.ts";
import { Random } from "../../support/random.ts";
import { type Channel, DONE, PENDING } from "../../../src/wire/transport.ts";
import { StoredDataset, type StoredStream } from "../../support/simulated_dataset.ts";
import { SimulatedPool } from "../../support/simulated_memory.ts";

/** Faults that a conforming network may do: a stream must arrive whole in spite of them. */
export const HARMLESS: readonly FaultKind[] = ["delay", "reorderFrame", "reorderTagged", "split"];

const WANT: Record<StreamRole, bigint> = { both: 0xFFFFFDEADBA0BAB0n, metadata: 17n, body: 18n };

/** Largest body that a client takes: more than any stream has. */
const MAX_BODY_BYTES = 32_000;
/** Longest request. */
const REQUEST_BYTES = 1024;

/** What a simulated transfer came to. */
export interface Outcome {
  readonly seed: number;
  /** What was decided, in words. */
  readonly plan: string;
  /** True if every message arrived and was equal. */
  readonly whole: boolean;
  /** The client's error, if the stream was not whole. */
  readonly error: unknown;
  /** True if it must be whole: nothing but harmless faults. */
  readonly mustBeWhole: boolean;
  /** Faults that happened, both directions. */
  readonly faults: FaultCounts;
  /** What is wrong with the outcome itself, such as a leak; empty if nothing is. */
  readonly defects: readonly string[];
  /** Virtual milliseconds that it took. */
  readonly virtualMs: number;
}

/** What a seed decides before the transfer starts. */
interface Plan {
  readonly faults: FaultRates;
  readonly requestFaults: FaultRates;
  readonly dropAtMessage: number | undefined;
  readonly twoServers: boolean;
  readonly eagerBytes: number;
  readonly windowBytes: number;
  readonly windowBatches: number;
  readonly maxInFlightBytes: number;
  readonly pauses: number;
  readonly keeps: number;
  readonly cancelAt: number;
  readonly lateness: number;
  readonly sourceFailsAt: number;
  readonly harmless: boolean;
}

function makePlan(random: Random, stream: StoredStream): Plan {
  const count = stream.messages.length;
  const faults: FaultRates = {};
  const requestFaults: FaultRates = {};
  const style = random.below(4); // 0, 1: harmless; 2: one harmful kind; 3: several
  const harmless = style <= 1;
  for (const kind of HARMLESS) if (random.chance(0.5)) faults[kind] = random.pick([0.02, 0.2, 0.9]);
  if (!harmless) {
    const harmful = FAULT_KINDS.filter((kind) => !HARMLESS.includes(kind));
    for (let n = style === 2 ? 1 : random.between(2, 4); n > 0; n--) {
      // About one fault in a stream: a stream full of them dies at its first message.
      const rate = random.pick([0.3, 1, 3]) / (2 * count + 2);
      const target = random.chance(0.1) ? requestFaults : faults;
      target[random.pick(harmful)] = target === requestFaults ? 0.5 : Math.min(rate, 0.9);
    }
  }
  const disturbed = !harmless && random.chance(0.3);
  return {
    faults,
    requestFaults,
    dropAtMessage: !harmless && random.chance(0.2) ? random.below(2 * count + 3) : undefined,
    twoServers: random.chance(0.35),
    eagerBytes: random.pick([0, 64, 8192, 1 << 20]),
    windowBytes: random.pick([1, 200, 4096, 1 << 20]),
    windowBatches: random.pick([1, 2, 7, 64]),
    maxInFlightBytes: random.pick([1, 500, 65536, 1 << 26]),
    pauses: random.pick([0, 0.05, 0.5]),
    keeps: random.pick([0, 1, 5]),
    cancelAt: disturbed && random.chance(0.5) ? random.below(count + 1) : -1,
    lateness: random.pick([0, 0.1, 1]),
    sourceFailsAt: disturbed && random.chance(0.5) ? random.below(count + 1) : -1,
    harmless,
  };
}

/** Runs one transfer. Never rejects for anything that is the subject of the simulation. */
export async function simulate(seed: number, streams: readonly StoredStream[]): Promise<Outcome> {
  const random = new Random(seed ^ 0x51A7E);
  const stream = random.pick(streams);
  const plan = makePlan(random, stream);
  const transport = new LoopbackTransport({ seed, strict: true, ...plan });
  const serverPool = new SimulatedPool();
  const clientPool = new SimulatedPool();
  const defects: string[] = [];
  const running: Promise<void>[] = [];
  const dataset = new StoredDataset(stream, serverPool, random, plan.lateness, plan.sourceFailsAt);
  const listener = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    onChannel: (channel) => running.push(serveOne(channel, dataset, plan, serverPool, defects)),
  });

  let whole = false;
  let error: unknown = null;
  try {
    whole = await fetchAll(transport, listener.address.port, stream, plan, random, clientPool, defects);
  } catch (caught) {
    error = caught;
    if (!(caught instanceof DipcError)) defects.push(`the client threw ${caught}`);
    else if (caught.code === "internal") defects.push(`the client met a defect: ${caught.message}`);
  }
  await Promise.all(running);
  await listener.close();
  for (const [name, pool] of [["server", serverPool], ["client", clientPool]] as const) {
    if (pool.out !== 0) defects.push(`the ${name} leaked ${pool.out} blocks`);
    if (pool.misuses !== 0) defects.push(`the ${name} misused ${pool.misuses} blocks`);
  }
  // Neither side's memory grows with the stream: a window, and a few bodies that it cannot split.
  const largest = stream.messages.reduce((most, { body }) => Math.max(most, body.byteLength), 0);
  const announced = plan.faults.corruptMetadata === undefined ? largest : MAX_BODY_BYTES;
  const servers = plan.twoServers ? 2 : 1;
  const serverBound = servers * (plan.windowBytes + 3 * largest + REQUEST_BYTES);
  if (serverPool.peakBytes > serverBound) {
    defects.push(`the server held ${serverPool.peakBytes} bytes, not ${serverBound}`);
  }
  // Bodies whose metadata was lost, and second copies, are received ahead of it: a sender's window, two bodies at least, and one
  // more that has taken the place of a body under another number.
  const { drop, lose, corruptSequence, duplicateTagged } = plan.faults;
  const runsAhead = [drop, lose, corruptSequence, duplicateTagged].some((rate) => rate !== undefined);
  const early = runsAhead ? plan.windowBytes + (corruptSequence === undefined ? 2 : 3) * largest : 0;
  const clientBound = plan.maxInFlightBytes + (plan.keeps + 3) * announced + early + 2 * REQUEST_BYTES;
  if (clientPool.peakBytes > clientBound) {
    defects.push(`the client held ${clientPool.peakBytes} bytes, not ${clientBound}`);
  }
  // Nor do messages pile up inside the transport: a frame and a body for each in the window, and what arrives between two
  // looks for the tagged messages of empty bodies.
  const waitingBound = servers * (3 * plan.windowBatches + 16) + 128;
  if (plan.harmless && transport.peakWaiting > waitingBound) {
    defects.push(`${transport.peakWaiting} messages waited for one side, not ${waitingBound}`);
  }
  if (transport.openChannels !== 0) defects.push(`${transport.openChannels} channels were left open`);
  const faults = { ...transport.faults };
  for (const kind of FAULT_KINDS) faults[kind] += transport.requestFaults[kind];
  return {
    seed,
    plan: JSON.stringify({ stream: stream.name, ...plan }),
    whole,
    error,
    mustBeWhole: plan.harmless,
    faults,
    defects,
    virtualMs: transport.nowMs,
  };
}

async function serveOne(
  channel: Channel,
  dataset: StoredDataset,
  plan: Plan,
  pool: SimulatedPool,
  defects: string[],
): Promise<void> {
  let outgoing: OutgoingStream | null = null;
  let flush = false;
  const block = pool.acquire(REQUEST_BYTES);
  try {
    if (!await channel.until(() => channel.probe() !== null, { timeoutMs: 5000 })) {
      throw new DipcError("timeout", "no request");
    }
    const { tag, byteLength } = channel.probe()!;
    const role = (["both", "metadata", "body"] as const).find((role) => WANT[role] === tag);
    if (role === undefined || byteLength > REQUEST_BYTES) throw new DipcError("protocol", "no request of ours");
    const receive = channel.receive(tag, FULL_MASK, block, byteLength);
    if (!await channel.until(() => receive.poll() !== PENDING, { timeoutMs: 5000 })) {
      throw new DipcError("timeout", "half a request");
    }
    if (receive.poll() !== DONE) throw receive.error!;
    parseRequest(block.bytes().subarray(0, receive.byteLength));
    const { windowBytes, windowBatches } = plan;
    const signal = new AbortController().signal;
    outgoing = new OutgoingStream(channel, dataset, {
      role,
      windowBytes,
      windowBatches,
      idleTimeoutMs: 20_000,
      signal,
    });
    await outgoing.run();
    flush = true;
    // Two servers end at different times: the first one done must not look like a lost connection.
    if (role !== "both") await channel.until(() => false, { timeoutMs: 600_000 }).catch(() => {});
  } catch (error) {
    const expected = error instanceof DipcError || (error as Error).message === "the simulated source broke";
    if (!expected) defects.push(`the server threw ${error}`);
    else if (error instanceof DipcError && error.code === "internal") {
      defects.push(`the server met a defect: ${error.message}`);
    }
  }
  await channel.close({ flush });
  await outgoing?.release();
  block.release();
}

/** @returns whether the stream was whole; throws if it broke */
async function fetchAll(
  transport: LoopbackTransport,
  port: number,
  stream: StoredStream,
  plan: Plan,
  random: Random,
  pool: SimulatedPool,
  defects: string[],
): Promise<boolean> {
  const address = { host: "127.0.0.1", port };
  const channel = await transport.connect(address, plan.twoServers ? address : null, { timeoutMs: 30_000 });
  const roles = plan.twoServers ? ["metadata", "body"] as const : ["both"] as const;
  const requests = roles.map((role) => {
    const body = pool.body(encodeRequest(new TextEncoder().encode("data"), REQUEST_ERRORS));
    channel.sendTagged(WANT[role], body, false, role);
    return body;
  });
  const control = new AbortController();
  const incoming = new IncomingStream(channel, {
    limits: readerLimits({ maxInFlightBytes: plan.maxInFlightBytes, maxBodyBytes: MAX_BODY_BYTES }),
    pool,
    timeoutMs: 30_000,
    signal: control.signal,
    errorMessages: true,
    isApart: plan.twoServers,
  });
  // A changed byte of metadata may still be valid metadata: then only its fate is looked at, not its content.
  // A frame that grew may be valid with its tail, one that was cut may have lost only padding.
  // A changed number can name another message that fits: without a checksum nobody can tell.
  const undetectable = ["corruptMetadata", "corruptFrameLength", "corruptTag", "corruptSequence"] as const;
  const comparable = undetectable.every((kind) => (plan.faults[kind] ?? 0) === 0);
  const kept: IpcMessage[] = [];
  let count = 0;
  try {
    for (let message; (message = await incoming.next()) !== null; count++) {
      const expected = count === 0 ? { header: stream.schema, body: new Uint8Array(0) } : stream.messages[count - 1];
      if (comparable && (expected === undefined || !isEqual(message, expected.header.bytes, expected.body))) {
        defects.push(`message ${count} arrived with other content`);
      }
      kept.push(message);
      while (kept.length > plan.keeps) kept.shift()!.body?.release();
      if (count === plan.cancelAt) control.abort(new Error("enough"));
      if (random.chance(plan.pauses)) {
        await channel.until(() => false, { timeoutMs: random.between(1, 200) }).catch(() => {});
      }
    }
    if (!incoming.finished) defects.push("the stream ended, but is not finished");
    if (comparable && count !== stream.messages.length + 1) {
      defects.push(`${count} of ${stream.messages.length + 1} messages arrived, and the stream is said to be whole`);
    }
    return true;
  } finally {
    for (const message of kept) message.body?.release();
    await incoming.close({ flush: false });
    for (const body of requests) body.release();
  }
}

function isEqual(message: IpcMessage, metadata: Uint8Array, body: Uint8Array): boolean {
  return sameBytes(message.header.bytes, metadata) && sameBytes(message.body?.bytes() ?? new Uint8Array(0), body);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((value, i) => value === b[i]);
}
