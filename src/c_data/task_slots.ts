/**
 * Slots with the data of tasks that were handed to foreign consumers: extracted once, by machine code on any thread.
 *
 * A task names its slot and the slot's generation, and slots are never freed. So a task that is extracted twice, or after its data
 * were taken back, gets an error and not the data of another one. The layout is that of `struct slot` in `native/c_data/async.c`.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { type Scratch, scratch } from "./raw.ts";
import { C_LAYOUT, DEVICE_TYPE, releaseStruct } from "./structs.ts";

const NEXT = 0, STATE = 1, LIST = 2, OUTSTANDING = 3, ARRAY = 4;
const SLOT_BYTES = 8 * ARRAY + C_LAYOUT.ArrowDeviceArray.size;
const SLOTS_AT_ONCE = 64;
/** A generation has 15 bits, and its task the 16 bits above an address. */
const GENERATIONS = 2n ** 15n;
const ADDRESS_BITS = 48n;

/** Counts the tasks of a stream whose data nobody has extracted. */
export interface TaskCounter {
  /** Address of the counter. */
  readonly outstanding: bigint;
  /** Changes it. */
  count(change: 1n | -1n): void;
}

/** A slot. */
export interface TaskSlot {
  readonly address: bigint;
  readonly words: BigInt64Array<ArrayBuffer>;
  readonly halves: Int32Array<ArrayBuffer>;
}

const free: TaskSlot[] = [];
const used = new Map<bigint, TaskSlot>();
/** Head of the list of slots that were emptied. */
let emptied: { readonly address: bigint; readonly head: BigInt64Array<ArrayBuffer> } | null = null;
let item: Scratch | null = null;

function viewOf(address: bigint, byteLength: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, byteLength) as ArrayBuffer;
}

function listAddress(): bigint {
  if (emptied !== null) return emptied.address;
  const address = allocate(64);
  const head = new BigInt64Array(viewOf(address, 64));
  head.fill(0n);
  return (emptied = { address, head }).address;
}

function addSlots(): void {
  const list = BigInt.asIntN(64, listAddress());
  const first = allocate(SLOTS_AT_ONCE * SLOT_BYTES);
  for (let i = 0; i < SLOTS_AT_ONCE; i++) {
    const address = first + BigInt(i * SLOT_BYTES);
    const memory = viewOf(address, SLOT_BYTES);
    const words = new BigInt64Array(memory);
    words.fill(0n);
    words[LIST] = list;
    free.push({ address, words, halves: new Int32Array(memory) });
  }
}

/** Takes back the slots that consumers have emptied. */
function drainEmptied(): void {
  if (emptied === null) return;
  for (let next = Atomics.exchange(emptied.head, 0, 0n); next !== 0n;) {
    const slot = used.get(BigInt.asUintN(64, next))!;
    next = slot.words[NEXT];
    used.delete(slot.address);
    free.push(slot);
  }
}

/**
 * Puts an array into a slot.
 *
 * @param write Writes an `ArrowArray` to an address
 * @param counter Counts it until it is extracted
 * @returns the slot
 * @throws {DipcError} `out_of_memory`; what `write` throws
 */
export function fillSlot(write: (target: bigint) => void, counter: TaskCounter): TaskSlot {
  item ??= scratch(C_LAYOUT.ArrowDeviceArray.size);
  write(item.address);
  drainEmptied();
  if (free.length === 0) addSlots();
  const slot = free.pop()!;
  const { address, words, halves } = slot;
  const at = C_LAYOUT.ArrowDeviceArray;
  libc().memcpy(address + 8n * BigInt(ARRAY), item.address, BigInt(C_LAYOUT.ArrowArray.size));
  words.fill(0n, ARRAY + at.device_id / 8);
  words[ARRAY + at.device_id / 8] = -1n;
  halves[2 * ARRAY + at.device_type / 4] = DEVICE_TYPE.cpu;
  words[OUTSTANDING] = BigInt.asIntN(64, counter.outstanding);
  counter.count(1n);
  const generation = (words[STATE] / 2n + 1n) % GENERATIONS;
  Atomics.store(words, STATE, 2n * generation + 1n);
  used.set(address, slot);
  return slot;
}

/** The `private_data` of the task of a slot that was just filled. */
export function taskName({ address, words }: TaskSlot): bigint {
  return BigInt.asIntN(64, ((words[STATE] / 2n) << ADDRESS_BITS) | address);
}

/**
 * Takes the data of a task back, unless they were extracted.
 *
 * @param slot Its slot
 * @param name Its name
 * @param counter Has counted it
 */
export function reclaimSlot(slot: TaskSlot, name: bigint, counter: TaskCounter): void {
  const { words, address } = slot;
  const full = stateOf(name);
  if (Atomics.compareExchange(words, STATE, full, full - 1n) !== full) return;
  releaseStruct("ArrowArray", address + 8n * BigInt(ARRAY));
  counter.count(-1n);
  used.delete(address);
  free.push(slot);
}

/** Whether nobody has extracted the data of a task. */
export function isFull(slot: TaskSlot, name: bigint): boolean {
  return Atomics.load(slot.words, STATE) === stateOf(name);
}

function stateOf(name: bigint): bigint {
  return 2n * (BigInt.asUintN(64, name) >> ADDRESS_BITS) + 1n;
}

/** Tasks whose data nobody has extracted. */
export function taskCount(): number {
  drainEmptied();
  return used.size;
}
