/**
 * Writes structs in Thrift's compact protocol, as far as Parquet's footer needs it.
 *
 * @module
 */

/** Types of the protocol. */
const STOP = 0, TRUE = 1, FALSE = 2, BYTE = 3, I32 = 5, I64 = 6, BINARY = 8, LIST = 9, STRUCT = 12;

/** Numbers below this, doubled, are those of 32 bits. */
const SMALL = 2 ** 30;

const encoder = new TextEncoder();

/** Writes the fields of one struct, in rising order of their numbers. */
export type FieldsOf = (writer: ThriftWriter) => void;

/** Writes one struct after another into a growing buffer. */
export class ThriftWriter {
  #bytes = new Uint8Array(4096);
  #length = 0;
  /** Number of the last field of the struct being written. */
  #last = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** What was written. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** Writes a struct by itself: the outermost one, or an element of a list. */
  struct(fields: FieldsOf): void {
    const outer = this.#last;
    this.#last = 0;
    fields(this);
    this.#byte(STOP);
    this.#last = outer;
  }

  /** Fields: nothing is written for a value that is undefined. */
  bool(field: number, value: boolean | undefined): void {
    if (value !== undefined) this.#head(field, value ? TRUE : FALSE);
  }

  /** A field of 8 bits. */
  byte(field: number, value: number | undefined): void {
    if (value === undefined) return;
    this.#head(field, BYTE);
    this.#byte(value);
  }

  /** A field of 32 bits. */
  i32(field: number, value: number | undefined): void {
    if (value !== undefined) this.#integer(field, I32, value);
  }

  /** A field of 64 bits. */
  i64(field: number, value: bigint | number | undefined): void {
    if (value !== undefined) this.#integer(field, I64, value);
  }

  /** A field of text. */
  text(field: number, value: string | undefined): void {
    if (value === undefined) return;
    this.#head(field, BINARY);
    this.#text(value);
  }

  /** A field that is a struct. */
  child(field: number, fields: FieldsOf | undefined): void {
    if (fields === undefined) return;
    this.#head(field, STRUCT);
    this.struct(fields);
  }

  /** A field that is a list of structs. */
  children<Item>(field: number, items: readonly Item[], fields: (writer: ThriftWriter, item: Item) => void): void {
    this.#list(field, STRUCT, items.length);
    for (const item of items) this.struct((writer) => fields(writer, item));
  }

  /** A field that is a list of texts. */
  texts(field: number, values: readonly string[]): void {
    this.#list(field, BINARY, values.length);
    for (const value of values) this.#text(value);
  }

  /** A field that is a list of numbers of 32 bits. */
  i32s(field: number, values: readonly number[]): void {
    this.#list(field, I32, values.length);
    for (const value of values) this.#zigzag(value);
  }

  #integer(field: number, type: number, value: bigint | number): void {
    this.#head(field, type);
    this.#zigzag(value);
  }

  #head(field: number, type: number): void {
    const delta = field - this.#last;
    this.#last = field;
    if (delta < 16) return this.#byte(delta << 4 | type);
    this.#byte(type);
    this.#zigzag(field);
  }

  #list(field: number, type: number, length: number): void {
    this.#head(field, LIST);
    this.#byte(Math.min(length, 15) << 4 | type);
    if (length >= 15) this.#varint(length);
  }

  #text(value: string): void {
    const bytes = encoder.encode(value);
    this.#varint(bytes.byteLength);
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  #zigzag(value: bigint | number): void {
    if (value >= 0 && value < SMALL) return this.#varint(2 * Number(value));
    const exact = BigInt(value);
    let rest = BigInt.asUintN(64, exact << 1n ^ exact >> 63n);
    for (; rest > 127n; rest >>= 7n) this.#byte(Number(rest & 127n) | 128);
    this.#byte(Number(rest));
  }

  #varint(value: number): void {
    for (; value > 127; value >>>= 7) this.#byte(value & 127 | 128);
    this.#byte(value);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.byteLength) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.byteLength, this.#length + more));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
