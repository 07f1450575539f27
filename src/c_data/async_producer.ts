/**
 * The `ArrowAsyncProducer` that a foreign consumer requests from: machine code counts what it requests.
 *
 * The layout is that of `struct producer` in `native/c_data/async.c`.
 *
 * @module
 */
import { addressOf, libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { bellAddress } from "./bell.ts";
import { encodeMetadata } from "./metadata.ts";
import { asyncCode } from "./native_code.ts";
import { C_LAYOUT, DEVICE_TYPE } from "./structs.ts";

const AT = C_LAYOUT.ArrowAsyncProducer;
const BELL = 5, REQUESTED = 6, OUTSTANDING = 7, HANDLER = 10, EXTRACT = 11, COUNT = 12, TASKS = 13;
const IS_CANCELLED = 16, IS_FAULTY = 17, IS_CLOSED = 18, STATUS = 19; // halves of words
/** Tasks that are handed over in one call, at most. */
export const BURST = 16;
const BYTES = 8 * (TASKS + BURST);
/**
 * How long the memory of a producer stays as it is after the consumer was released, in milliseconds: Arrow C++ was seen to request
 * more after that.
 */
const QUARANTINE_MS = 10_000;
const DELIVER = { parameters: ["usize", "usize"], result: "i32", nonblocking: true } as const;

interface Memory {
  readonly address: bigint;
  readonly words: BigInt64Array<ArrayBuffer>;
  readonly flags: Int32Array<ArrayBuffer>;
  /** Of the stream; freed when the memory is used again. */
  metadata: bigint;
  freeAtMs: number;
}

/** Memory of producers whose consumers were released, in order. It is never freed. */
const retired: Memory[] = [];
let deliver: Deno.UnsafeFnPointer<typeof DELIVER> | null = null;

function takeMemory(): Memory {
  if (retired.length > 0 && retired[0].freeAtMs < performance.now()) {
    const oldest = retired.shift()!;
    if (oldest.words[OUTSTANDING] === 0n) {
      libc().free(oldest.metadata);
      oldest.metadata = 0n;
      return oldest;
    }
    // Its tasks count there when they are extracted.
    retire(oldest);
  }
  const address = allocate(BYTES);
  const memory = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, BYTES) as ArrayBuffer;
  const words = new BigInt64Array(memory);
  return { address, words, flags: new Int32Array(memory), metadata: 0n, freeAtMs: 0 };
}

/** A producer. */
export class AsyncProducer {
  readonly #memory: Memory;

  /**
   * Makes one, and gives it to the handler.
   *
   * @param handler Address of the `ArrowAsyncDeviceStreamHandler`
   * @param metadata Keys and values of the whole stream
   * @throws {DipcError} `permission_denied` without `--allow-ffi`, `out_of_memory`
   */
  constructor(handler: bigint, metadata: ReadonlyMap<string, string>) {
    const code = asyncCode();
    const memory = this.#memory = takeMemory();
    const { address, words, flags } = memory;
    const put = (word: number, value: bigint): void => void (words[word] = BigInt.asIntN(64, value));
    words.fill(0n);
    if (metadata.size > 0) memory.metadata = nativeCopy(encodeMetadata(metadata));
    flags[AT.device_type / 4] = DEVICE_TYPE.cpu;
    put(AT.request / 8, code.producer_request);
    put(AT.cancel / 8, code.producer_cancel);
    put(AT.additional_metadata / 8, memory.metadata);
    put(AT.private_data / 8, address);
    put(BELL, bellAddress());
    put(HANDLER, handler);
    put(EXTRACT, code.slot_extract);
    const field = new BigUint64Array(16);
    field[0] = address;
    const at = BigInt(C_LAYOUT.ArrowAsyncDeviceStreamHandler.producer);
    libc().memcpy(handler + at, addressOf(new Uint8Array(field.buffer)), 8n);
  }

  /** Tasks that were requested, since the beginning. */
  get requested(): bigint {
    return Atomics.load(this.#memory.words, REQUESTED);
  }

  /** Whether the consumer has cancelled. */
  get isCancelled(): boolean {
    return Atomics.load(this.#memory.flags, IS_CANCELLED) !== 0;
  }

  /** Whether the consumer has requested nothing, or less. */
  get isFaulty(): boolean {
    return Atomics.load(this.#memory.flags, IS_FAULTY) !== 0;
  }

  /** What `on_next_task` has returned for the last task that was delivered. */
  get status(): number {
    return this.#memory.flags[STATUS];
  }

  /** Address of the counter of tasks whose data nobody has extracted. */
  get outstanding(): bigint {
    return this.#memory.address + 8n * BigInt(OUTSTANDING);
  }

  /** Counts a task. @param change 1 or −1 */
  count(change: 1n | -1n): void {
    Atomics.add(this.#memory.words, OUTSTANDING, change);
  }

  /**
   * Calls `on_next_task` for each task, on another thread, until one fails or the consumer cancels.
   *
   * @param tasks Names of tasks, {@linkcode BURST} at most
   * @returns for how many it was called
   */
  deliver(tasks: readonly bigint[]): Promise<number> {
    const { address, words } = this.#memory;
    words.set(tasks, TASKS);
    words[COUNT] = BigInt(tasks.length);
    const pointer = Deno.UnsafePointer.create<typeof DELIVER>(asyncCode().producer_deliver)!;
    deliver ??= new Deno.UnsafeFnPointer(pointer, DELIVER);
    return deliver.call(address, 0n);
  }

  /** Requests and cancellations have no effect any more. */
  close(): void {
    Atomics.store(this.#memory.flags, IS_CLOSED, 1);
  }

  /** To be called once, after the consumer was released: the memory is used again later. */
  retire(): void {
    retire(this.#memory);
  }
}

function retire(memory: Memory): void {
  memory.freeAtMs = performance.now() + QUARANTINE_MS;
  retired.push(memory);
}

/** A copy of bytes in native memory, to be freed. */
export function nativeCopy(bytes: Uint8Array<ArrayBuffer>): bigint {
  const padded = new Uint8Array(Math.max(128, bytes.byteLength));
  padded.set(bytes);
  const address = allocate(padded.byteLength);
  libc().memcpy(address, addressOf(padded), BigInt(padded.byteLength));
  return address;
}
