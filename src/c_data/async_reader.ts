/**
 * The handler that a foreign producer calls: machine code queues what it sends, and it is taken here.
 *
 * The layout is that of `struct reader` in `native/c_data/async.c`.
 *
 * @module
 */
import { addressOf, libc } from "../../ffi/libc.ts";
import { cStringAt } from "../../ffi/c_string.ts";
import { allocate, callPointer, libcAddress } from "../../ffi/raw_memory.ts";
import { DipcError } from "../errors.ts";
import { bellAddress, bellChange, bellVersion } from "./bell.ts";
import { foreignError } from "./foreign_calls.ts";
import { readMetadataAt } from "./metadata.ts";
import { asyncCode, type AsyncFunction } from "./native_code.ts";
import { CarefulReader } from "./raw.ts";
import { C_LAYOUT } from "./structs.ts";

const USERS = 6, BELL = 7, ALLOCATE = 8, FREE = 9, ADDED = 11, TAKEN = 12, WINDOW = 14;
const HAS_SCHEMA = 30, END = 31, IS_RELEASED = 32, IS_CLOSED = 33, IS_CANCELLED = 34, ERROR = 36, VIOLATION = 37; // halves of words
const ERROR_TEXT = 19, ERROR_METADATA = 20, METADATA = 21, TASK_METADATA = 22, SCHEMA = 24, ENTRIES = 33;
const ENTRY_WORDS = 3;
/** Ways in which a stream ends: by its end, by an error, or by a release alone. */
const ENDED = 2, FAILED = 3, LEFT = 4;
/**
 * How long a producer that has no task here may take to call back before it is cancelled, in milliseconds. Arrow C++ frees its struct
 * when it is done, before it says so; while it is likely to be done, it is not called.
 */
const CANCEL_GRACE_MS = 50;

const NO_METADATA: ReadonlyMap<string, string> = new Map();
const VIOLATIONS: Readonly<Record<number, string>> = {
  1: "it called on_schema without a producer",
  2: "it called on_schema twice",
  3: "it called on_next_task before on_schema, or on_schema without a schema",
  4: "it sent more tasks than were requested",
  5: "it went on after the end of the stream",
};

const CALL = { parameters: ["usize", "usize"], result: "i32" } as const;
const CALL_LATER = { ...CALL, nonblocking: true } as const;

type Caller = { call(reader: bigint, second: bigint): number };
type LaterCaller = { call(reader: bigint, second: bigint): Promise<number> };

let take: Caller | null = null;
const later: Partial<Record<AsyncFunction, LaterCaller>> = {};

function callLater(name: AsyncFunction, reader: bigint, second = 0n): Promise<number> {
  const pointer = Deno.UnsafePointer.create<typeof CALL_LATER>(asyncCode()[name])!;
  later[name] ??= new Deno.UnsafeFnPointer(pointer, CALL_LATER);
  return later[name].call(reader, second);
}

/** A handler, and what was sent to it. */
export class AsyncReader {
  readonly #address: bigint;
  readonly #words: BigInt64Array<ArrayBuffer>;
  readonly #flags: Int32Array<ArrayBuffer>;

  /**
   * Makes one, in native memory that stays until the producer has released it.
   *
   * @param window Tasks that may be requested and not taken
   * @throws {DipcError} `permission_denied` without `--allow-ffi`, `out_of_memory`
   */
  constructor(window: number) {
    const code = asyncCode();
    const size = 8 * (ENTRIES + ENTRY_WORDS * window);
    const words = new BigInt64Array(Math.max(16, size / 8));
    const at = C_LAYOUT.ArrowAsyncDeviceStreamHandler;
    const put = (word: number, value: bigint): void => void (words[word] = BigInt.asIntN(64, value));
    put(at.on_schema / 8, code.reader_on_schema);
    put(at.on_next_task / 8, code.reader_on_next_task);
    put(at.on_error / 8, code.reader_on_error);
    put(at.release / 8, code.reader_release);
    put(USERS, 2n);
    put(BELL, bellAddress());
    put(ALLOCATE, libcAddress("malloc"));
    put(FREE, libcAddress("free"));
    put(WINDOW, BigInt(window));
    this.#address = allocate(size);
    put(at.private_data / 8, this.#address);
    libc().memcpy(this.#address, addressOf(new Uint8Array(words.buffer)), BigInt(size));
    const memory = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(this.#address)!, size);
    this.#words = new BigInt64Array(memory as ArrayBuffer);
    this.#flags = new Int32Array(memory as ArrayBuffer);
  }

  /** Address of the `ArrowAsyncDeviceStreamHandler`. */
  get handler(): bigint {
    return this.#address;
  }

  /** Address of the `ArrowSchema` that came, or `null` before that. */
  get schema(): bigint | null {
    return this.#flag(HAS_SCHEMA) ? this.#address + 8n * BigInt(SCHEMA) : null;
  }

  /** Keys and values that the producer has for the whole stream. @throws {DipcError} `invalid_data` */
  get metadata(): ReadonlyMap<string, string> {
    return this.#metadataAt(METADATA);
  }

  /** Keys and values of the task that was taken last. @throws {DipcError} `invalid_data` */
  get taskMetadata(): ReadonlyMap<string, string> {
    return this.#metadataAt(TASK_METADATA);
  }

  /** Whether there is a task. */
  get hasTask(): boolean {
    return Atomics.load(this.#words, ADDED) !== Atomics.load(this.#words, TAKEN);
  }

  /** Whether the producer has sent its last task, and ended without an error. */
  get hasEnded(): boolean {
    return Atomics.load(this.#flags, END) === ENDED;
  }

  /** The error that the producer has reported, or has made; `null` if there is none. */
  get failure(): DipcError | null {
    const end = Atomics.load(this.#flags, END);
    const violation = Atomics.load(this.#flags, VIOLATION);
    if (violation !== 0) return violationError(VIOLATIONS[violation]);
    if (end === LEFT) return violationError("it released the handler without an end or an error");
    if (end !== FAILED) return null;
    const text = cStringAt(BigInt.asUintN(64, this.#words[ERROR_TEXT]));
    return foreignError("read an imported stream", this.#flags[ERROR], text, this.#metadataAt(ERROR_METADATA));
  }

  /**
   * Takes a task, which must be there, and has its data written to an address. Another one is requested before.
   *
   * @param out Address of memory for an `ArrowDeviceArray`
   * @param isBlocking Calls the producer on this thread
   * @returns What `extract_data` returns
   */
  take(out: bigint, isBlocking: boolean): number | Promise<number> {
    if (!isBlocking) return callLater("reader_take", this.#address, out);
    const pointer = Deno.UnsafePointer.create<typeof CALL>(asyncCode().reader_take)!;
    take ??= new Deno.UnsafeFnPointer(pointer, CALL);
    return take.call(this.#address, out);
  }

  /**
   * Takes nothing any more: cancels the producer if it has not ended, and discards what it has sent. To be called once, while no task
   * is being taken; nothing else may be called afterwards.
   */
  async close(): Promise<void> {
    Atomics.store(this.#flags, IS_CLOSED, 1);
    if (this.#isOpen || this.hasTask) await callLater("reader_close", this.#address);
    const untilMs = performance.now() + CANCEL_GRACE_MS;
    for (let seen = bellVersion(); this.#mustCancel; seen = bellVersion()) {
      const leftMs = untilMs - performance.now();
      if (leftMs > 0) await bellChange(seen, leftMs);
      else await callLater("reader_cancel", this.#address);
    }
    if (this.hasTask) await callLater("reader_drop", this.#address);
    else callPointer(asyncCode().reader_drop, this.#address, 0n);
  }

  get #isOpen(): boolean {
    return Atomics.load(this.#flags, END) === 0;
  }

  get #mustCancel(): boolean {
    return this.#isOpen && this.#flag(HAS_SCHEMA) && !this.#flag(IS_CANCELLED) && !this.#flag(IS_RELEASED);
  }

  #flag(half: number): boolean {
    return Atomics.load(this.#flags, half) !== 0;
  }

  #metadataAt(word: number): ReadonlyMap<string, string> {
    const address = BigInt.asUintN(64, this.#words[word]);
    return address === 0n ? NO_METADATA : readMetadataAt(address, new CarefulReader(), "of the stream");
  }
}

function violationError(what: string): DipcError {
  return new DipcError("protocol", `cannot read an imported stream: ${what}; the library that produces it is at fault`);
}
