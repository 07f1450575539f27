/**
 * Fuzz target for the client as a whole: the real receiving stream with real Arrow metadata, over a channel on which the
 * input decides what arrives when. Whatever a server sends, the client ends whole or with an error, gives every block
 * back, and takes no more memory than its limits say.
 *
 * @module
 */
import { DipcError } from "../../../src/errors.ts";
import { readerLimits } from "../../../src/limits.ts";
import type { Block, Pool } from "../../../src/memory/block.ts";
import { encodeFrame, END_OF_STREAM, ERROR_MESSAGE, METADATA } from "../../../src/protocol/prefix.ts";
import { IncomingStream } from "../../../src/stream/incoming.ts";
import type { Random } from "../../support/random.ts";
import {
  type Channel,
  DONE,
  FAILED,
  type Operation,
  PENDING,
  type Receive,
  type UnexpectedMessage,
} from "../../../src/wire/transport.ts";
import { storedStreams } from "../../support/simulated_dataset.ts";
import { SimulatedPool } from "../../support/simulated_memory.ts";
import type { FuzzTarget } from "../target.ts";

const LIMITS = readerLimits({ maxMetadataBytes: 4096, maxBodyBytes: 40_000, maxInFlightBytes: 64_000 });
const STREAMS = storedStreams().filter(({ name }) => name !== "long" && name !== "large");
/** What the client may hold: bodies in flight, one more, and the one handed out. */
const MAX_HELD = LIMITS.maxInFlightBytes + 2 * LIMITS.maxBodyBytes;

const FRAME = 0, BODY = 1, END = 2, ERROR = 3, BYTES = 4, DROP = 5, STEPS = 6;

let peakBytes = 0;

/** A whole, right run of a stream. */
function program(stream: number): Uint8Array<ArrayBuffer> {
  const steps = [stream];
  const count = STREAMS[stream].messages.length;
  for (let i = 0; i <= count; i++) {
    steps.push(FRAME, i, i, 0);
    if (i > 0) steps.push(BODY, i, i, 0);
  }
  return Uint8Array.from([...steps, END, count + 1]);
}

const target: FuzzTarget = {
  name: "protocol/stream",
  files: ["src/stream/incoming.ts", "src/stream/incoming_bodies.ts", "src/protocol/receiver.ts"],
  maxInputBytes: 600,
  maxAllocatedBytes: MAX_HELD,
  seeds: () => STREAMS.map((_, i) => program(i)),
  mutate(input, random: Random) {
    const step = random.below(STEPS);
    const operands = Array.from({ length: [3, 3, 1, 1, 2, 0][step] }, () => random.below(random.pick([4, 30, 256])));
    const at = 1 + random.below(input.byteLength);
    const cut = random.pick([0, 0, 2, 4]);
    return Uint8Array.from([...input.subarray(0, at), step, ...operands, ...input.subarray(at + cut)]);
  },
  async run(input) {
    const pool = new SimulatedPool();
    const counted: Pool = { space: "host", acquire: (byteLength): Block => pool.acquire(byteLength) };
    const incoming = new IncomingStream(new ScriptedChannel(input), {
      limits: LIMITS,
      pool: counted,
      timeoutMs: 1000,
      errorMessages: true,
      isApart: false,
    });
    let refused: DipcError | null = null;
    try {
      for (let message; (message = await incoming.next()) !== null;) message.body?.release();
    } catch (error) {
      if (!(error instanceof DipcError)) throw error;
      refused = error;
    } finally {
      await incoming.close();
    }
    peakBytes = pool.peakBytes;
    if (pool.out !== 0) throw new Error(`${pool.out} blocks were not given back`);
    if (pool.misuses !== 0) throw new Error(`${pool.misuses} blocks were misused`);
    if (refused !== null) throw refused;
    return true;
  },
  allocatedBytes: () => peakBytes,
};

class ScriptedReceive implements Receive {
  state: 0 | 1 | 2 = PENDING;
  error: DipcError | null = null;
  tag = 0n;
  byteLength = 0;
  constructor(readonly wanted: bigint, readonly mask: bigint, readonly target: Block, readonly capacity: number) {}
  poll(): 0 | 1 | 2 {
    return this.state;
  }
  cancel(): void {}
  takes(tag: bigint): boolean {
    return this.state === PENDING && ((tag ^ this.wanted) & this.mask) === 0n;
  }
  finish(tag: bigint, byteLength: number): void {
    if (byteLength > this.capacity) {
      this.error = new DipcError("protocol", "a tagged message is too long");
      this.state = FAILED;
      return;
    }
    this.target.bytes().fill(1, 0, byteLength);
    this.tag = tag;
    this.byteLength = byteLength;
    this.state = DONE;
  }
}

/** Runs one step of the input each time it is progressed; after the last the connection is gone. */
class ScriptedChannel implements Channel {
  readonly transports = ["script"];
  failure: DipcError | null = null;
  activity = 0;
  readonly #input: Uint8Array;
  readonly #stream: typeof STREAMS[number];
  #at = 1;
  #frames: Uint8Array<ArrayBuffer>[] = [];
  #unexpected: UnexpectedMessage[] = [];
  #receives: ScriptedReceive[] = [];
  #frame = new Uint8Array(0);

  constructor(input: Uint8Array) {
    this.#input = input;
    this.#stream = STREAMS[(input[0] ?? 0) % STREAMS.length];
  }

  get queuedFrames(): number {
    return this.#frames.length;
  }

  get queuedFrameBytes(): number {
    return this.#frames.reduce((sum, frame) => sum + frame.byteLength, 0);
  }

  progress(): boolean {
    if (this.failure !== null) return false;
    if (this.#at >= this.#input.byteLength) {
      this.failure = new DipcError("connection_lost", "the script has ended");
      return false;
    }
    this.#step();
    this.activity++;
    return true;
  }

  #operand(): number {
    return this.#input[this.#at++] ?? 0;
  }

  #step(): void {
    const { schema, messages } = this.#stream;
    const header = (which: number) =>
      which === 0 ? schema : messages[(which - 1) % Math.max(1, messages.length)]?.header ?? schema;
    switch (this.#operand() % STEPS) {
      case FRAME: {
        const which = this.#operand(), sequence = this.#operand(), damage = this.#operand();
        const frame = encodeFrame(METADATA, sequence, header(which).bytes);
        if (damage > 0) frame[5 + (damage * 7 + sequence) % (frame.byteLength - 5)] ^= damage;
        this.#frames.push(frame);
        return;
      }
      case BODY: {
        const which = this.#operand(), sequence = this.#operand(), off = this.#operand();
        const tag = BigInt(sequence) | (off > 250 ? BigInt(off) << 56n : 0n);
        this.#arrive(tag, header(which).bodyLength + (off > 200 ? off : 0));
        return;
      }
      case END:
        this.#frames.push(encodeFrame(END_OF_STREAM, this.#operand()));
        return;
      case ERROR:
        this.#frames.push(
          encodeFrame(ERROR_MESSAGE, this.#operand(), new TextEncoder().encode('{"code":"io","message":"m"}')),
        );
        return;
      case BYTES: {
        const size = this.#operand() % 16;
        this.#frames.push(this.#input.slice(this.#at, this.#at + size));
        this.#at += size;
        return;
      }
      case DROP:
        this.#at = this.#input.byteLength;
    }
  }

  #arrive(tag: bigint, byteLength: number): void {
    const receive = this.#receives.find((receive) => receive.takes(tag));
    if (receive === undefined) this.#unexpected.push({ tag, byteLength });
    else receive.finish(tag, byteLength);
  }

  async until(step: () => boolean): Promise<boolean> {
    await null;
    while (!step()) {
      this.progress();
      if (this.failure !== null && !step()) throw this.failure;
    }
    return true;
  }

  takeFrame(): Uint8Array<ArrayBuffer> | null {
    this.#frame.fill(0xDD);
    const frame = this.#frames.shift();
    if (frame === undefined) return null;
    this.#frame = new Uint8Array(new ArrayBuffer(3 + frame.byteLength), 3);
    this.#frame.set(frame);
    return this.#frame;
  }

  receive(tag: bigint, mask: bigint, target: Block, byteLength: number): Receive {
    const receive = new ScriptedReceive(tag, mask, target, byteLength);
    const at = this.#unexpected.findIndex((message) => receive.takes(message.tag));
    if (at < 0) {
      this.#receives.push(receive);
    } else {
      const [message] = this.#unexpected.splice(at, 1);
      receive.finish(message.tag, message.byteLength);
    }
    return receive;
  }

  probe(): UnexpectedMessage | null {
    return this.#unexpected[0] ?? null;
  }

  sendFrame(): Operation | null {
    return null;
  }

  sendTagged(): Operation | null {
    return null;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export default target;
