/**
 * A region of shared memory cut into blocks that are lent to clients and used again once all of them have given a block back.
 *
 * @module
 */
import { pageBytes } from "../../ffi/shared_memory.ts";
import { FreeRanges, type TakenRange } from "./free_ranges.ts";
import type { Leasable } from "./leases.ts";
import { SharedRegion } from "./shared_region.ts";

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

/** The blocks of one region. */
export class Arena implements Disposable {
  /** The memory. */
  readonly region: SharedRegion;
  readonly #free: FreeRanges;

  /**
   * @param byteLength Size of the region in bytes, which never changes
   * @throws {DipcError} `out_of_memory`, `unsupported`
   */
  constructor(byteLength: number) {
    this.region = SharedRegion.create(byteLength);
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

  /** @ignore */
  _give(block: ArenaBlock): void {
    this.#free.give(block);
  }

  /** Unmaps the region here; those who have mapped it keep what is in it. Idempotent. */
  close(): void {
    this.region.close();
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
