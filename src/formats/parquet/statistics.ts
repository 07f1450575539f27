/**
 * The least and the greatest value of a column chunk, in the order that Parquet gives to its type.
 *
 * @module
 */
import type { Statistics } from "./format.ts";

/** The order of a type's values: as numbers, as bytes, or as numbers whose most significant byte comes first. */
export type Order =
  | ("int32" | "uint32" | "int64" | "uint64" | "float" | "double" | "half" | "bool" | "bytes" | "big_endian")
  /** They have none. */
  | "none";

/** Longest values that are kept, in bytes. */
const LONGEST = 4096;

/** Collects the statistics of a chunk. */
export class ChunkStatistics {
  readonly #order: Order;
  #hasValues = false;
  #min = 0;
  #max = 0;
  /** The upper words of numbers of 64 bits. */
  #minHigh = 0;
  #maxHigh = 0;
  #minBytes: Uint8Array = NOTHING;
  #maxBytes: Uint8Array = NOTHING;
  #isTooLong = false;

  /** @param order Order of the values */
  constructor(order: Order) {
    this.#order = order;
  }

  /** Whether bytes are taken into account at all. */
  get needsBytes(): boolean {
    return this.#order !== "none" && !this.#isTooLong;
  }

  /** Takes numbers into account, as words of 32 bits. */
  addWords(values: Int32Array): void {
    if (values.length === 0) return;
    switch (this.#order) {
      case "int32":
        return this.#addNumbers(values);
      case "uint32":
        return this.#addNumbers(new Uint32Array(values.buffer, values.byteOffset, values.length));
      case "float":
        return this.#addNumbers(new Float32Array(values.buffer, values.byteOffset, values.length));
      case "double":
        return this.#addNumbers(doublesOf(values));
      case "int64":
        return this.#addWide(values, 0);
      case "uint64":
        return this.#addWide(values, -0x80000000);
    }
  }

  /** Takes truth values into account. */
  addBooleans(values: Uint8Array): void {
    if (values.length > 0) this.#addNumbers(values);
  }

  /** Takes one value into account. */
  addBytes(bytes: Uint8Array, from: number, to: number): void {
    if (this.#order === "half") return this.#addNumbers(Float64Array.of(halfOf(bytes[from] | bytes[from + 1] << 8)));
    if (!this.needsBytes) return;
    const isFirst = !this.#hasValues;
    const flip = this.#order === "big_endian" ? 0x80 : 0;
    const isLeast = isFirst || compare(bytes, from, to, this.#minBytes, flip) < 0;
    const isGreatest = isFirst || compare(bytes, from, to, this.#maxBytes, flip) > 0;
    if (!isLeast && !isGreatest) return;
    this.#hasValues = true;
    if (to - from > LONGEST) {
      this.#isTooLong = true;
      return;
    }
    const kept = bytes.slice(from, to);
    if (isLeast) this.#minBytes = kept;
    if (isGreatest) this.#maxBytes = kept;
  }

  /** What was found. */
  finish(nulls: number): Statistics {
    const [min, max] = this.#hasValues && !this.#isTooLong && this.#order !== "none" ? this.#encoded() : [null, null];
    return { nulls, min, max };
  }

  #addNumbers(values: ArrayLike<number>): void {
    let min = this.#hasValues ? this.#min : Infinity, max = this.#hasValues ? this.#max : -Infinity;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      // Not a number is neither.
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (min > max) return;
    this.#hasValues = true;
    this.#min = min;
    this.#max = max;
  }

  /** Pairs of words, the lower one first; `bias` maps the order of unsigned upper words to that of signed ones. */
  #addWide(words: Int32Array, bias: number): void {
    let at = 0;
    if (!this.#hasValues) {
      this.#hasValues = true;
      this.#min = this.#max = words[0] >>> 0;
      this.#minHigh = this.#maxHigh = words[1] ^ bias;
      at = 2;
    }
    let minLow = this.#min, maxLow = this.#max, minHigh = this.#minHigh, maxHigh = this.#maxHigh;
    for (; at < words.length; at += 2) {
      const low = words[at] >>> 0, high = words[at + 1] ^ bias;
      if (high < minHigh || (high === minHigh && low < minLow)) {
        minHigh = high;
        minLow = low;
      }
      if (high > maxHigh || (high === maxHigh && low > maxLow)) {
        maxHigh = high;
        maxLow = low;
      }
    }
    this.#min = minLow;
    this.#max = maxLow;
    this.#minHigh = minHigh;
    this.#maxHigh = maxHigh;
  }

  #encoded(): [min: Uint8Array, max: Uint8Array] {
    const order = this.#order;
    if (order === "bytes" || order === "big_endian") return [this.#minBytes, this.#maxBytes];
    const bias = order === "uint64" ? -0x80000000 : 0;
    // A zero may be either one, and readers compare their signs.
    const min = this.#min === 0 && FLOATING.has(order) ? -0 : this.#min;
    const max = this.#max === 0 && FLOATING.has(order) ? 0 : this.#max;
    return [encode(order, min, this.#minHigh ^ bias), encode(order, max, this.#maxHigh ^ bias)];
  }
}

const NOTHING = new Uint8Array(0);
const FLOATING: ReadonlySet<Order> = new Set(["float", "double", "half"]);

function encode(order: Order, value: number, high: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  const bytes = (length: number): Uint8Array => new Uint8Array(view.buffer, 0, length);
  switch (order) {
    case "bool":
      return Uint8Array.of(value);
    case "float":
      view.setFloat32(0, value, true);
      return bytes(4);
    case "double":
      view.setFloat64(0, value, true);
      return bytes(8);
    case "half":
      view.setUint16(0, halfBits(value), true);
      return bytes(2);
    case "int64":
    case "uint64":
      view.setUint32(0, value, true);
      view.setInt32(4, high, true);
      return bytes(8);
    default:
      view.setUint32(0, value, true);
      return bytes(4);
  }
}

/** Words as floating-point numbers; a copy if they are not 8-aligned. */
function doublesOf(words: Int32Array): Float64Array {
  const aligned = words.byteOffset % 8 === 0 ? words : words.slice();
  return new Float64Array(aligned.buffer, aligned.byteOffset, aligned.length / 2);
}

/** The number that 16 bits are. */
function halfOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The 16 bits of a number that {@linkcode halfOf} returned. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0, size = Math.abs(value);
  if (size === Infinity) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | size * 2 ** 24;
  const exponent = Math.floor(Math.log2(size));
  return sign | (exponent + 15) << 10 | size / 2 ** (exponent - 10) - 1024;
}

/** Compares a value with another one, bytes as unsigned numbers; `flip` inverts the sign of the first one. */
function compare(bytes: Uint8Array, from: number, to: number, other: Uint8Array, flip: number): number {
  const length = Math.min(to - from, other.byteLength);
  if (length > 0 && bytes[from] !== other[0]) return (bytes[from] ^ flip) - (other[0] ^ flip);
  for (let i = 1; i < length; i++) if (bytes[from + i] !== other[i]) return bytes[from + i] - other[i];
  return to - from - other.byteLength;
}
