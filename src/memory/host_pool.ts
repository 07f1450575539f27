/**
 * Recycled, page-touched native memory for bodies.
 *
 * Blocks are carved out of slabs mapped from the system, one size class per slab. A body that is released gives its block
 * back at once; its ArrayBuffer is detached, so that no array ever shows another body's bytes. A body that is dropped
 * instead gives its block back when its ArrayBuffer is collected, or the body itself if its bytes were never read.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { libc } from "../../ffi/libc.ts";
import {
  MADV_HUGEPAGE,
  MADV_POPULATE_WRITE,
  MAP_FAILED,
  MAP_PRIVATE_ANONYMOUS,
  PROT_READ_WRITE,
} from "../../ffi/libc_symbols.ts";
import { MIB } from "../bytes.ts";
import type { Block, Body, Pool } from "./block.ts";
import { LARGEST_SMALL_BODY, SmallBlocks } from "./small_blocks.ts";
import { MemoryPressure } from "./pressure.ts";
import { sizeClass } from "./size_class.ts";

const HUGE_PAGE = 2 * MIB;
const LARGEST_SLAB = 64 * MIB;
/** The pages of a block over this size are provided as they are written, so that one that stays empty costs nothing, in bytes. */
export const LARGEST_POPULATED: number = LARGEST_SLAB;
const SMALLEST_SLAB = 256 << 10;
const SMALLEST_CLASS = 4096;
/** How long collected blocks may stay beyond what the pool keeps, in milliseconds. */
const TRIM_AFTER_MS = 1000;
/** Bodies of one turn of the event loop that may be unwatched; they are strongly referenced until then. */
const MAX_UNWATCHED = 64;

/** Options of a {@linkcode HostPool}. */
export interface HostPoolOptions {
  /**
   * Most bytes of free blocks that stay mapped and touched.
   *
   * @default {268435456}
   */
  maxRetainedBytes?: number;
}

/** What a {@linkcode HostPool} holds at the moment. */
export interface HostPoolStats {
  /** Blocks and bodies that were taken and not given back. */
  readonly blocksOut: number;
  /** Bytes of those blocks. */
  readonly bytesOut: number;
  /** Bytes of free blocks kept for reuse. */
  readonly retainedBytes: number;
  /** Bytes mapped from the system. */
  readonly mappedBytes: number;
}

class Slab {
  /** Blocks of this slab that are in use. */
  used = 0;
  constructor(readonly address: bigint, readonly mappedAddress: bigint, readonly mappedBytes: number) {}
}

/** A piece of a slab; lives until its slab is unmapped. */
class Cell {
  /** Counts the owners this cell has had, so that a late finalizer cannot free it under the next one. */
  generation = 0;
  /** The ArrayBuffer over the cell, while the cell is free. */
  buffer: ArrayBuffer | null = null;

  constructor(
    readonly sizeClass: SizeClass,
    readonly slab: Slab,
    readonly address: bigint,
  ) {}

  /** The ArrayBuffer over the whole cell; the caller becomes its only holder. */
  takeBuffer(): ArrayBuffer {
    const buffer = this.buffer;
    if (buffer !== null) {
      this.buffer = null;
      return buffer;
    }
    const pointer = Deno.UnsafePointer.create(this.address)!;
    return Deno.UnsafePointerView.getArrayBuffer(pointer, this.sizeClass.byteLength) as ArrayBuffer;
  }
}

class SizeClass {
  readonly free: Cell[] = [];
  mappedBytes = 0;
  constructor(readonly byteLength: number) {}
}

interface Held {
  readonly cell: Cell;
  readonly generation: number;
}

class HostBlock implements Block {
  readonly space = "host";
  readonly capacity: number;
  readonly address: bigint;
  #pool: HostPool;
  #cell: Cell | null;
  #buffer: ArrayBuffer | null = null;

  constructor(pool: HostPool, cell: Cell) {
    this.#pool = pool;
    this.#cell = cell;
    this.capacity = cell.sizeClass.byteLength;
    this.address = cell.address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#cell === null) throw new LocalError("closed", "cannot use this block: it was given away or released");
    return new Uint8Array(this.#buffer ??= this.#cell.takeBuffer());
  }

  toBody(byteLength: number): Body {
    const cell = this.#cell;
    if (cell === null) throw new LocalError("closed", "cannot use this block: it was given away or released");
    if (!(byteLength >= 0 && byteLength <= this.capacity)) {
      throw new LocalError(
        "invalid_argument",
        `cannot make a body of ${byteLength} bytes: its block has ${this.capacity} bytes`,
      );
    }
    this.#cell = null;
    return new HostBody(this.#pool, cell, this.#buffer, byteLength);
  }

  release(): void {
    const cell = this.#cell;
    if (cell === null) return;
    const buffer = this.#buffer;
    this.#cell = this.#buffer = null;
    this.#pool._takeBack(cell, buffer);
  }
}

/** What the registry watches of a body: nothing, the body itself while it has no ArrayBuffer, or its ArrayBuffer. */
const UNWATCHED = 0, WATCHED = 1, BUFFER_WATCHED = 2;

class HostBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  readonly address: bigint;
  #pool: HostPool;
  #cell: Cell | null;
  #buffer: ArrayBuffer | null;
  #watch = UNWATCHED;

  constructor(pool: HostPool, cell: Cell, buffer: ArrayBuffer | null, byteLength: number) {
    this.#pool = pool;
    this.#cell = cell;
    this.#buffer = buffer;
    this.byteLength = byteLength;
    this.address = byteLength === 0 ? 0n : cell.address;
    pool._watchLater(this);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const cell = this.#cell;
    if (cell === null) throw new LocalError("closed", "cannot read this body: it was released");
    let buffer = this.#buffer;
    if (buffer === null) {
      buffer = this.#buffer = cell.takeBuffer();
      // From now on a column may outlive the body.
      if (this.#watch === WATCHED) {
        this.#pool._unwatch(this);
        this.#watch = UNWATCHED;
        this.watch();
      }
    }
    return new Uint8Array(buffer, 0, this.byteLength);
  }

  release(): void {
    const cell = this.#cell;
    if (cell === null) return;
    const buffer = this.#buffer;
    this.#cell = this.#buffer = null;
    if (this.#watch !== UNWATCHED) this.#pool._unwatch(this.#watch === WATCHED ? this : buffer!);
    this.#pool._takeBack(cell, buffer);
  }

  get released(): boolean {
    return this.#cell === null;
  }

  /** Gives the block back once nothing refers to it. */
  watch(): void {
    const cell = this.#cell;
    if (cell === null || this.#watch !== UNWATCHED) return;
    this.#watch = this.#buffer === null ? WATCHED : BUFFER_WATCHED;
    this.#pool._watch(this.#buffer ?? this, cell);
  }
}

/** A pool of host memory. */
export class HostPool implements Pool {
  /** Always `"host"`. */
  readonly space = "host";
  readonly #classes = new Map<number, SizeClass>();
  readonly #maxRetainedBytes: number;
  readonly #registry: FinalizationRegistry<Held>;
  /** Bodies that were handed out in this turn of the event loop. */
  readonly #unwatched: HostBody[] = [];
  readonly #pressure = new MemoryPressure(() => this.#bytesOut);
  #isWatchPlanned = false;
  #isTrimPlanned = false;
  readonly #small = new SmallBlocks();
  #lastBytes = -1;
  #lastClass: SizeClass | null = null;
  #blocksOut = 0;
  #bytesOut = 0;
  #retainedBytes = 0;
  #mappedBytes = 0;

  /** Makes an empty pool. @param options Limits */
  constructor(options: HostPoolOptions = {}) {
    this.#maxRetainedBytes = options.maxRetainedBytes ?? 256 * MIB;
    this.#registry = new FinalizationRegistry((held) => {
      if (held.cell.generation === held.generation) this._giveBack(held.cell, true);
    });
  }

  /** What the pool holds at the moment. */
  get stats(): HostPoolStats {
    return {
      blocksOut: this.#blocksOut,
      bytesOut: this.#bytesOut,
      retainedBytes: this.#retainedBytes,
      mappedBytes: this.#mappedBytes,
    };
  }

  /**
   * A block of at least `byteLength` bytes.
   *
   * @throws {DipcError} `out_of_memory`, `invalid_argument`
   */
  acquire(byteLength: number): Block {
    if (byteLength <= LARGEST_SMALL_BODY && byteLength >= 0) return this.#small.acquire(byteLength);
    let sized = this.#lastClass;
    if (byteLength !== this.#lastBytes || sized === null) {
      sized = this.#classFor(byteLength);
      this.#lastBytes = byteLength;
      this.#lastClass = sized;
    }
    if (sized.free.length === 0) this.#grow(sized);
    const cell = sized.free.pop()!;
    cell.slab.used++;
    this.#blocksOut++;
    this.#bytesOut += sized.byteLength;
    if (this.#bytesOut > this.#pressure.threshold) this.#pressure.press(sized.byteLength);
    this.#retainedBytes -= sized.byteLength;
    return new HostBlock(this, cell);
  }

  /**
   * @ignore
   * Most bodies are released soon, and watching each would cost more than everything else: only those are
   * watched that still live at the end of the turn, or that many others follow.
   */
  _watchLater(body: HostBody): void {
    const unwatched = this.#unwatched;
    while (unwatched.length > 0 && unwatched[unwatched.length - 1].released) unwatched.pop();
    if (unwatched.length >= MAX_UNWATCHED) this.#watchAll();
    unwatched.push(body);
    if (this.#isWatchPlanned) return;
    this.#isWatchPlanned = true;
    setImmediate(() => {
      this.#isWatchPlanned = false;
      this.#watchAll();
    });
  }

  #watchAll(): void {
    for (const body of this.#unwatched) body.watch();
    this.#unwatched.length = 0;
  }

  /** @ignore */
  _watch(target: object, cell: Cell): void {
    this.#registry.register(target, { cell, generation: cell.generation }, target);
  }

  /** @ignore */
  _unwatch(target: object): void {
    this.#registry.unregister(target);
  }

  /**
   * @ignore
   * @param buffer The ArrayBuffer that its holder exposed, if any; detached here
   */
  _takeBack(cell: Cell, buffer: ArrayBuffer | null): void {
    if (buffer !== null && buffer.detached) {
      // Its bytes were transferred, perhaps to a worker that still uses them: the block never comes back.
      cell.generation++;
      this.#blocksOut--;
      this.#bytesOut -= cell.sizeClass.byteLength;
      return;
    }
    if (buffer !== null) cell.buffer = buffer.transfer();
    this._giveBack(cell);
  }

  /**
   * @ignore
   * @param collected Whether the garbage collector gave it back. Then many come at once, in the middle of a stream that
   * needs the next ones, and unmapping and mapping again would cost more than receiving into them: the excess stays
   * for a while.
   */
  _giveBack(cell: Cell, collected = false): void {
    const sized = cell.sizeClass;
    cell.generation++;
    cell.slab.used--;
    this.#blocksOut--;
    this.#bytesOut -= sized.byteLength;
    this.#retainedBytes += sized.byteLength;
    sized.free.push(cell);
    if (this.#retainedBytes <= this.#maxRetainedBytes) return;
    if (collected) this.#planTrim();
    else if (cell.slab.used === 0) this.#unmap(sized, cell.slab);
  }

  #planTrim(): void {
    if (this.#isTrimPlanned) return;
    this.#isTrimPlanned = true;
    const timer = setTimeout(() => {
      this.#isTrimPlanned = false;
      this.#trim();
    }, TRIM_AFTER_MS);
    Deno.unrefTimer(timer as unknown as number);
  }

  /** Unmaps free slabs until what is kept is within the bound. */
  #trim(): void {
    for (const sized of this.#classes.values()) {
      const idle = new Set<Slab>();
      for (const { slab } of sized.free) if (slab.used === 0) idle.add(slab);
      for (const slab of idle) {
        if (this.#retainedBytes <= this.#maxRetainedBytes) return;
        this.#unmap(sized, slab);
      }
    }
  }

  /** @ignore Unmaps all free slabs, before the isolate ends: native memory outlives it. */
  _unmapIdle(): void {
    for (const sized of this.#classes.values()) {
      for (const slab of new Set(sized.free.map((cell) => cell.slab))) if (slab.used === 0) this.#unmap(sized, slab);
    }
  }

  #classFor(byteLength: number): SizeClass {
    const size = sizeClass(byteLength, SMALLEST_CLASS);
    let sized = this.#classes.get(size);
    if (sized === undefined) this.#classes.set(size, sized = new SizeClass(size));
    return sized;
  }

  #grow(sized: SizeClass): void {
    this.#pressure.growing();
    const size = sized.byteLength;
    const wanted = Math.min(Math.max(sized.mappedBytes, SMALLEST_SLAB), LARGEST_SLAB);
    const count = Math.max(1, Math.floor(wanted / size));
    const bytes = Math.ceil(count * size / 4096) * 4096;
    const alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
    const mappedBytes = bytes + (alignment === HUGE_PAGE ? HUGE_PAGE : 0);
    const c = libc();
    const mapped = c.mmap(0n, BigInt(mappedBytes), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    if (mapped === MAP_FAILED) {
      throw new LocalError(
        "out_of_memory",
        `cannot allocate a block of ${size} bytes: the system refused to map ${mappedBytes} bytes`,
      );
    }
    const mask = BigInt(alignment - 1);
    const address = (mapped + mask) & ~mask;
    if (alignment === HUGE_PAGE) c.madvise(address, BigInt(bytes), MADV_HUGEPAGE);
    // Before Linux 5.14 this fails and pages are touched when first written. So are those of a very large body: a peer
    // that merely announces one must not make this process commit the memory.
    if (bytes <= LARGEST_SLAB) c.madvise(address, BigInt(bytes), MADV_POPULATE_WRITE);
    const slab = new Slab(address, mapped, mappedBytes);
    for (let i = count - 1; i >= 0; i--) {
      sized.free.push(new Cell(sized, slab, address + BigInt(i * size)));
    }
    sized.mappedBytes += mappedBytes;
    this.#mappedBytes += mappedBytes;
    this.#retainedBytes += count * size;
  }

  #unmap(sized: SizeClass, slab: Slab): void {
    let kept = 0;
    for (const cell of sized.free) {
      if (cell.slab !== slab) sized.free[kept++] = cell;
      else this.#retainedBytes -= sized.byteLength;
    }
    sized.free.length = kept;
    sized.mappedBytes -= slab.mappedBytes;
    this.#mappedBytes -= slab.mappedBytes;
    libc().munmap(slab.mappedAddress, BigInt(slab.mappedBytes));
  }
}

let shared: HostPool | null = null;

/** The pool that the isolate's streams share by default. */
export function hostPool(): HostPool {
  return shared ??= new HostPool();
}
