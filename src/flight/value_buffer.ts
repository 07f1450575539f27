/**
 * Memory for a value whose length is announced before its bytes arrive.
 *
 * @module
 */
import type { Block, Body, Pool } from "../memory/block.ts";
import { bytesOnDemand } from "../memory/on_demand.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { OwnedBody } from "../sources/owned_body.ts";

/**
 * A value up to this length gets memory of the pool, which is filled with pages at once; a longer one gets memory whose pages the
 * system provides as they are written, so that its announced length costs nothing, and no byte is moved.
 */
const MAX_EAGER_BYTES = 16 * 2 ** 20;

/** Collects a value of a known length. */
export class ValueBuffer {
  readonly #byteLength: number;
  readonly #block: Block | null;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #filled = 0;

  /**
   * @param byteLength Announced length of the value in bytes
   * @param pool Pool of the memory, unless the value is too long to trust its announced length
   * @throws {DipcError} `out_of_memory`
   */
  constructor(byteLength: number, pool?: Pool) {
    this.#byteLength = byteLength;
    this.#block = pool === undefined || byteLength === 0 || byteLength > MAX_EAGER_BYTES
      ? null
      : pool.acquire(byteLength);
    this.#bytes = this.#block === null ? bytesOnDemand(byteLength, "a message of Flight") : this.#block.bytes();
  }

  /**
   * Adds bytes.
   *
   * @param piece Bytes to copy, at most as many as are missing
   */
  put(piece: Uint8Array): void {
    this.#bytes.set(piece, this.#filled);
    this.#filled += piece.byteLength;
  }

  /** The value as a body, once it is complete; this buffer must not be used afterwards. */
  toBody(): Body {
    if (this.#byteLength === 0) return EMPTY_BODY;
    return this.#block === null ? new OwnedBody(this.#bytes) : this.#block.toBody(this.#byteLength);
  }

  /** The value as bytes, once it is complete. Only without a pool. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Releases the memory of a value that is not complete. */
  release(): void {
    if (this.#block === null) this.#bytes.buffer.transfer(0);
    else this.#block.release();
  }
}
