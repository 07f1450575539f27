/**
 * Fuzz target for the receiving state machine: an input is a program of frames, bodies and questions. After each step
 * the state is compared with simple rules that do not share its code.
 *
 * @module
 */
import { DipcError } from "../../../src/errors.ts";
import { encodeFrame, END_OF_STREAM, ERROR_MESSAGE, METADATA } from "../../../src/protocol/prefix.ts";
import { type ReceiverSlot, ReceiverState } from "../../../src/protocol/receiver.ts";
import type { Random } from "../../support/random.ts";
import { readTestHeader, testFrame } from "../../support/protocol_headers.ts";
import type { FuzzTarget } from "../target.ts";

const LIMITS = {
  maxMetadataBytes: 64,
  maxBodyBytes: 5000,
  maxInFlightBytes: 1000,
  maxPosted: 3,
  maxAnnounced: 5,
  reorderWindow: 4,
  maxHeldBytes: 40,
  bodyWindow: 6,
};

/** Steps of a program, each with a fixed number of operand bytes. */
const FRAME = 0, END = 1, ERROR = 2, RAW = 3, POST = 4, BODY = 5, UNEXPECTED = 6, NEXT = 7, STEPS = 8;
const FIRSTS = [0, 1, 0xFFFFFFFE, 0xFFFFFF00, 0x7FFFFFFF];

/** A whole, right stream of `kinds` (such as `DBB`), in which bodies have 16 bytes. */
function stream(first: number, kinds: string): Uint8Array<ArrayBuffer> {
  const program = [first];
  [..."S" + kinds].forEach((kind, i) => program.push(FRAME, "SDB".indexOf(kind), kind === "S" ? 0 : 16, i));
  for (const _ of kinds) program.push(POST, BODY, 0, 0, 0, NEXT);
  program.push(END, kinds.length + 1, NEXT, NEXT);
  return Uint8Array.from(program);
}

const target: FuzzTarget = {
  name: "protocol/receiver",
  files: ["receiver", "metadata_order", "message_checks", "sequence"].map((name) => `src/protocol/${name}.ts`),
  seeds: () => [
    stream(0, "B"),
    stream(2, "DBB"),
    Uint8Array.of(0, FRAME, 2, 0, 1, FRAME, 0, 0, 0, NEXT, NEXT, UNEXPECTED, 1, 0, 0, END, 2),
    Uint8Array.of(
      2,
      FRAME,
      0,
      0,
      0,
      UNEXPECTED,
      1,
      16,
      0,
      FRAME,
      2,
      16,
      1,
      UNEXPECTED,
      1,
      16,
      0,
      POST,
      BODY,
      0,
      0,
      0,
      NEXT,
      NEXT,
    ),
    Uint8Array.of(0, FRAME, 0, 0, 0, FRAME, 2, 9, 3, END, 4, FRAME, 2, 9, 2, FRAME, 1, 9, 1, NEXT, POST, POST, POST),
    Uint8Array.of(0, FRAME, 0, 0, 0, ERROR, 1, RAW, 3, 1, 2, 3),
  ],
  mutate(input, random: Random) {
    // A step is put in, or one repeated: numbers near the right ones are the hard cases.
    const step = random.below(STEPS);
    const operands = Array.from(
      { length: [3, 1, 1, 1, 0, 3, 3, 0][step] },
      () => random.below(random.pick([3, 8, 256])),
    );
    const at = random.below(input.byteLength + 1);
    const cut = random.pick([0, 0, 1, 4]);
    return Uint8Array.from([...input.subarray(0, at), step, ...operands, ...input.subarray(at + cut)]).subarray(
      0,
      4000,
    );
  },
  run(input) {
    return new Program(input).run();
  },
  maxInputBytes: 600,
};

class Program {
  readonly first: number;
  readonly state: ReceiverState<number>;
  /** Positions whose header was read, in order. */
  readonly lengths: number[] = [];
  readonly posted: ReceiverSlot<number>[] = [];
  readonly arrived = new Set<number>();
  delivered = 0;
  at = 1;

  constructor(readonly input: Uint8Array) {
    this.first = FIRSTS[(input[0] ?? 0) % FIRSTS.length];
    this.state = new ReceiverState<number>({
      ...LIMITS,
      firstSequence: this.first,
      readHeader: (metadata) => {
        const header = readTestHeader(metadata);
        this.lengths.push(header.bodyLength);
        return header;
      },
    });
  }

  run(): boolean {
    while (this.at < this.input.byteLength) {
      try {
        this.step();
      } catch (error) {
        if (error instanceof DipcError) this.afterFailure(error);
        throw error;
      }
      this.invariants();
    }
    return this.state.finished;
  }

  operand(): number {
    return this.input[this.at++] ?? 0;
  }

  /** A sequence number from a byte: near the start of the stream, or just before it, or anywhere. */
  sequence(): number {
    const byte = this.operand();
    const offset = byte < 200 ? byte : byte < 250 ? byte - 256 : byte * 0x1010101;
    return (this.first + offset) >>> 0;
  }

  step(): void {
    const { state } = this;
    switch (this.operand() % STEPS) {
      case FRAME: {
        const kind = "SDB"[this.operand() % 3];
        const size = this.operand();
        const text = size === 255
          ? `${kind}6000`
          : size === 254
          ? "?".repeat(70)
          : size === 253
          ? `${kind}-1`
          : kind + size;
        const frame = testFrame(this.sequence(), text);
        if (state.wantsFrame) state.onFrame(frame);
        frame.fill(0xDD);
        return;
      }
      case END:
        if (state.wantsFrame) state.onFrame(encodeFrame(END_OF_STREAM, this.sequence()));
        return;
      case ERROR:
        if (state.wantsFrame) {
          state.onFrame(
            encodeFrame(ERROR_MESSAGE, this.sequence(), new TextEncoder().encode('{"code":"io","message":"m"}')),
          );
        }
        return;
      case RAW: {
        const size = this.operand() % 16;
        const frame = this.input.slice(this.at, this.at + size);
        this.at += size;
        if (frame[0] === METADATA && frame.byteLength > 5) frame[5] = 0x3F; // no test header starts so
        if (state.wantsFrame) state.onFrame(frame);
        return;
      }
      case POST: {
        const slot = state.nextToPost();
        if (slot === null) return;
        slot.attachment = slot.sequence;
        this.posted.push(slot);
        return;
      }
      case BODY: {
        const which = this.operand(), type = this.operand(), off = this.operand();
        if (this.posted.length === 0) return;
        const [slot] = this.posted.splice(which % this.posted.length, 1);
        const tag = BigInt(slot.sequence) | BigInt(type & 3) << 56n | BigInt(type >> 2) << 40n;
        const byteLength = off < 250 ? slot.byteLength : slot.byteLength + off;
        state.onBody(slot, tag, byteLength);
        if ((type & 3) !== 0 || byteLength !== slot.byteLength) throw new Error("a wrong body was taken");
        this.arrived.add(this.position(slot.sequence));
        return;
      }
      case UNEXPECTED: {
        const sequence = this.sequence();
        const size = this.operand(), type = this.operand();
        const tag = BigInt(sequence) | BigInt(type & 1) << 56n | BigInt(type >> 1) << 33n;
        const position = this.position(sequence);
        state.checkUnexpected(tag, size);
        if ((type & 1) !== 0) throw new Error("an unexpected body of another type was taken");
        if (position <= 0) throw new Error("an unexpected body of no message was taken");
        const known = this.lengths[position];
        if (position < state.announced && known !== size) {
          throw new Error("an unexpected body of another length was taken");
        }
        if (this.arrived.has(position)) throw new Error("a body was taken twice");
        return;
      }
      case NEXT: {
        const slot = state.next();
        if (slot === null) return;
        if (this.position(slot.sequence) !== this.delivered) throw new Error("messages came out of order");
        const length = this.lengths[this.delivered];
        if (slot.byteLength !== length || slot.header!.bodyLength !== length) throw new Error("another body came out");
        if (length > 0 && !this.arrived.has(this.delivered)) throw new Error("a message came out without its body");
        if (length > 0 && slot.attachment !== slot.sequence) throw new Error("another attachment came out");
        this.delivered++;
      }
    }
  }

  position(sequence: number): number {
    return (sequence - this.first) | 0;
  }

  invariants(): void {
    const { state } = this;
    const check = (what: string, right: boolean) => {
      if (!right) throw new Error(what);
    };
    check("posted", state.posted === this.posted.length && state.posted <= LIMITS.maxPosted);
    check("delivered", state.delivered === this.delivered);
    check("announced", state.announced === this.lengths.length);
    check("the window", state.announced - state.delivered <= LIMITS.maxAnnounced + LIMITS.reorderWindow - 1);
    const inFlight = [...this.arrived].filter((position) => position >= this.delivered)
      .concat(this.posted.map(({ sequence }) => this.position(sequence)));
    const bytes = inFlight.reduce((sum, position) => sum + this.lengths[position], 0);
    check("bytes in flight", state.inFlightBytes === bytes);
    check("bytes in flight over the limit", bytes <= LIMITS.maxInFlightBytes || inFlight.length === 1);
    check("finished", !state.finished || state.ended && state.delivered === state.announced);
    check("attachments", state.finished === false || this.posted.length === 0);
  }

  /** A lost stream stays lost, and gives nothing but what was complete. */
  afterFailure(error: DipcError): void {
    const { state } = this;
    if (state.failure !== error) throw new Error(`the failure is not kept: ${error.message}`);
    for (let slot; (slot = state.next()) !== null; this.delivered++) {
      if (this.position(slot.sequence) !== this.delivered) {
        throw new Error("messages came out of order after a failure");
      }
      const length = this.lengths[this.delivered];
      if (length > 0 && !this.arrived.has(this.delivered)) throw new Error("a message came out without its body");
    }
    if (state.finished && !state.ended) throw new Error("a lost stream is finished");
  }
}

export default target;
