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

/** Which fields of a struct, and of those inside it, are left out of a copy. */
export interface FieldFilter {
  /** Numbers of the fields that are left out. */
  readonly drop: ReadonlySet<number>;
  /** Filters of the structs in other fields, or in the lists there. */
  readonly inside: ReadonlyMap<number, FieldFilter>;
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
  const walk = new Walk(bytes, maxValues, null);
  walk.struct(0, undefined);
  return walk.at;
}

/**
 * Copies one struct without some of its fields, whose values are checked and not counted.
 *
 * @param bytes The struct, and perhaps bytes after it
 * @param filter Fields that are left out
 * @param maxValues Most values of the copy
 * @throws {ThriftFault} if it is malformed, or has more values
 */
export function filterThrift(bytes: Uint8Array, filter: FieldFilter, maxValues: number): Uint8Array<ArrayBuffer> {
  // A number of a field may take more bytes if those before it are left out, but then they take none.
  const copy = new Copy(2 * bytes.byteLength);
  new Walk(bytes, maxValues, copy).struct(0, filter);
  return copy.bytes();
}

/** Receives what is kept. */
class Copy {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  add(part: Uint8Array): void {
    this.#bytes.set(part, this.#length);
    this.#length += part.byteLength;
  }

  /** The head of a field. */
  head(delta: number, field: number, type: number): void {
    if (delta > 0 && delta < 16) {
      this.#bytes[this.#length++] = delta << 4 | type;
      return;
    }
    this.#bytes[this.#length++] = type;
    let rest = field << 1 ^ field >> 31;
    for (; rest > 127; rest >>>= 7) this.#bytes[this.#length++] = rest & 127 | 128;
    this.#bytes[this.#length++] = rest;
  }

  stop(): void {
    this.#bytes[this.#length++] = STOP;
  }
}

class Walk {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #maxValues: number;
  /** Null while nothing is kept. */
  #copy: Copy | null;
  #isCounting = true;
  #values = 0;

  constructor(bytes: Uint8Array, maxValues: number, copy: Copy | null) {
    this.#bytes = bytes;
    this.#maxValues = maxValues;
    this.#copy = copy;
  }

  struct(depth: number, filter: FieldFilter | undefined): void {
    if (depth > MAX_DEPTH) throw new ThriftFault(`is nested deeper than ${MAX_DEPTH} levels`);
    let last = 0, lastKept = 0;
    for (let head; (head = this.#byte()) !== STOP;) {
      const type = head & 15;
      const field = head >> 4 === 0 ? unzigzag(this.#varint()) : last + (head >> 4);
      last = field;
      if (filter?.drop.has(field)) {
        this.#drop(type, depth);
        continue;
      }
      if (filter !== undefined) this.#copy?.head(field - lastKept, field, type);
      lastKept = field;
      this.#kept(type, depth, filter, filter?.inside.get(field));
    }
    if (filter !== undefined) this.#copy?.stop();
  }

  /** A value of a struct that is filtered is copied here, unless it is filtered itself. */
  #kept(type: number, depth: number, outer: FieldFilter | undefined, filter: FieldFilter | undefined): void {
    const start = this.at;
    // The value of a boolean field is its type.
    if (type === TRUE || type === FALSE) this.#count();
    else this.#value(type, depth, filter);
    if (outer !== undefined && filter === undefined) this.#copy?.add(this.#bytes.subarray(start, this.at));
  }

  #drop(type: number, depth: number): void {
    const copy = this.#copy, isCounting = this.#isCounting;
    this.#copy = null;
    this.#isCounting = false;
    if (type !== TRUE && type !== FALSE) this.#value(type, depth, undefined);
    this.#copy = copy;
    this.#isCounting = isCounting;
  }

  #value(type: number, depth: number, filter: FieldFilter | undefined): void {
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
        return this.#list(depth, filter);
      case STRUCT:
        return this.struct(depth + 1, filter);
      default:
        throw new ThriftFault(`has a value of type ${type} at byte ${this.at}`);
    }
  }

  #list(depth: number, filter: FieldFilter | undefined): void {
    if (depth > MAX_DEPTH) throw new ThriftFault(`is nested deeper than ${MAX_DEPTH} levels`);
    const start = this.at;
    const head = this.#byte();
    const length = head >> 4 === 15 ? this.#varint() : head >> 4;
    // Each element has at least one byte.
    if (length > this.#bytes.byteLength - this.at) {
      throw new ThriftFault(`has a list of ${length} elements at byte ${this.at}, which goes past its end`);
    }
    if (filter !== undefined && (head & 15) !== STRUCT) {
      throw new ThriftFault(`has a list of another type at byte ${start}`);
    }
    if (filter !== undefined) this.#copy?.add(this.#bytes.subarray(start, this.at));
    for (let i = 0; i < length; i++) this.#value(head & 15, depth + 1, filter);
  }

  #count(): void {
    if (this.#isCounting && ++this.#values > this.#maxValues) {
      throw new ThriftFault(`has more than ${this.#maxValues} values`, true);
    }
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

/** A signed number from how it is written. */
function unzigzag(value: number): number {
  return value >>> 1 ^ -(value & 1);
}
