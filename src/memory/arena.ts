/**
 * A region of shared memory cut into blocks that are lent to clients and used again once all of them have given a block back.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { pageBytes } from "../../ffi/shared_memory.ts";
import { FreeRanges, type TakenRange } from "./free_ranges.ts";
import type { Leasable } from "./leases.ts";

/** A block of an arena, in use as long as anybody holds it. */
export class ArenaBlock implements Leasable {
  /** Offset of its first byte in the region. */
  readonly offset: number;
  /** Its size in bytes, whole pages. */
  readonly byteLength: number;
  #holders = 1;
  #arena: Arena;

  /** @ignore Use {@linkcode Arena.take}. */
  constructor(arena: Arena, { offset, byteLength }: TakenRange) {
    this.#arena = arena;
    this.offset = offset;
    this.byteLength = byteLength;
  }

  /** Adds a holder. */
  hold(): void {
    this.#holders++;
  }

  /** Takes a holder away; after the last one the block can be taken again. */
  drop(): void {
    if (--this.#holders === 0) this.#arena._give(this);
  }
}

/** What an arena is made of. */
export interface ArenaRegion {
  /** Address of its first byte in this process. */
  readonly base: bigint;
  /** Its size in bytes, which never changes. */
  readonly byteLength: number;
  /** Takes the memory back. Idempotent. */
  close(): void;
}

/** The blocks of one region. */
export class Arena<Region extends ArenaRegion = ArenaRegion> implements Disposable {
  /** The memory. */
  readonly region: Region;
  readonly #free: FreeRanges;

  /** @param region The memory, which the arena owns from now on */
  constructor(region: Region) {
    this.region = region;
    this.#free = new FreeRanges(this.region.byteLength, pageBytes());
  }

  /** Bytes of the blocks in use. */
  get usedBytes(): number {
    return this.region.byteLength - this.#free.freeBytes;
  }

  /**
   * A block of at least so many bytes with one holder, the caller; `null` if there is no room for it now.
   *
   * @param byteLength Its size in bytes
   */
  take(byteLength: number): ArenaBlock | null {
    const range = this.#free.take(byteLength);
    return range === null ? null : new ArenaBlock(this, range);
  }

  /**
   * Copies memory of this process to a new block, which has one holder, the caller; `null` if there is no room for it now.
   *
   * @param source What is copied
   */
  place({ address, byteLength }: { readonly address: bigint; readonly byteLength: number }): ArenaBlock | null {
    const block = this.take(byteLength);
    if (block === null) return null;
    if (byteLength > 0) libc().memcpy(this.region.base + BigInt(block.offset), address, BigInt(byteLength));
    return block;
  }

  /** @ignore */
  _give(block: ArenaBlock): void {
    this.#free.give(block);
  }

  /** Closes the region. Idempotent. */
  close(): void {
    this.region.close();
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
