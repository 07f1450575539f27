/**
 * The bytes of a text that is being written: a buffer that grows, and what is put at its end.
 *
 * @module
 */

/** Free bytes beyond what a caller of {@linkcode TextOutput.reserve} requests: whole words are written, also of shorter texts. */
const MARGIN = 64;
/** Longest line in bytes: 511 MiB. */
export const MAX_LINE_BYTES = 511 * 1024 * 1024;
/** Size of the buffer for lines of the usual length, in bytes. */
const USUAL_BYTES = 512 * 1024;

/** Thrown if a line would be longer than {@linkcode MAX_LINE_BYTES}, or than is enough. */
export class LineTooLong extends Error {
  /** Always `"LineTooLong"`. */
  override readonly name = "LineTooLong";
}

/** ASCII digits of 0 to 999, the first one in the lowest byte and their number in the highest. */
const SHORT = new Uint32Array(1000);
/** The same with leading zeros: always three digits. */
const PADDED = new Uint32Array(1000);
for (let i = 0; i < 1000; i++) {
  const digits = [Math.floor(i / 100), Math.floor(i / 10) % 10, i % 10].map((digit) => digit + 0x30);
  PADDED[i] = digits[0] | digits[1] << 8 | digits[2] << 16;
  const length = i < 10 ? 1 : i < 100 ? 2 : 3;
  SHORT[i] = (PADDED[i] >> 8 * (3 - length)) | length << 24;
}

const encoder = new TextEncoder();

/** A constant text, prepared for {@linkcode TextOutput.token}. */
export class Token {
  /** Length in bytes. */
  readonly byteLength: number;
  /** The bytes, and zeros up to a whole word. */
  readonly words: Uint32Array;

  /** @param text The text, or its bytes in UTF-8, which are copied */
  constructor(text: string | Uint8Array) {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    this.byteLength = bytes.byteLength;
    this.words = new Uint32Array(Math.ceil(bytes.byteLength / 4));
    new Uint8Array(this.words.buffer).set(bytes);
  }
}

/** Collects text as UTF-8. Methods whose name begins with `put` need room that was reserved before. */
export class TextOutput {
  /** The buffer. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(USUAL_BYTES + MARGIN);
  /** A view of the buffer. */
  view: DataView<ArrayBuffer> = new DataView(this.bytes.buffer);
  /** Number of bytes so far: the place of the next one. */
  at = 0;
  /** Place of the first byte of the current line. */
  lineStart = 0;
  #room = USUAL_BYTES;
  readonly #enough: number;

  /** @param enough Length of a line in bytes that is enough: the buffer does not grow for what comes after a longer one */
  constructor(enough = MAX_LINE_BYTES) {
    this.#enough = enough;
  }

  /** What was written so far, in place. */
  written(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.at);
  }

  /** Forgets everything; a buffer that was enlarged for a long line is dropped. */
  clear(): void {
    this.at = this.lineStart = 0;
    if (this.#room > USUAL_BYTES) this.#resize(USUAL_BYTES, 0);
  }

  /** Makes room for `count` bytes. @throws {LineTooLong} */
  reserve(count: number): void {
    if (this.at + count > this.#room) this.#grow(count);
  }

  #grow(count: number): void {
    const needed = this.at + count;
    const most = this.lineStart + MAX_LINE_BYTES;
    if (needed > most || this.at - this.lineStart >= this.#enough) throw new LineTooLong();
    this.#resize(Math.min(most, Math.max(needed, 2 * this.#room)), this.at);
  }

  #resize(room: number, kept: number): void {
    const bytes = new Uint8Array(room + MARGIN);
    bytes.set(this.bytes.subarray(0, kept));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.#room = room;
  }

  /** Adds a constant text, making room for it. @throws {LineTooLong} */
  token({ words, byteLength }: Token): void {
    this.reserve(byteLength);
    const { view, at } = this;
    for (let i = 0; i < words.length; i++) view.setUint32(at + 4 * i, words[i], true);
    this.at = at + byteLength;
  }

  /** Adds a text of ASCII characters, making room for it. @throws {LineTooLong} */
  ascii(text: string): void {
    this.reserve(text.length);
    const { bytes, at } = this;
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
    this.at = at + text.length;
  }

  /** Adds bytes, making room for them. @throws {LineTooLong} */
  copy(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.reserve(length);
    const { bytes, at } = this;
    if (length > 64) bytes.set(source.subarray(start, end), at);
    else for (let i = 0; i < length; i++) bytes[at + i] = source[start + i];
    this.at = at + length;
  }

  /** Adds one byte. */
  putByte(byte: number): void {
    this.bytes[this.at++] = byte;
  }

  /** Adds an integer of 0 to 2⁵³ in as few digits as it has; 16 bytes of room. */
  putUnsigned(value: number): void {
    if (value >= 1e9) {
      const high = Math.floor(value / 1e9);
      this.putUnsigned(high);
      this.putPadded(value - high * 1e9, 9);
      return;
    }
    let rest = value;
    if (value >= 1e6) {
      const high = (value / 1e6) | 0;
      rest -= high * 1e6;
      this.#putShort(high);
      const middle = (rest / 1000) | 0;
      rest -= middle * 1000;
      this.#putThree(middle);
      this.#putThree(rest);
    } else if (value >= 1000) {
      const high = (value / 1000) | 0;
      this.#putShort(high);
      this.#putThree(rest - high * 1000);
    } else this.#putShort(value);
  }

  /** Adds an integer of −2⁵³ to 2⁵³; 17 bytes of room. */
  putInteger(value: number): void {
    if (value < 0) {
      this.bytes[this.at++] = 0x2d;
      this.putUnsigned(-value);
    } else this.putUnsigned(value);
  }

  /** Adds an integer of 0 to 2⁵³ with leading zeros; `digits` bytes of room. @param digits Up to 15, enough for the value */
  putPadded(value: number, digits: number): void {
    let rest = value;
    let left = digits;
    if (left > 9) {
      const high = Math.floor(rest / 1e9);
      this.putPadded(high, left - 9);
      rest -= high * 1e9;
      left = 9;
    }
    if (left > 6) {
      const high = (rest / 1e6) | 0;
      this.#putLast(high, left - 6);
      rest -= high * 1e6;
      left = 6;
    }
    if (left > 3) {
      const high = (rest / 1000) | 0;
      this.#putLast(high, left - 3);
      rest -= high * 1000;
      left = 3;
    }
    this.#putLast(rest, left);
  }

  /** Adds an integer of 0 to 99 as two digits; two bytes of room. */
  putPair(value: number): void {
    this.view.setUint16(this.at, PADDED[value] >> 8, true);
    this.at += 2;
  }

  #putShort(value: number): void {
    const word = SHORT[value];
    this.view.setUint32(this.at, word, true);
    this.at += word >>> 24;
  }

  #putThree(value: number): void {
    this.view.setUint32(this.at, PADDED[value], true);
    this.at += 3;
  }

  /** The last one to three digits of a number of three. */
  #putLast(value: number, digits: number): void {
    this.view.setUint32(this.at, PADDED[value] >> 8 * (3 - digits), true);
    this.at += digits;
  }
}
