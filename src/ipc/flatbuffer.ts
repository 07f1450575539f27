/**
 * A bounds-checked reader of flatbuffers from untrusted peers and files.
 *
 * The layout is that of the flatbuffers binary format: a table starts with a signed offset back to its vtable, a vtable
 * with its own size and its table's size (u16 each), references are unsigned 32-bit offsets forward from where they stand.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { quoted } from "./quote.ts";

/** Maximum nesting depth of fields. */
export const MAX_DEPTH = 64;

const decoder = new TextDecoder();

/** The error for malformed metadata; `what` is the fault. */
export function invalidMetadata(what: string): DipcError {
  return new DipcError("invalid_data", `cannot read Arrow metadata: ${what}; the sender or file is damaged or hostile`);
}

/**
 * Reads tables, vectors and strings of one flatbuffer. Every access is checked against the end of the bytes, and all
 * visits are charged to a budget proportional to the bytes, so that shared references cannot multiply the work.
 */
export class FlatReader {
  /** The whole flatbuffer. */
  readonly bytes: Uint8Array;
  /** The same bytes, for reading numbers. */
  readonly view: DataView;
  /** Path of the field being read, for messages; empty outside fields. */
  context = "";
  readonly #end: number;
  #budget: number;

  /** @param bytes The whole flatbuffer */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.byteLength;
    // A tree costs at most its own size; twice that leaves room for writers that share strings.
    this.#budget = 2 * bytes.byteLength;
  }

  #invalid(what: string): DipcError {
    return invalidMetadata(this.context === "" ? what : `${what}, at field ${quoted(this.context)}`);
  }

  /** Charges `bytes` visited bytes to the budget. */
  #charge(bytes: number): void {
    if ((this.#budget -= bytes) < 0) {
      throw this.#invalid(
        `visit budget exhausted, ${this.#end} bytes refer to more than ${2 * this.#end} bytes of content`,
      );
    }
  }

  /** Position of the root table. */
  root(): number {
    if (this.#end < 8) throw this.#invalid(`${this.#end} bytes are too few for a flatbuffer, expected 8 or more`);
    return this.table(this.reference(0, "root table"), "root table");
  }

  /** Follows the forward reference at `position`. */
  reference(position: number, what: string): number {
    const offset = this.view.getUint32(position, true);
    // 0 would refer to itself; the target needs at least 4 bytes.
    if (offset === 0 || position + offset > this.#end - 4) {
      throw this.#invalid(`${what} offset ${offset} at byte ${position} points outside the ${this.#end} bytes`);
    }
    return position + offset;
  }

  /** Checks the table at `position` and its vtable; returns the position. */
  table(position: number, what: string): number {
    this.#charge(4);
    const vtable = this.#vtable(position);
    if (vtable < 0 || vtable > this.#end - 4) {
      throw this.#invalid(`${what} vtable at byte ${vtable} lies outside the ${this.#end} bytes`);
    }
    const vtableSize = this.view.getUint16(vtable, true);
    if (vtableSize < 4 || vtableSize % 2 !== 0 || vtable + vtableSize > this.#end) {
      throw this.#invalid(`${what} vtable size ${vtableSize} does not fit`);
    }
    const tableSize = this.view.getUint16(vtable + 2, true);
    if (tableSize < 4 || position + tableSize > this.#end) {
      throw this.#invalid(`${what} table size ${tableSize} at byte ${position} points outside the ${this.#end} bytes`);
    }
    return position;
  }

  /** Position of the vtable of a table, unchecked. */
  #vtable(table: number): number {
    return table - this.view.getInt32(table, true);
  }

  /** Position of field `index` of a checked table, or 0 if it is absent. `size` is that of its inline value. */
  field(table: number, index: number, size: number, what: string): number {
    const vtable = this.#vtable(table);
    const slot = 4 + 2 * index;
    if (slot + 2 > this.view.getUint16(vtable, true)) return 0;
    const offset = this.view.getUint16(vtable + slot, true);
    if (offset === 0) return 0;
    if (offset < 4 || offset + size > this.view.getUint16(vtable + 2, true)) {
      throw this.#invalid(`${what} field offset ${offset} points outside its table`);
    }
    return table + offset;
  }

  /** Signed 8-bit field. */
  int8(table: number, index: number, fallback: number, what: string): number {
    const at = this.field(table, index, 1, what);
    return at === 0 ? fallback : this.view.getInt8(at);
  }

  /** Unsigned 8-bit field. */
  uint8(table: number, index: number, fallback: number, what: string): number {
    const at = this.field(table, index, 1, what);
    return at === 0 ? fallback : this.view.getUint8(at);
  }

  /** Boolean field, false if absent. */
  bool(table: number, index: number, what: string): boolean {
    return this.uint8(table, index, 0, what) !== 0;
  }

  /** Signed 16-bit field. */
  int16(table: number, index: number, fallback: number, what: string): number {
    const at = this.field(table, index, 2, what);
    return at === 0 ? fallback : this.view.getInt16(at, true);
  }

  /** Signed 32-bit field. */
  int32(table: number, index: number, fallback: number, what: string): number {
    const at = this.field(table, index, 4, what);
    return at === 0 ? fallback : this.view.getInt32(at, true);
  }

  /** Signed 64-bit field as an identifier, not a count. */
  int64(table: number, index: number, what: string): bigint {
    const at = this.field(table, index, 8, what);
    return at === 0 ? 0n : this.view.getBigInt64(at, true);
  }

  /** Signed 64-bit field that counts something: 0 … 2⁵³ − 1; 0 if absent. */
  count(table: number, index: number, what: string): number {
    const at = this.field(table, index, 8, what);
    return at === 0 ? 0 : this.countAt(at, what);
  }

  /** Signed 64-bit count at a checked position. */
  countAt(position: number, what: string): number {
    const high = this.view.getInt32(position + 4, true);
    if (high < 0 || high > 0x1fffff) {
      throw this.#invalid(
        `${what} is ${this.view.getBigInt64(position, true)}, expected a count from 0 to ${Number.MAX_SAFE_INTEGER}`,
      );
    }
    return high * 4294967296 + this.view.getUint32(position, true);
  }

  /** Table field; 0 if absent. */
  child(table: number, index: number, what: string): number {
    const at = this.field(table, index, 4, what);
    return at === 0 ? 0 : this.table(this.reference(at, what), what);
  }

  /**
   * Vector field.
   *
   * @param size Size of one element in bytes
   * @returns the position of its length word, 0 if absent; elements start 4 bytes later
   */
  vector(table: number, index: number, size: number, what: string): number {
    const at = this.field(table, index, 4, what);
    if (at === 0) return 0;
    const position = this.reference(at, what);
    const length = this.view.getUint32(position, true);
    if (length * size > this.#end - position - 4) {
      throw this.#invalid(`${what} vector of ${length} elements of ${size} bytes does not fit in ${this.#end} bytes`);
    }
    this.#charge(4 + length * size);
    return position;
  }

  /** Number of elements of a checked vector; 0 for an absent one. */
  length(vector: number): number {
    return vector === 0 ? 0 : this.view.getUint32(vector, true);
  }

  /** Element `index` of a checked vector of tables. */
  element(vector: number, index: number, what: string): number {
    return this.table(this.reference(vector + 4 + 4 * index, what), what);
  }

  /** String field, `null` if absent. Malformed UTF-8 is replaced, because names are only displayed. */
  string(table: number, index: number, what: string): string | null {
    const vector = this.vector(table, index, 1, what);
    if (vector === 0) return null;
    return decoder.decode(this.bytes.subarray(vector + 4, vector + 4 + this.length(vector)));
  }
}
