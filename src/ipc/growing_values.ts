/**
 * The values of a dictionary that grows by many deltas, in memory that grows with them: those after any number of deltas are the
 * first so many bytes of the same buffers, so that each delta costs what it brings and not what came before.
 *
 * @module
 */
import { NodeKind } from "./buffers.ts";

/** Values of fixed width, or bytes with offsets. */
export interface FlatValues {
  readonly rows: number;
  readonly nullCount: number;
  /** One bit per value, least significant first, 0 for nulls; may be empty if there are none. */
  readonly validity: Uint8Array;
  /** `rows + 1` offsets of bytes; otherwise empty. */
  readonly offsets: Uint8Array<ArrayBuffer>;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Most bytes that 32-bit offsets reach. */
const MOST_BYTES_32 = 2 ** 31 - 1;
/** Bytes that a buffer begins with: an address of less would not stay. */
const LEAST_BYTES = 4096;

/** A buffer to whose end bytes are added; what it has never changes, so that views of it stay as they are. */
class GrowingBuffer {
  #bytes = new Uint8Array(LEAST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds bytes, to be written by the caller. */
  extend(byteLength: number): Uint8Array<ArrayBuffer> {
    const end = this.#length + byteLength;
    if (end > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.byteLength));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    const added = this.#bytes.subarray(this.#length, end);
    this.#length = end;
    return added;
  }

  /** The first bytes. */
  view(byteLength: number): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, byteLength);
  }

  /** Sets bits of bytes that are there. */
  setBit(index: number): void {
    this.#bytes[index >> 3] |= 1 << (index & 7);
  }
}

/** Values that are appended part by part. */
export class GrowingValues {
  /** Bytes of a value of fixed width; 0 for bytes with offsets. */
  readonly #width: number;
  /** Bytes of an offset; 0 for values of fixed width. */
  readonly #offsetBytes: 0 | 4 | 8;
  readonly #validity = new GrowingBuffer();
  readonly #offsets = new GrowingBuffer();
  readonly #data = new GrowingBuffer();
  /** After each part: values, nulls and bytes of data so far. */
  readonly #ends: { readonly rows: number; readonly nullCount: number; readonly dataBytes: number }[] = [];

  private constructor(width: number, offsetBytes: 0 | 4 | 8) {
    this.#width = width;
    this.#offsetBytes = offsetBytes;
    this.#offsets.extend(offsetBytes);
  }

  /**
   * Values of a kind, none at first.
   *
   * @param kind Kind of their node
   * @param bits Width of a value in bits, of a fixed kind
   * @returns `null` for kinds whose values are not flat
   */
  static of(kind: NodeKind, bits: number): GrowingValues | null {
    if (kind === NodeKind.binary32) return new GrowingValues(0, 4);
    if (kind === NodeKind.binary64) return new GrowingValues(0, 8);
    return kind === NodeKind.fixed && bits % 8 === 0 && bits > 0 ? new GrowingValues(bits / 8, 0) : null;
  }

  /** Parts so far. */
  get parts(): number {
    return this.#ends.length;
  }

  /**
   * Appends values, which are copied.
   *
   * @returns whether there was room for them: 32-bit offsets reach 2 GiB
   */
  append({ rows, nullCount, validity, offsets, data }: FlatValues): boolean {
    const last = this.#ends.at(-1) ?? { rows: 0, nullCount: 0, dataBytes: 0 };
    if (rows > 0) {
      if (this.#offsetBytes === 0) this.#data.extend(rows * this.#width).set(data.subarray(0, rows * this.#width));
      else if (!this.#appendBytes(rows, offsets, data)) return false;
      this.#validity.extend(Math.ceil((last.rows + rows) / 8) - this.#validity.length);
      for (let i = 0; i < rows; i++) {
        if (nullCount === 0 || (validity[i >> 3] >> (i & 7) & 1) !== 0) this.#validity.setBit(last.rows + i);
      }
    }
    this.#ends.push({
      rows: last.rows + rows,
      nullCount: last.nullCount + nullCount,
      dataBytes: this.#data.length,
    });
    return true;
  }

  #appendBytes(rows: number, offsets: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>): boolean {
    const size = this.#offsetBytes;
    const view = new DataView(offsets.buffer, offsets.byteOffset, offsets.byteLength);
    const at = (i: number): number => size === 4 ? view.getInt32(4 * i, true) : Number(view.getBigInt64(8 * i, true));
    const first = at(0), end = at(rows), before = this.#data.length;
    if (size === 4 && before + end - first > MOST_BYTES_32) return false;
    this.#data.extend(end - first).set(data.subarray(first, end));
    const added = this.#offsets.extend(rows * size);
    const target = new DataView(added.buffer, added.byteOffset, added.byteLength);
    for (let i = 1; i <= rows; i++) {
      const offset = before + at(i) - first;
      if (size === 4) target.setInt32(4 * i - 4, offset, true);
      else target.setBigInt64(8 * i - 8, BigInt(offset), true);
    }
    return true;
  }

  /** The values of the first parts: views, which later parts do not change. */
  first(parts: number): FlatValues {
    const { rows, nullCount, dataBytes } = this.#ends[parts - 1];
    return {
      rows,
      nullCount,
      validity: nullCount === 0 ? new Uint8Array(0) : this.#validity.view(Math.ceil(rows / 8)),
      offsets: this.#offsets.view(this.#offsetBytes * (rows + 1)),
      data: this.#data.view(dataBytes),
    };
  }
}
