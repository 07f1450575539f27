/**
 * Memory for a value whose length is announced before its bytes arrive.
 *
 * @module
 */
import type { Block, Body, Pool } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { wrapBytes } from "../memory/wrap.ts";

/** A value up to this length gets its memory immediately; a longer one as its bytes arrive. */
const MAX_EAGER_BYTES = 16 * 2 ** 20;
/** Factor by which the memory grows each time: all copies together are a third of the value. */
const GROWTH = 4;

/** Collects a value of a known length. */
export class ValueBuffer {
  readonly #byteLength: number;
  readonly #block: Block | null;
  #bytes: Uint8Array<ArrayBuffer>;
  #filled = 0;

  /**
   * @param byteLength Announced length of the value in bytes
   * @param pool Pool of the memory, unless the value is too long to trust its announced length
   */
  constructor(byteLength: number, pool?: Pool) {
    this.#byteLength = byteLength;
    this.#block = pool === undefined || byteLength === 0 || byteLength > MAX_EAGER_BYTES
      ? null
      : pool.acquire(byteLength);
    this.#bytes = this.#block === null ? new Uint8Array(Math.min(byteLength, MAX_EAGER_BYTES)) : this.#block.bytes();
  }

  /**
   * Adds bytes.
   *
   * @param piece Bytes to copy, at most as many as are missing
   */
  put(piece: Uint8Array): void {
    const end = this.#filled + piece.byteLength;
    if (end > this.#bytes.byteLength) this.#grow(end);
    this.#bytes.set(piece, this.#filled);
    this.#filled = end;
  }

  /** The value as a body, once it is complete; this buffer must not be used afterwards. */
  toBody(): Body {
    if (this.#byteLength === 0) return EMPTY_BODY;
    return this.#block === null ? wrapBytes(this.#bytes) : this.#block.toBody(this.#byteLength);
  }

  /** The value as bytes, once it is complete. Only without a pool. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Releases the memory. */
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
