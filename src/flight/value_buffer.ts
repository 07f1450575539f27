/**
 * Memory for a value whose length is announced before its bytes arrive.
 *
 * @module
 */
import type { Body, Pool } from "../memory/block.ts";
import { BlockWriter } from "../memory/block_writer.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { HostPool, LARGEST_POPULATED } from "../memory/host_pool.ts";
import { bytesOnDemand } from "../memory/on_demand.ts";
import { OwnedBody } from "../sources/owned_body.ts";

/**
 * A value up to this length gets memory of the pool, which may have all its pages at once. A longer one gets memory whose pages the
 * system provides as they are written, so that its announced length costs nothing, and no byte is moved.
 */
const MAX_EAGER_BYTES = 16 * 2 ** 20;

/** The memory of a value. */
interface Target {
  put(piece: Uint8Array): void;
  /** The memory that the next bytes belong in. */
  room(): Uint8Array<ArrayBuffer>;
  /** Bytes were written to it. */
  filled(count: number): void;
  toBody(): Body;
  release(): void;
}

/** Collects a value of a known length. */
export class ValueBuffer {
  readonly #byteLength: number;
  readonly #target: Target;

  /**
   * @param byteLength Announced length of the value in bytes
   * @param pool Pool of the memory, unless it could cost more than what is written to it
   * @throws {DipcError} `out_of_memory`
   */
  constructor(byteLength: number, pool?: Pool) {
    this.#byteLength = byteLength;
    if (pool === undefined || byteLength === 0) this.#target = new ArrayTarget(byteLength);
    else if (byteLength <= MAX_EAGER_BYTES) this.#target = blockTarget(pool, byteLength);
    else if (pool instanceof HostPool && byteLength > LARGEST_POPULATED) this.#target = largeTarget(pool, byteLength);
    else this.#target = new ArrayTarget(byteLength);
  }

  /**
   * Adds bytes.
   *
   * @param piece Bytes to copy, at most as many as are missing
   */
  put(piece: Uint8Array): void {
    this.#target.put(piece);
  }

  /** The memory that the next bytes belong in, valid until some were added; not all of it if much is missing. */
  room(): Uint8Array<ArrayBuffer> {
    return this.#target.room();
  }

  /** Bytes were written to the memory that {@linkcode room} has returned. */
  filled(count: number): void {
    this.#target.filled(count);
  }

  /** The value as a body, once it is complete; this buffer must not be used afterwards. */
  toBody(): Body {
    return this.#byteLength === 0 ? EMPTY_BODY : this.#target.toBody();
  }

  /** The value as bytes, once it is complete. Only without a pool. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return (this.#target as ArrayTarget).bytes;
  }

  /** Releases the memory of a value that is not complete. */
  release(): void {
    this.#target.release();
  }
}

/** Memory of the garbage collector, freed at once when it is released. */
class ArrayTarget implements Target {
  readonly bytes: Uint8Array<ArrayBuffer>;
  #filled = 0;

  constructor(byteLength: number) {
    this.bytes = bytesOnDemand(byteLength, "a message of Flight");
  }

  put(piece: Uint8Array): void {
    this.bytes.set(piece, this.#filled);
    this.#filled += piece.byteLength;
  }

  room(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(this.#filled);
  }

  filled(count: number): void {
    this.#filled += count;
  }

  toBody(): Body {
    return new OwnedBody(this.bytes);
  }

  release(): void {
    this.bytes.buffer.transfer(0);
  }
}

function blockTarget(pool: Pool, byteLength: number): Target {
  const block = pool.acquire(byteLength);
  const bytes = block.bytes();
  let filled = 0;
  return {
    put(piece) {
      bytes.set(piece, filled);
      filled += piece.byteLength;
    },
    room: () => bytes.subarray(filled, byteLength),
    filled: (count) => void (filled += count),
    toBody: () => block.toBody(byteLength),
    release: () => block.release(),
  };
}

/** A block whose pages are provided as they are written, and counted as they are, too. */
function largeTarget(pool: HostPool, byteLength: number): Target {
  const block = pool.acquire(byteLength);
  const writer = new BlockWriter(block, byteLength);
  return {
    put: (piece) => writer.put(piece),
    room: () => writer.room(),
    filled: (count) => writer.filled(count),
    toBody() {
      writer.close();
      return block.toBody(byteLength);
    },
    release() {
      writer.close();
      block.release();
    },
  };
}
