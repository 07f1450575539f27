/**
 * Blocks of a few size classes, carved out of few large allocations of the driver: an allocation per batch would cost
 * far more than its transfer.
 *
 * A block that a copy may still use when it is given back waits until the copy's event is finished.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { DipcError, LocalError } from "../../errors.ts";
import { sizeClass } from "../size_class.ts";
import type { DeviceEvent } from "./device_event.ts";

/** Blocks lie at multiples of this, as the driver's own allocations do. */
const ALIGNMENT = 256;
const LARGEST_SLAB = 64 * MIB;
/** Most bytes that a block may exceed the request by, so that a table of gigabytes wastes little. */
const LARGEST_STEP = 8 * MIB;
/** The driver hands out memory in pieces of this size anyway. */
const SMALLEST_SLAB = 2 * MIB;

/** A source of slabs. */
export interface RawMemory {
  /** Name of this memory in messages, such as `"device memory of cuda:0"`. */
  readonly what: string;
  /**
   * Allocates.
   *
   * @returns The address, aligned to 256 bytes
   * @throws {DipcError} `out_of_memory`, `cuda`
   */
  allocate(byteLength: number): bigint;
  /** Frees what `allocate` returned. @returns why it failed, if it did */
  free(address: bigint): DipcError | null;
}

/** Limits of a {@linkcode SlabAllocator}. */
export interface SlabLimits {
  /** Most bytes of free blocks that stay allocated. */
  readonly maxRetainedBytes: number;
  /** Most bytes allocated from the driver at once. */
  readonly maxBytes: number;
}

/** What a pool of device or pinned memory holds at the moment, and what it has done. */
export interface SlabStats {
  /** Blocks and bodies that were taken and not given back. */
  readonly blocksOut: number;
  /** Bytes of those blocks. */
  readonly bytesOut: number;
  /** Bytes of blocks given back that a copy may still use. */
  readonly pendingBytes: number;
  /** Bytes of free blocks kept for reuse. */
  readonly retainedBytes: number;
  /** Bytes allocated from the driver. */
  readonly allocatedBytes: number;
  /** Allocations made by the driver so far. */
  readonly allocations: number;
  /** Allocations given back to the driver so far. */
  readonly frees: number;
  /** Allocations that the driver refused to take back. */
  readonly failedFrees: number;
  /** Blocks that the garbage collector gave back because the caller did not release them. */
  readonly collected: number;
}

/** One allocation of the driver. */
export class Slab {
  /** Blocks of it that are out or pending. */
  used = 0;
  /**
   * @param sizeClass Size class of its blocks
   * @param address Address of the first byte
   * @param byteLength Size of the allocation in bytes
   */
  constructor(readonly sizeClass: SizeClass, readonly address: bigint, readonly byteLength: number) {}
}

/** All blocks of one size. */
class SizeClass {
  readonly free: Cell[] = [];
  allocatedBytes = 0;
  constructor(readonly byteLength: number) {}
}

/** A piece of a slab; lives until its slab is freed. */
export class Cell {
  /** Counts the owners this cell has had, so that a late finalizer cannot free it under the next one. */
  generation = 0;
  /** The ArrayBuffer over the cell while it is free; host memory only. */
  buffer: ArrayBuffer | null = null;
  /**
   * @param slab The slab that it is a piece of
   * @param address Address of the first byte
   */
  constructor(readonly slab: Slab, readonly address: bigint) {}

  /** Usable bytes. */
  get byteLength(): number {
    return this.slab.sizeClass.byteLength;
  }
}

/** A block given back that copies may still use. */
interface Pending {
  readonly cell: Cell;
  readonly events: readonly DeviceEvent[];
}

/** The allocator behind both pools. */
export class SlabAllocator {
  readonly #raw: RawMemory;
  readonly #limits: SlabLimits;
  readonly #classes = new Map<number, SizeClass>();
  #pending: Pending[] = [];
  #isClosed = false;
  #blocksOut = 0;
  #bytesOut = 0;
  #pendingBytes = 0;
  #retainedBytes = 0;
  #allocatedBytes = 0;
  #allocations = 0;
  #frees = 0;
  #failedFrees = 0;
  #collected = 0;
  /** Why the driver refused to take memory back, the first time it did. */
  firstFailure: DipcError | null = null;

  /**
   * @param raw Source of slabs
   * @param limits Most bytes to allocate and to retain
   */
  constructor(raw: RawMemory, limits: SlabLimits) {
    this.#raw = raw;
    this.#limits = limits;
  }

  /** What the allocator holds. */
  get stats(): SlabStats {
    this.reap();
    return {
      blocksOut: this.#blocksOut,
      bytesOut: this.#bytesOut,
      pendingBytes: this.#pendingBytes,
      retainedBytes: this.#retainedBytes,
      allocatedBytes: this.#allocatedBytes,
      allocations: this.#allocations,
      frees: this.#frees,
      failedFrees: this.#failedFrees,
      collected: this.#collected,
    };
  }

  /** Whether any block waits for the end of a copy. */
  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Whether everything was given back to the driver. */
  get isEmpty(): boolean {
    return this.#allocatedBytes === 0;
  }

  /**
   * A block of at least `byteLength` bytes.
   *
   * @throws {DipcError} `out_of_memory`, `invalid_argument`, `closed`, `cuda`
   */
  take(byteLength: number): Cell {
    if (this.#isClosed) throw new LocalError("closed", `cannot take ${this.#raw.what}: its device was closed`);
    const sized = this.#classFor(byteLength);
    if (sized.free.length === 0 && !this.#reapFor(sized)) this.#grow(sized);
    const cell = sized.free.pop()!;
    cell.slab.used++;
    this.#blocksOut++;
    this.#bytesOut += sized.byteLength;
    this.#retainedBytes -= sized.byteLength;
    return cell;
  }

  /**
   * Takes a block back.
   *
   * @param events Copies that may still use it
   * @param collected Whether the garbage collector gave it back
   */
  giveBack(cell: Cell, events: readonly DeviceEvent[], collected = false): void {
    cell.generation++;
    if (collected) this.#collected++;
    this.#blocksOut--;
    this.#bytesOut -= cell.byteLength;
    const open = events.filter((event) => !event.isFinished());
    if (open.length === 0) return this.#free(cell);
    this.#pendingBytes += cell.byteLength;
    this.#pending.push({ cell, events: open });
  }

  /** Counts a block as lost: its memory was transferred to another holder. */
  forget(cell: Cell): void {
    cell.generation++;
    this.#blocksOut--;
    this.#bytesOut -= cell.byteLength;
  }

  /** Frees the blocks that copies are done with. */
  reap(): void {
    if (this.#pending.length === 0) return;
    const still: Pending[] = [];
    for (const entry of this.#pending) {
      if (!entry.events.every((event) => event.isFinished())) {
        still.push(entry);
        continue;
      }
      this.#pendingBytes -= entry.cell.byteLength;
      this.#free(entry.cell);
    }
    this.#pending = still;
  }

  /**
   * Hands out no more blocks; gives the driver back what is free, and the rest as soon as it comes back. Idempotent. Copies
   * must be done.
   */
  close(): void {
    this.#isClosed = true;
    this.reap();
    for (const sized of this.#classes.values()) this.#trim(sized);
  }

  #free(cell: Cell): void {
    const { slab } = cell;
    slab.used--;
    this.#retainedBytes += cell.byteLength;
    slab.sizeClass.free.push(cell);
    if (slab.used > 0) return;
    if (this.#isClosed || this.#retainedBytes > this.#limits.maxRetainedBytes) this.#release(slab);
  }

  /** Reaps. @returns whether this class has a free block now */
  #reapFor(sized: SizeClass): boolean {
    this.reap();
    return sized.free.length > 0;
  }

  #classFor(byteLength: number): SizeClass {
    const size = sizeClass(byteLength, ALIGNMENT, LARGEST_STEP);
    let sized = this.#classes.get(size);
    if (sized === undefined) this.#classes.set(size, sized = new SizeClass(size));
    return sized;
  }

  #grow(sized: SizeClass): void {
    const size = sized.byteLength;
    const { maxBytes, maxRetainedBytes } = this.#limits;
    // Slabs are given back as a whole: large ones would leave little of what may be kept.
    const largest = Math.min(LARGEST_SLAB, maxRetainedBytes / 4);
    const wanted = Math.min(Math.max(sized.allocatedBytes, SMALLEST_SLAB), largest);
    let count = Math.max(1, Math.floor(wanted / size));
    for (;;) {
      const spare = maxBytes - this.#allocatedBytes;
      if (size > spare && this.#trimOthers(sized)) continue;
      if (size > spare) {
        throw new LocalError(
          "out_of_memory",
          `cannot allocate a block of ${size} bytes: ${this.#allocatedBytes} of at most ${maxBytes} bytes of ` +
            `${this.#raw.what} are taken; release batches sooner, or raise the limit`,
        );
      }
      count = Math.min(count, Math.floor(spare / size));
      try {
        const address = this.#raw.allocate(count * size);
        return this.#carve(new Slab(sized, address, count * size), count);
      } catch (error) {
        if (!(error instanceof DipcError) || error.code !== "out_of_memory") throw error;
        // First free what other classes retain, then try one block instead of many.
        if (this.#trimOthers(sized)) continue;
        if (count === 1) throw error;
        count = 1;
      }
    }
  }

  #carve(slab: Slab, count: number): void {
    const sized = slab.sizeClass;
    this.#allocations++;
    this.#allocatedBytes += slab.byteLength;
    sized.allocatedBytes += slab.byteLength;
    this.#retainedBytes += count * sized.byteLength;
    const step = BigInt(sized.byteLength);
    for (let i = count - 1; i >= 0; i--) sized.free.push(new Cell(slab, slab.address + BigInt(i) * step));
  }

  /** Releases idle slabs of the other classes. @returns whether there were any */
  #trimOthers(sized: SizeClass): boolean {
    const before = this.#frees + this.#failedFrees;
    for (const other of this.#classes.values()) if (other !== sized) this.#trim(other);
    return this.#frees + this.#failedFrees > before;
  }

  #trim(sized: SizeClass): void {
    const idle = new Set<Slab>();
    for (const { slab } of sized.free) if (slab.used === 0) idle.add(slab);
    for (const slab of idle) this.#release(slab);
  }

  #release(slab: Slab): void {
    const sized = slab.sizeClass;
    const kept = sized.free.filter((cell) => cell.slab !== slab);
    this.#retainedBytes -= (sized.free.length - kept.length) * sized.byteLength;
    sized.free.splice(0, sized.free.length, ...kept);
    sized.allocatedBytes -= slab.byteLength;
    this.#allocatedBytes -= slab.byteLength;
    const failure = this.#raw.free(slab.address);
    if (failure === null) {
      this.#frees++;
    } else {
      this.#failedFrees++;
      this.firstFailure ??= failure;
    }
  }
}
