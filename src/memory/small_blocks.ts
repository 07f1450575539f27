/**
 * Blocks for small bodies: pieces of larger ArrayBuffers that the garbage collector owns.
 *
 * Detaching a recycled block's ArrayBuffer when its body is released costs more than everything else that is done for a
 * body of a few hundred bytes. A piece is never used twice, so nothing has to be detached: a column that outlives its
 * batch still shows its own values. A caller that keeps one body keeps up to 64 KiB.
 *
 * @module
 */
import { addressOf } from "../../ffi/libc.ts";
import { LocalError } from "../errors.ts";
import type { Block, Body } from "./block.ts";

/** Largest body in bytes for which this pays. */
export const LARGEST_SMALL_BODY = 4096;
const CHUNK_BYTES = 64 << 10;
const ALIGNMENT = 64;

class SmallBlock implements Block {
  readonly space = "host";
  readonly capacity: number;
  readonly address: bigint;
  #chunk: ArrayBuffer | null;
  #offset: number;

  constructor(chunk: ArrayBuffer, offset: number, address: bigint, capacity: number) {
    this.#chunk = chunk;
    this.#offset = offset;
    this.address = address;
    this.capacity = capacity;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#held(), this.#offset, this.capacity);
  }

  toBody(byteLength: number): Body {
    const chunk = this.#held();
    if (!(byteLength >= 0 && byteLength <= this.capacity)) {
      throw new LocalError(
        "invalid_argument",
        `cannot make a body of ${byteLength} bytes: its block has ${this.capacity} bytes`,
      );
    }
    this.#chunk = null;
    return new SmallBody(chunk, this.#offset, this.address, byteLength);
  }

  release(): void {
    this.#chunk = null;
  }

  #held(): ArrayBuffer {
    if (this.#chunk === null) throw new LocalError("closed", "cannot use this block: it was given away or released");
    return this.#chunk;
  }
}

class SmallBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  readonly address: bigint;
  #chunk: ArrayBuffer | null;
  #offset: number;

  constructor(chunk: ArrayBuffer, offset: number, address: bigint, byteLength: number) {
    this.#chunk = chunk;
    this.#offset = offset;
    this.address = byteLength === 0 ? 0n : address;
    this.byteLength = byteLength;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#chunk === null) throw new LocalError("closed", "cannot read this body: it was released");
    return new Uint8Array(this.#chunk, this.#offset, this.byteLength);
  }

  release(): void {
    this.#chunk = null;
  }
}

/** Cuts small blocks off one chunk after another. */
export class SmallBlocks {
  #chunk: ArrayBuffer | null = null;
  #offset = 0;
  #address = 0n;
  #lastSize = 0;
  #lastSizeBig = 0n;

  /**
   * A fresh block.
   *
   * @param byteLength Bytes requested, 0 to {@linkcode LARGEST_SMALL_BODY}
   */
  acquire(byteLength: number): Block {
    const size = Math.max(ALIGNMENT, (byteLength + ALIGNMENT - 1) & -ALIGNMENT);
    if (size !== this.#lastSize) {
      this.#lastSize = size;
      this.#lastSizeBig = BigInt(size);
    }
    if (this.#chunk === null || this.#offset + size > this.#chunk.byteLength) this.#newChunk();
    const block = new SmallBlock(this.#chunk!, this.#offset, this.#address, size);
    this.#offset += size;
    this.#address += this.#lastSizeBig;
    return block;
  }

  #newChunk(): void {
    const chunk = this.#chunk = new ArrayBuffer(CHUNK_BYTES + ALIGNMENT);
    const address = addressOf(new Uint8Array(chunk));
    this.#offset = -Number(BigInt.asIntN(32, address)) & (ALIGNMENT - 1);
    this.#address = address + BigInt(this.#offset);
  }
}
