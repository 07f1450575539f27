/**
 * Fills a large block from its start to its end, without an array over the whole of it: V8 counts such an array in full, even if
 * nothing was written to it yet.
 *
 * @module
 */
import type { Block } from "./block.ts";

/** Length of the part that is visible at once, in bytes. */
const WINDOW_BYTES = 16 * 2 ** 20;

/** Writes to a block of native memory, a part after the other. */
export class BlockWriter {
  readonly #block: Block;
  readonly #byteLength: number;
  #window: Uint8Array<ArrayBuffer> | null = null;
  /** Bytes of the windows before this one, and of those that were written to it. */
  #before = 0;
  #filled = 0;

  /**
   * @param block The block; it stays the caller's
   * @param byteLength Bytes that are written to it, at most its capacity
   */
  constructor(block: Block, byteLength: number) {
    this.#block = block;
    this.#byteLength = byteLength;
  }

  /** Copies bytes behind those before. @param piece At most as many as are missing */
  put(piece: Uint8Array): void {
    for (let at = 0; at < piece.byteLength;) {
      const room = this.room();
      const count = Math.min(piece.byteLength - at, room.byteLength);
      room.set(piece.subarray(at, at + count));
      this.filled(count);
      at += count;
    }
  }

  /** The memory that the next bytes belong in; valid until some were added. Only while some are missing. */
  room(): Uint8Array<ArrayBuffer> {
    return (this.#window ??= this.#next()).subarray(this.#filled);
  }

  /** Bytes were written to what {@linkcode room} has returned. */
  filled(count: number): void {
    this.#filled += count;
    if (this.#filled === this.#window!.byteLength) this.close();
  }

  /** Ends the view of the block, which may then be used otherwise. Idempotent. */
  close(): void {
    if (this.#window === null) return;
    this.#before += this.#filled;
    this.#filled = 0;
    this.#window.buffer.transfer(0);
    this.#window = null;
  }

  #next(): Uint8Array<ArrayBuffer> {
    const length = Math.min(WINDOW_BYTES, this.#byteLength - this.#before);
    const pointer = Deno.UnsafePointer.create(this.#block.address + BigInt(this.#before))!;
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length) as ArrayBuffer);
  }
}
