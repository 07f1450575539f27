/**
 * The queue behind an exported stream: filled here, and emptied by machine code on the consumer's thread.
 *
 * The layout is that of `struct queue` in `native/c_data/code.c`.
 *
 * @module
 */
import { addressOf, cString, libc } from "../../ffi/libc.ts";
import { allocate, FUTEX_WAKE_PRIVATE, libcAddress, rawMemory, SYS_FUTEX } from "../../ffi/raw_memory.ts";
import type { SchemaLayout } from "../ipc/layout.ts";
import { type Cell, giveBackCell, handOut, takeCell } from "./cells.ts";
import type { StreamName } from "./foreign_calls.ts";
import { nativeCode } from "./native_code.ts";
import { type Scratch, scratch } from "./raw.ts";
import { schemaBlock } from "./schema_out.ts";
import { C_LAYOUT, DEVICE_TYPE, releaseStruct } from "./structs.ts";

const VERSION = 8, HAS_ENDED = 9, ERROR = 10, ITEM_BYTES = 11; // halves of words
const TAKEN = 6, ADDED = 7, CAPACITY = 8, ITEMS = 9, ERROR_TEXT = 10, DEMAND = 11;
const SCHEMA = 12, SCHEMA_BYTES = 13, SCHEMA_WORDS = 14, ALLOCATE = 15, FIRST_ITEM = 16;
/** Batches that are ready before the consumer takes them. */
const QUEUED = 4;
const EVERYBODY = 2 ** 31 - 1;

/** Answers to a consumer that found the queue empty. */
export const WAIT = 0, LOOK_AGAIN = 1;

/** What fills a queue. */
export interface QueueOwner {
  /**
   * Called when a consumer finds the queue empty, on this thread.
   *
   * @param isOwnThread Whether the consumer's call is on this thread, which cannot wait for itself
   * @returns {@linkcode WAIT}, {@linkcode LOOK_AGAIN}, or the errno that the consumer gets
   */
  demand(isOwnThread: boolean): number;
  /** Called after the consumer has released the stream. */
  released(): void;
}

/** Place for an item before it is known that its stream was not released meanwhile. */
let item: Scratch | null = null;
const owners = new Map<number, QueueOwner>();
let callback: Deno.UnsafeCallback<{ parameters: ["i64", "i64"]; result: "i32" }> | null = null;
/** Streams whose consumers wait for this thread. */
let users = 0;

/** The function that consumers call when they find a queue empty. It is never closed, because they may do so at any time. */
function demandCallback(): bigint {
  callback ??= new Deno.UnsafeCallback(
    { parameters: ["i64", "i64"], result: "i32" },
    (id, thread) => owners.get(Number(id))?.demand(Number(thread) === rawMemory().gettid()) ?? LOOK_AGAIN,
  );
  return BigInt(Deno.UnsafePointer.value(callback.pointer));
}

/** A queue. */
export class Queue {
  readonly #cell: Cell;
  readonly #name: StreamName;
  readonly #counts: BigInt64Array<ArrayBuffer>;
  readonly #flags: Int32Array<ArrayBuffer>;
  readonly #schema: bigint;
  #text = 0n;
  #id = 0;
  #isUsing = false;
  #isReleased = false;

  /**
   * Writes a stream to an address.
   *
   * @param name Which structure
   * @param layout Its schema
   * @param target Address of memory for the structure
   * @param owner Fills the queue
   * @throws {DipcError} `out_of_memory`; `unsupported` for big-endian data, or in a web worker
   */
  constructor(name: StreamName, layout: SchemaLayout, target: bigint, owner: QueueOwner) {
    const { size } = name === "ArrowArrayStream" ? C_LAYOUT.ArrowArray : C_LAYOUT.ArrowDeviceArray;
    const cell = takeCell(8 * FIRST_ITEM + QUEUED * size, null);
    this.#cell = cell;
    this.#name = name;
    cell.shape = null;
    cell.words.fill(0n);
    this.#counts = cell.words;
    this.#flags = new Int32Array(cell.words.buffer);
    let block;
    try {
      block = schemaBlock(layout);
    } catch (error) {
      giveBackCell(cell);
      throw error;
    }
    this.#schema = block.address;
    const signed = (address: bigint): bigint => BigInt.asIntN(64, address);
    cell.halves[ITEM_BYTES] = size;
    cell.put(CAPACITY, QUEUED);
    cell.put(ITEMS, cell.base + 8 * FIRST_ITEM);
    cell.words[DEMAND] = signed(demandCallback());
    cell.words[SCHEMA] = signed(block.address);
    cell.put(SCHEMA_BYTES, block.byteLength);
    cell.put(SCHEMA_WORDS, block.words);
    cell.words[ALLOCATE] = signed(libcAddress("malloc"));
    this.#id = handOut(cell, 1, () => this.#released(owner));
    owners.set(this.#id, owner);
    this.#writeStruct(target);
  }

  /** Whether there is room for another item. */
  get hasRoom(): boolean {
    return Number(Atomics.load(this.#counts, ADDED) - Atomics.load(this.#counts, TAKEN)) < QUEUED;
  }

  /** Keeps the program running, because a consumer waits for it. */
  use(): void {
    if (this.#isUsing) return;
    this.#isUsing = true;
    if (users++ === 0) callback!.ref();
  }

  /**
   * Adds an item.
   *
   * @param write Writes an `ArrowArray` to an address
   */
  add(write: (target: bigint) => void): void {
    item ??= scratch(C_LAYOUT.ArrowDeviceArray.size);
    write(item.address);
    // Whatever is exported takes back first what was released, which may be this stream.
    if (this.#isReleased) return releaseStruct("ArrowArray", item.address);
    const { size } = this.#item;
    const added = Atomics.load(this.#counts, ADDED);
    const word = FIRST_ITEM + Number(added % BigInt(QUEUED)) * size / 8;
    const { words, halves, address } = this.#cell;
    libc().memcpy(address + 8n * BigInt(word), item.address, BigInt(C_LAYOUT.ArrowArray.size));
    if (this.#name === "ArrowDeviceArrayStream") {
      const at = C_LAYOUT.ArrowDeviceArray;
      words.fill(0n, word + at.device_id / 8, word + size / 8);
      words[word + at.device_id / 8] = -1n;
      halves[2 * word + at.device_type / 4] = DEVICE_TYPE.cpu;
    }
    Atomics.store(this.#counts, ADDED, added + 1n);
    this.#wake();
  }

  /**
   * Sets the text that the consumer gets if a call of it fails.
   *
   * @param text The text
   */
  explain(text: string): void {
    if (this.#isReleased) return;
    const bytes = cString(text.replaceAll("\0", ""));
    const padded = new Uint8Array(Math.max(128, bytes.byteLength));
    padded.set(bytes);
    const address = allocate(padded.byteLength);
    libc().memcpy(address, addressOf(padded), BigInt(padded.byteLength));
    // The consumer may still read the text before it.
    if (this.#text !== 0n) this.#oldTexts.push(this.#text);
    this.#text = address;
    Atomics.store(this.#counts, ERROR_TEXT, BigInt.asIntN(64, address));
  }

  readonly #oldTexts: bigint[] = [];

  /**
   * Ends the stream after the items that are in the queue.
   *
   * @param error errno, 0 at the end of the data
   */
  end(error: number): void {
    if (this.#isReleased) return;
    this.#flags[ERROR] = error;
    Atomics.store(this.#flags, HAS_ENDED, 1);
    this.#wake();
  }

  get #item(): { readonly size: number } {
    return this.#name === "ArrowArrayStream" ? C_LAYOUT.ArrowArray : C_LAYOUT.ArrowDeviceArray;
  }

  #wake(): void {
    Atomics.add(this.#flags, VERSION, 1);
    rawMemory().futex(SYS_FUTEX, this.#cell.address + 4n * BigInt(VERSION), FUTEX_WAKE_PRIVATE, EVERYBODY);
  }

  #writeStruct(target: bigint): void {
    const code = nativeCode();
    const isDevice = this.#name === "ArrowDeviceArrayStream";
    const prefix = isDevice ? "device_stream" : "stream";
    const at = C_LAYOUT[this.#name];
    const words = new BigUint64Array(16);
    if (isDevice) words[0] = BigInt(DEVICE_TYPE.cpu);
    for (const name of ["get_schema", "get_next", "get_last_error", "release"] as const) {
      words[at[name] / 8] = code[`${prefix}_${name}`];
    }
    words[at.private_data / 8] = this.#cell.address;
    libc().memcpy(target, addressOf(new Uint8Array(words.buffer)), BigInt(at.size));
  }

  #released(owner: QueueOwner): void {
    this.#isReleased = true;
    owners.delete(this.#id);
    if (this.#isUsing && --users === 0) callback!.unref();
    const { address } = this.#cell;
    const { size } = this.#item;
    const name = this.#name === "ArrowArrayStream" ? "ArrowArray" : "ArrowDeviceArray";
    for (let at = this.#counts[TAKEN]; at < this.#counts[ADDED]; at++) {
      releaseStruct(name, address + 8n * BigInt(FIRST_ITEM) + (at % BigInt(QUEUED)) * BigInt(size));
    }
    const { free } = libc();
    free(this.#schema);
    for (const text of [this.#text, ...this.#oldTexts]) free(text);
    owner.released();
  }
}
