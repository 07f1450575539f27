/**
 * The columns of a record batch as typed arrays over its body, checked: offsets, views and run ends stay within their buffers.
 * Unlike apache-arrow's, of every type that Parquet can hold.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import { NodeKind } from "../../ipc/buffers.ts";
import { checkOffsets, checkViews } from "../../ipc/column_checks.ts";
import { type Allowance, decompressBuffer } from "../../ipc/compression.ts";
import type { VerifiedHeader } from "../../ipc/header.ts";
import { type FieldLayout, storageOf } from "../../ipc/layout.ts";
import { quoted } from "../../ipc/quote.ts";

/** Values of one field, or the values of its dictionary. */
export interface ArrowColumn {
  readonly field: FieldLayout;
  readonly kind: NodeKind;
  readonly length: number;
  /** A set bit for each value that is not null; null if none is. */
  readonly validity: Uint8Array<ArrayBuffer> | null;
  /** Values of fixed width, bytes, or views; indices of a column that has a dictionary. */
  readonly values: Uint8Array<ArrayBuffer>;
  /** Start of each value, and for kinds without {@linkcode sizes} the end of the last one. */
  readonly offsets: Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer> | null;
  /** Sizes of the lists of a list view. */
  readonly sizes: Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer> | null;
  /** Long values of views. */
  readonly variadic: readonly Uint8Array<ArrayBuffer>[];
  readonly children: readonly ArrowColumn[];
  /** Id of the dictionary, if the values are indices. */
  readonly dictionaryId: bigint | null;
}

/** Why a column cannot be written. */
export function columnError(
  code: "invalid_data" | "limit_exceeded" | "unsupported",
  field: FieldLayout,
  what: string,
): DipcError {
  return new DipcError(code, `cannot write column ${quoted(field.path)} to Parquet: ${what}`);
}

/** Walks the nodes and buffers of one message. */
export class ColumnReader {
  readonly #header: VerifiedHeader;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #allowance: Allowance;
  #node = 0;
  #buffer = 0;
  #view = 0;
  #byteLength = 0;

  /**
   * @param header Header of a batch or a dictionary
   * @param body Its body, which must live as long as the columns
   * @param maxDecompressedBytes Largest total size of its decompressed buffers, in bytes
   */
  constructor(header: VerifiedHeader, body: Uint8Array<ArrayBuffer>, maxDecompressedBytes: number) {
    this.#header = header;
    this.#bytes = body.byteOffset % 8 === 0 ? body : body.slice();
    this.#allowance = { left: maxDecompressedBytes, limit: maxDecompressedBytes };
  }

  /** Size of the buffers that were read, decompressed, in bytes. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /**
   * Reads the next column with its children.
   *
   * @param field Its field
   * @param asValues Whether these are the values of the field's dictionary
   * @throws {DipcError} `invalid_data`, `limit_exceeded`
   */
  read(field: FieldLayout, asValues = false): ArrowColumn {
    const isEncoded = field.dictionary !== null && !asValues;
    const { kind, bits } = storageOf(isEncoded ? field.dictionary!.index : field.type);
    const node = this.#node++;
    const length = this.#header.nodes[2 * node];
    const nulls = this.#header.nodes[2 * node + 1];
    const dictionaryId = isEncoded ? field.dictionary!.id : null;
    const plain = { field, kind, length, values: NOTHING, offsets: null, sizes: null, variadic: [], dictionaryId };
    if (kind === NodeKind.none) return this.#withoutBuffers({ ...plain, validity: null, children: [] });
    const validity = this.#validity(field, length, nulls);
    const column = { ...plain, validity, children: [] };
    switch (kind) {
      case NodeKind.fixed:
        return { ...column, values: this.#take(field, Math.ceil(bits * length / 8), "value") };
      case NodeKind.binary32:
      case NodeKind.binary64: {
        const offsets = this.#offsets(field, length, kind === NodeKind.binary64);
        const values = this.#next();
        checkOffsets({ field }, offsets, length, values.byteLength);
        return { ...column, offsets, values };
      }
      case NodeKind.view:
        return { ...column, ...this.#views(field, length, validity) };
      case NodeKind.list32:
      case NodeKind.list64: {
        const offsets = this.#offsets(field, length, kind === NodeKind.list64);
        const child = this.read(field.children[0]);
        checkOffsets({ field }, offsets, length, child.length);
        return { ...column, offsets, children: [child] };
      }
      case NodeKind.listView32:
      case NodeKind.listView64: {
        const isWide = kind === NodeKind.listView64;
        const offsets = this.#words(field, length, isWide, "offset"),
          sizes = this.#words(field, length, isWide, "size");
        return { ...column, offsets, sizes, children: [this.read(field.children[0])] };
      }
      case NodeKind.validity:
        return { ...column, children: field.children.map((child) => this.read(child)) };
      default:
        throw new DipcError("internal", `cannot read column ${quoted(field.path)} for Parquet: it is a union`);
    }
  }

  /** Nulls, or runs. */
  #withoutBuffers(column: ArrowColumn): ArrowColumn {
    const { field, length } = column;
    if (field.type.id === "null") return column;
    const children = field.children.map((child) => this.read(child));
    checkRuns(field, children[0], children[1].length, length);
    return { ...column, children };
  }

  #next(): Uint8Array<ArrayBuffer> {
    const { buffers, compression } = this.#header;
    const index = this.#buffer++;
    const from = buffers[2 * index];
    const piece = this.#bytes.subarray(from, from + buffers[2 * index + 1]);
    const bytes = compression === "none"
      ? piece
      : decompressBuffer(compression, piece, this.#allowance) as Uint8Array<ArrayBuffer>;
    this.#byteLength += bytes.byteLength;
    return bytes;
  }

  /** The next buffer, which must have so many bytes. */
  #take(field: FieldLayout, needed: number, what: string): Uint8Array<ArrayBuffer> {
    const bytes = this.#next();
    if (bytes.byteLength >= needed) return bytes;
    const found = `its ${what} buffer has ${bytes.byteLength} bytes, expected ${needed} or more`;
    throw columnError("invalid_data", field, found);
  }

  #validity(field: FieldLayout, length: number, nulls: number): Uint8Array<ArrayBuffer> | null {
    if (nulls > 0) return this.#take(field, Math.ceil(length / 8), "validity");
    this.#buffer++;
    return null;
  }

  #offsets(
    field: FieldLayout,
    length: number,
    isWide: boolean,
  ): Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer> {
    if (length > 0) return this.#words(field, length + 1, isWide, "offset");
    // Some writers omit the single offset of an empty column.
    this.#buffer++;
    return isWide ? new BigInt64Array(1) : new Int32Array(1);
  }

  #words(
    field: FieldLayout,
    count: number,
    isWide: boolean,
    what: string,
  ): Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer> {
    const { buffer, byteOffset } = this.#take(field, (isWide ? 8 : 4) * count, what);
    return isWide ? new BigInt64Array(buffer, byteOffset, count) : new Int32Array(buffer, byteOffset, count);
  }

  #views(
    field: FieldLayout,
    length: number,
    validity: Uint8Array<ArrayBuffer> | null,
  ): Pick<ArrowColumn, "values" | "variadic"> {
    const values = this.#take(field, 16 * length, "view");
    const count = this.#header.variadicCounts[this.#view++];
    const variadic: Uint8Array<ArrayBuffer>[] = [];
    for (let i = 0; i < count; i++) variadic.push(this.#next());
    checkViews({ field }, values, length, variadic, validity ?? NOTHING);
    return { values, variadic };
  }
}

const NOTHING = new Uint8Array(0);

/** Checks that run ends rise, that the last one is at the end of the column, and that each run has a value. */
function checkRuns(field: FieldLayout, ends: ArrowColumn, values: number, length: number): void {
  if (ends.validity !== null) throw columnError("invalid_data", field, "its run ends have nulls");
  const numbers = integersOf(ends, 0, ends.length);
  let last = 0;
  for (let i = 0; i < numbers.length; i++) {
    if (!(numbers[i] > last)) {
      throw columnError("invalid_data", field, `its run end ${i} is ${numbers[i]} after ${last}`);
    }
    last = numbers[i];
  }
  if (last < length || values < numbers.length) {
    const what = `its ${numbers.length} runs of ${values} values end at row ${last}, expected ${length}`;
    throw columnError("invalid_data", field, what);
  }
}

/** Integers of a column of integers or indices, those of 64 bits as far as they are exact. */
export function integersOf(
  column: ArrowColumn,
  from: number,
  to: number,
): Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float64Array {
  const { field, values: { buffer, byteOffset: at }, dictionaryId } = column;
  const type = dictionaryId === null ? field.type : field.dictionary!.index;
  const { bitWidth, signed } = type as { bitWidth: 8 | 16 | 32 | 64; signed: boolean };
  const count = to - from;
  switch (bitWidth) {
    case 8:
      return new (signed ? Int8Array : Uint8Array)(buffer, at + from, count);
    case 16:
      return new (signed ? Int16Array : Uint16Array)(buffer, at + 2 * from, count);
    case 32:
      return new (signed ? Int32Array : Uint32Array)(buffer, at + 4 * from, count);
    case 64:
      return Float64Array.from(new (signed ? BigInt64Array : BigUint64Array)(buffer, at + 8 * from, count), Number);
  }
}

/** Whether a value is not null, by a bitmap. */
export function isSet(bitmap: Uint8Array, index: number): boolean {
  return (bitmap[index >> 3] & 1 << (index & 7)) !== 0;
}
