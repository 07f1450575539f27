/**
 * Writes structs in Thrift's compact protocol, the encoding of Parquet's metadata.
 *
 * @module
 */
import { ByteBuffer } from "./byte_buffer.ts";

/** Types of fields and of elements of lists. */
export const ThriftType = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  binary: 8,
  list: 9,
  struct: 12,
} as const;

const encoder = new TextEncoder();

/** Writes one struct, whose fields come in the order of their numbers, from 1 on. */
export class ThriftWriter {
  readonly #out = new ByteBuffer();
  /** Number of the last field of each open struct. */
  readonly #last: number[] = [0];

  /** A field of 8 bits. */
  byte(id: number, value: number): void {
    this.#field(id, ThriftType.byte);
    this.#out.push(value);
  }

  /** A field of a truth value. */
  bool(id: number, value: boolean): void {
    this.#field(id, value ? ThriftType.true : ThriftType.false);
  }

  /** A field of 16 bits. */
  i16(id: number, value: number): void {
    this.#field(id, ThriftType.i16);
    this.#zigzag(value);
  }

  /** A field of 32 bits. */
  i32(id: number, value: number): void {
    this.#field(id, ThriftType.i32);
    this.#zigzag(value);
  }

  /** A field of 64 bits: a safe integer, which is not negative. */
  i64(id: number, value: number): void {
    this.#field(id, ThriftType.i64);
    this.#zigzag(value);
  }

  /** A field of bytes or text. */
  binary(id: number, value: Uint8Array | string): void {
    this.#field(id, ThriftType.binary);
    this.binaryElement(value);
  }

  /** A field that is a struct. */
  struct(id: number, write: () => void): void {
    this.#field(id, ThriftType.struct);
    this.structElement(write);
  }

  /** A field that is a list; its elements follow by the methods `…Element`. */
  list(id: number, type: number, length: number): void {
    this.#field(id, ThriftType.list);
    if (length < 15) {
      this.#out.push(length << 4 | type);
    } else {
      this.#out.push(0xf0 | type);
      this.#varint(length);
    }
  }

  /** An element of a list. */
  i32Element(value: number): void {
    this.#zigzag(value);
  }

  /** An element of a list. */
  binaryElement(value: Uint8Array | string): void {
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    this.#varint(bytes.byteLength);
    this.#out.append(bytes);
  }

  /** An element of a list. */
  structElement(write: () => void): void {
    this.#last.push(0);
    write();
    this.#last.pop();
    this.#out.push(0);
  }

  /** Ends the struct. @returns its bytes, which the writer does not use any more */
  finish(): Uint8Array<ArrayBuffer> {
    this.#out.push(0);
    return this.#out.view();
  }

  #field(id: number, type: number): void {
    const last = this.#last.length - 1;
    const delta = id - this.#last[last];
    if (delta > 0 && delta < 16) {
      this.#out.push(delta << 4 | type);
    } else {
      this.#out.push(type);
      this.#zigzag(id);
    }
    this.#last[last] = id;
  }

  #zigzag(value: number): void {
    this.#varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  #varint(value: number): void {
    for (; value >= 0x80; value = Math.floor(value / 128)) this.#out.push(value % 128 | 0x80);
    this.#out.push(value);
  }
}
