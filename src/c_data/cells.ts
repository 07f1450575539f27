/**
 * Native memory of exported structures: it stays in place until the consumer has released all of them, on whichever thread.
 *
 * The release callbacks are machine code. They count, and put what is released last into a list, which is emptied here: before
 * each export, and every {@linkcode DRAIN_MS} while anything is exported. So no consumer ever waits for JavaScript.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { LocalError } from "../errors.ts";
import { scratch } from "./raw.ts";

/** Words of the header of a cell: count, next, owner, id. */
export const CELL_WORDS = 4;
const COUNT = 0, OWNER = 2, ID = 3;
const DRAIN_MS = 25;
const SMALLEST_BYTES = 1024;
/** Most bytes of free cells that are kept for reuse. */
const MAX_RETAINED_BYTES = 4 * 2 ** 20;

/** A cell of native memory. */
export class Cell {
  readonly address: bigint;
  /** The same as a number. */
  readonly base: number;
  readonly byteLength: number;
  readonly words: BigInt64Array<ArrayBuffer>;
  /** Low and high half of each word. */
  readonly halves: Uint32Array<ArrayBuffer>;
  /** What the words were laid out for. */
  shape: object | null = null;
  /** Called when everything in the cell was released, before it is used again. */
  onRelease: (() => void) | null = null;

  /** @ignore Use {@linkcode takeCell} */
  constructor(address: bigint, byteLength: number) {
    this.address = address;
    this.base = Number(address);
    this.byteLength = byteLength;
    const buffer = Deno.UnsafePointerView.getArrayBuffer(
      Deno.UnsafePointer.create(address)!,
      byteLength,
    ) as ArrayBuffer;
    this.words = new BigInt64Array(buffer);
    this.halves = new Uint32Array(buffer);
  }

  /** Writes a number of 0 to 2⁵³ − 1 to a word. */
  put(word: number, value: number): void {
    this.halves[2 * word] = value;
    this.halves[2 * word + 1] = value / 4294967296;
  }
}

/** Cells that consumers have, by their ids. */
const live = new Map<number, Cell>();
const free = new Map<number, Cell[]>();
let retainedBytes = 0;
let nextId = 1;
let list: { readonly address: bigint; readonly head: BigInt64Array<ArrayBuffer> } | null = null;
let timer: number | null = null;

function releasedList(): NonNullable<typeof list> {
  if (list !== null) return list;
  const address = allocate(64);
  const pointer = Deno.UnsafePointer.create(address)!;
  const head = new BigInt64Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 64) as ArrayBuffer);
  head.fill(0n);
  return list = { address, head };
}

/**
 * A cell.
 *
 * @param byteLength Bytes that are needed
 * @param shape If a free cell was laid out for the same, it is preferred
 * @throws {DipcError} `out_of_memory`; `unsupported` in a web worker
 */
export function takeCell(byteLength: number, shape: object | null): Cell {
  refuseWorker();
  drainReleased();
  const size = 2 ** Math.ceil(Math.log2(Math.max(SMALLEST_BYTES, byteLength)));
  const cells = free.get(size);
  if (cells === undefined || cells.length === 0) return new Cell(allocate(size), size);
  retainedBytes -= size;
  if (cells[cells.length - 1].shape === shape) return cells.pop()!;
  const at = cells.findLastIndex((cell) => cell.shape === shape);
  return at < 0 ? cells.pop()! : cells.splice(at, 1)[0];
}

/**
 * Hands a cell out: from now on it is the consumer's.
 *
 * @param cell The cell
 * @param count Structures in it that are to be released
 * @param onRelease Called here after the last of them was released
 * @returns its id, as callbacks give it
 */
export function handOut(cell: Cell, count: number, onRelease: () => void): number {
  const id = nextId++;
  cell.onRelease = onRelease;
  live.set(id, cell);
  cell.words[COUNT] = BigInt(count);
  cell.words[OWNER] = BigInt.asIntN(64, releasedList().address);
  cell.put(ID, id);
  if (timer === null) {
    timer = setInterval(drainReleased, DRAIN_MS) as unknown as number;
    // An export that nobody has released yet does not keep a program running.
    Deno.unrefTimer(timer);
  }
  return id;
}

/** Gives a cell back that was not handed out, or whose structures were all released. */
export function giveBackCell(cell: Cell): void {
  cell.onRelease = null;
  if (retainedBytes + cell.byteLength > MAX_RETAINED_BYTES) {
    cell.words.buffer.transfer(0);
    libc().free(cell.address);
    return;
  }
  retainedBytes += cell.byteLength;
  let cells = free.get(cell.byteLength);
  if (cells === undefined) free.set(cell.byteLength, cells = []);
  cells.push(cell);
}

let header: ReturnType<typeof scratch> | null = null;

/** Takes back what consumers have released since. */
function drainReleased(): void {
  if (list === null || Atomics.load(list.head, 0) === 0n) return;
  header ??= scratch(8 * CELL_WORDS);
  const { words, halves, address } = header;
  for (let next = Atomics.exchange(list.head, 0, 0n); next !== 0n;) {
    libc().memcpy(address, BigInt.asUintN(64, next), 32n);
    next = BigInt.asIntN(64, words[1]);
    const id = halves[2 * ID] + halves[2 * ID + 1] * 4294967296;
    const cell = live.get(id)!;
    live.delete(id);
    cell.onRelease?.();
    giveBackCell(cell);
  }
  if (live.size > 0 || timer === null) return;
  clearInterval(timer);
  timer = null;
}

/** Exported structures, or groups of them, that consumers have not released yet. */
export function exportedCount(): number {
  drainReleased();
  return live.size;
}

/** Memory of a worker ends with it, and nobody can wait for the consumer then. @throws {DipcError} `unsupported` in one */
export function refuseWorker(): void {
  if (!("WorkerGlobalScope" in globalThis)) return;
  throw new LocalError(
    "unsupported",
    "cannot export Arrow data from a web worker: it may end before the consumer releases the data; export in the main program",
  );
}
