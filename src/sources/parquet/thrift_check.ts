/**
 * Checks bytes of Thrift's compact protocol before a reader that trusts them: lengths stay inside, nesting is shallow, and
 * what they would become in memory is limited.
 *
 * @module
 */
/** Types of the protocol. */
const STOP = 0, TRUE = 1, FALSE = 2, BYTE = 3, I16 = 4, I32 = 5, I64 = 6, DOUBLE = 7, BINARY = 8, LIST = 9, STRUCT = 12;
/** The deepest structure of Parquet's own has 8 levels. */
const MAX_DEPTH = 32;
/** Bytes of the longest number of 64 bits. */
const MAX_VARINT_BYTES = 10;

/** What is wrong with the bytes, as it follows "it"; the caller says whose they are. */
export class ThriftFault extends Error {
  /** Whether they are right as far as is known, and only too many. */
  readonly isLimit: boolean;

  /** @param what What is wrong */
  constructor(what: string, isLimit = false) {
    super(what);
    this.isLimit = isLimit;
  }
}

/**
 * Walks over one struct.
 *
 * @param bytes The struct, and perhaps bytes after it
 * @param maxValues Most values of all kinds together
 * @returns its length in bytes
 * @throws {ThriftFault} if it is malformed, or has more values
 */
export function checkThrift(bytes: Uint8Array, maxValues: number): number {
  const walk = new Walk(bytes, maxValues);
  walk.struct(0);
  return walk.at;
}

class Walk {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #maxValues: number;
  #values = 0;

  constructor(bytes: Uint8Array, maxValues: number) {
    this.#bytes = bytes;
    this.#maxValues = maxValues;
  }

  struct(depth: number): void {
    if (depth > MAX_DEPTH) throw new ThriftFault(`is nested deeper than ${MAX_DEPTH} levels`);
    for (let head; (head = this.#byte()) !== STOP;) {
      if (head >> 4 === 0) this.#varint();
      const type = head & 15;
      // The value of a boolean field is its type.
      if (type === TRUE || type === FALSE) this.#count();
      else this.#value(type, depth);
    }
  }

  #value(type: number, depth: number): void {
    this.#count();
    switch (type) {
      case TRUE:
      case FALSE:
      case BYTE:
        return this.#skip(1);
      case I16:
      case I32:
      case I64:
        this.#varint();
        return;
      case DOUBLE:
        return this.#skip(8);
      case BINARY:
        return this.#skip(this.#varint());
      case LIST:
        return this.#list(depth);
      case STRUCT:
        return this.struct(depth + 1);
      default:
        throw new ThriftFault(`has a value of type ${type} at byte ${this.at}`);
    }
  }

  #list(depth: number): void {
    if (depth > MAX_DEPTH) throw new ThriftFault(`is nested deeper than ${MAX_DEPTH} levels`);
    const head = this.#byte();
    const length = head >> 4 === 15 ? this.#varint() : head >> 4;
    // Each element has at least one byte.
    if (length > this.#bytes.byteLength - this.at) {
      throw new ThriftFault(`has a list of ${length} elements at byte ${this.at}, which goes past its end`);
    }
    for (let i = 0; i < length; i++) this.#value(head & 15, depth + 1);
  }

  #count(): void {
    if (++this.#values > this.#maxValues) throw new ThriftFault(`has more than ${this.#maxValues} values`, true);
  }

  #skip(length: number): void {
    this.at += length;
    if (this.at > this.#bytes.byteLength) {
      throw new ThriftFault(`has a value of ${length} bytes that goes past its end`);
    }
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new ThriftFault("ends inside a value");
    return byte;
  }

  /** An unsigned number; exact up to 2⁵³, which is enough for lengths. */
  #varint(): number {
    let value = 0;
    for (let i = 0, factor = 1; i < MAX_VARINT_BYTES; i++, factor *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new ThriftFault(`has a number at byte ${this.at} of more than ${MAX_VARINT_BYTES} bytes`);
  }
}
