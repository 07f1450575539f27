/**
 * Takes the bytes of an answer as they are, for a gateway that passes them on.
 *
 * @module
 */
import type { StreamDecoder } from "../grpc/stream_input.ts";

/** Size of the first buffer, in bytes; most answers are short. */
const FIRST_BYTES = 16 * 2 ** 10;

/**
 * Collects bytes in one buffer while the other one is passed on: a piece is valid until the next one is taken. Whether a message is
 * complete is for the client to find.
 */
export class ChunkDecoder implements StreamDecoder<Uint8Array> {
  readonly readAheadBytes: number = 512 * 2 ** 10;
  readonly isWhole = true;
  #filling = new Uint8Array(FIRST_BYTES);
  #filled = 0;
  #spare: Uint8Array<ArrayBuffer> | null = null;

  /** Bytes that were not taken. */
  get queuedBytes(): number {
    return this.#filled;
  }

  /** Everything so far, or `null` if there is nothing. */
  take(): Uint8Array | null {
    if (this.#filled === 0) return null;
    const full = this.#filling;
    const spare = this.#spare;
    this.#filling = spare !== null && spare.byteLength >= full.byteLength ? spare : new Uint8Array(full.byteLength);
    this.#spare = full;
    const piece = full.subarray(0, this.#filled);
    this.#filled = 0;
    return piece;
  }

  /** Adds received bytes; they are copied. */
  push(chunk: Uint8Array): void {
    const needed = this.#filled + chunk.byteLength;
    if (needed > this.#filling.byteLength) {
      const longer = new Uint8Array(Math.max(2 * this.#filling.byteLength, needed));
      longer.set(this.#filling.subarray(0, this.#filled));
      this.#filling = longer;
    }
    this.#filling.set(chunk, this.#filled);
    this.#filled = needed;
  }

  /** Drops everything that was not taken. */
  close(): void {
    this.#filled = 0;
  }
}
