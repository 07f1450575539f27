/**
 * Memory for a value whose length is announced before its bytes arrive.
 *
 * @module
 */
import type { Block, Body, Pool } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { wrapBytes } from "../memory/wrap.ts";

/** A value up to this length gets its memory at once; a longer one as its bytes arrive. */
const MOST_AT_ONCE = 16 * 2 ** 20;
/** By how much its memory grows each time: what is copied doing so is a third of the value. */
const GROWTH = 4;

/** Collects a value of a known length. */
export class ValueBuffer {
  readonly #byteLength: number;
  readonly #block: Block | null;
  #bytes: Uint8Array<ArrayBuffer>;
  #filled = 0;

  /**
   * @param byteLength Announced length
   * @param pool Where the memory comes from, unless the value is too long to believe it unseen
   */
  constructor(byteLength: number, pool?: Pool) {
    this.#byteLength = byteLength;
    this.#block = pool === undefined || byteLength === 0 || byteLength > MOST_AT_ONCE ? null : pool.acquire(byteLength);
    this.#bytes = this.#block === null ? new Uint8Array(Math.min(byteLength, MOST_AT_ONCE)) : this.#block.bytes();
  }

  /**
   * Adds bytes.
   *
   * @param piece Copied; never more than are still missing
   */
  put(piece: Uint8Array): void {
    const end = this.#filled + piece.byteLength;
    if (end > this.#bytes.byteLength) this.#grow(end);
    this.#bytes.set(piece, this.#filled);
    this.#filled = end;
  }

  /** The value as a body, once it is whole; this buffer must not be used afterwards. */
  toBody(): Body {
    if (this.#byteLength === 0) return EMPTY_BODY;
    return this.#block === null ? wrapBytes(this.#bytes) : this.#block.toBody(this.#byteLength);
  }

  /** The value as bytes, once it is whole. Only where there is no pool. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Gives the memory back. */
  release(): void {
    this.#block?.release();
  }

  #grow(atLeast: number): void {
    const capacity = Math.min(this.#byteLength, Math.max(atLeast, GROWTH * this.#bytes.byteLength));
    const grown = new Uint8Array(capacity);
    grown.set(this.#bytes.subarray(0, this.#filled));
    this.#bytes = grown;
  }
}
