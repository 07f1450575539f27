/**
 * A run of bytes that grows at its end, reused from one page to the next.
 *
 * @module
 */

/** Smallest capacity in bytes. */
const LEAST = 64;

const NOTHING = new Uint8Array(0);

/** Bytes that are appended to. */
export class ByteBuffer {
  /** The memory; what comes after {@linkcode length} is undefined. A new array after {@linkcode reserve}. */
  bytes: Uint8Array<ArrayBuffer> = NOTHING;
  /** Bytes in use. */
  length = 0;

  /** Makes room for so many bytes more. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(LEAST, needed, 2 * this.bytes.byteLength));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  /** Appends one byte. */
  push(byte: number): void {
    if (this.length === this.bytes.byteLength) this.reserve(1);
    this.bytes[this.length++] = byte;
  }

  /** Appends bytes. */
  append(bytes: Uint8Array): void {
    this.reserve(bytes.byteLength);
    this.bytes.set(bytes, this.length);
    this.length += bytes.byteLength;
  }

  /** Appends the same byte many times. */
  fill(byte: number, count: number): void {
    this.reserve(count);
    this.bytes.fill(byte, this.length, this.length + count);
    this.length += count;
  }

  /** Appends an unsigned number of 32 bits, least significant byte first. */
  uint32(value: number): void {
    this.reserve(4);
    const { bytes, length } = this;
    bytes[length] = value;
    bytes[length + 1] = value >> 8;
    bytes[length + 2] = value >> 16;
    bytes[length + 3] = value >> 24;
    this.length += 4;
  }

  /** What is in use, in place. */
  view(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }

  /** Forgets everything, and memory over a size in bytes that is seldom needed. */
  clear(most: number): void {
    this.length = 0;
    if (this.bytes.byteLength > most) this.bytes = NOTHING;
  }
}
