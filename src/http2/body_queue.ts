/**
 * Unread bytes of a body, held without keeping much more memory than there are bytes.
 *
 * @module
 */

/** Pieces shorter than this are merged: each on its own would be an object that takes more memory than it has bytes. */
const SMALL_BYTES = 1024;
const TAIL_BYTES = 16 * 1024;

/** A queue of pieces. */
export class BodyQueue {
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** The last piece while it can still grow, and how much of it is filled. */
  #tail: Uint8Array | null = null;
  #tailBytes = 0;

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a copy of a piece. */
  push(piece: Uint8Array): void {
    this.#bytes += piece.byteLength;
    if (piece.byteLength >= SMALL_BYTES) {
      this.#closeTail();
      this.#pieces.push(piece.slice());
      return;
    }
    if (this.#tail !== null && this.#tailBytes + piece.byteLength > this.#tail.byteLength) this.#closeTail();
    // The first small piece gets little room: most requests are one.
    this.#tail ??= new Uint8Array(this.#pieces.length === 0 ? SMALL_BYTES : TAIL_BYTES);
    this.#tail.set(piece, this.#tailBytes);
    this.#tailBytes += piece.byteLength;
  }

  /** The next piece, or `null` while there is none. */
  shift(): Uint8Array | null {
    if (this.#pieces.length === 0) this.#closeTail();
    const piece = this.#pieces.shift();
    if (piece === undefined) return null;
    this.#bytes -= piece.byteLength;
    return piece;
  }

  /** Drops everything. */
  clear(): void {
    this.#pieces = [];
    this.#tail = null;
    this.#tailBytes = 0;
    this.#bytes = 0;
  }

  #closeTail(): void {
    if (this.#tail !== null) {
      const isFull = 2 * this.#tailBytes > this.#tail.byteLength;
      this.#pieces.push(isFull ? this.#tail.subarray(0, this.#tailBytes) : this.#tail.slice(0, this.#tailBytes));
    }
    this.#tail = null;
    this.#tailBytes = 0;
  }
}
