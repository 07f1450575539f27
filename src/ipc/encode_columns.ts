/**
 * Lays out the columns of an apache-arrow batch as the nodes and buffers of a message, trimmed to the rows in use.
 *
 * @module
 */
import {
  type Data,
  type DataType,
  type Decimal,
  type Dictionary,
  type FixedSizeList,
  makeData,
  Type,
  type Union,
  UnionMode,
} from "apache-arrow";
import { DipcError, unexpected } from "../errors.ts";
import { arrowTypeId } from "./arrow_schema.ts";
import { copyBits } from "./bitmap.ts";
import { quoted } from "./quote.ts";

/** One buffer of a body: its size, and how to write it. */
export interface BufferPiece {
  readonly byteLength: number;
  /** The same bytes in place, if they need no change. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Writes exactly `byteLength` bytes to the start of `target`, which is 64-aligned. */
  write(target: Uint8Array<ArrayBuffer>): void;
}

/** Collects the nodes and buffers of one message. */
export class BodyLayout {
  /** Length and null count of each node. */
  readonly nodes: number[] = [];
  readonly pieces: BufferPiece[] = [];
  readonly variadicCounts: number[] = [];
  readonly #isInPlace: boolean;

  /**
   * @param isInPlace Whether the values are to be used in place: nothing is trimmed to the rows in use if that would change offsets or
   * views
   */
  constructor(isInPlace = false) {
    this.#isInPlace = isInPlace;
  }

  /**
   * Adds a column.
   *
   * @param data Values of the column, possibly a slice
   * @param type Its type in the schema; for the values of a dictionary that of the values
   * @param path Name of the column, for messages
   * @throws {DipcError} `invalid_argument` if the column has another type than the schema; `unsupported`
   */
  add(data: Data, type: DataType, path: string): void {
    if (data.type !== type && !sameLayout(data.type, type)) {
      throw new DipcError(
        "invalid_argument",
        `cannot encode column ${quoted(path)}: it holds ${data.type}, but the schema declares ${type}`,
      );
    }
    const id = arrowTypeId(type);
    const { length } = data;
    if (id === "null") {
      this.nodes.push(length, length);
      return;
    }
    if (id === "union") return this.#union(data as Data<Union>, type as Union, path);
    const nulls = data.nullCount;
    this.nodes.push(length, nulls);
    if (nulls > 0) this.#bits(data.nullBitmap, data.offset, length);
    else this.pieces.push(NOTHING);
    switch (id) {
      case "bool":
        this.#bits(data.values as Uint8Array, data.offset, length);
        break;
      case "int":
      case "float":
      case "decimal":
      case "date":
      case "time":
      case "timestamp":
      case "duration":
      case "interval":
      case "fixed_size_binary":
        this.#values(data, path);
        break;
      case "utf8":
      case "binary":
      case "large_utf8":
      case "large_binary": {
        const [begin, end] = this.#offsets(data);
        this.#bytes(data.values as Uint8Array, begin, end - begin);
        break;
      }
      case "utf8_view":
      case "binary_view":
        this.#views(data);
        break;
      case "list":
      case "large_list":
      case "map": {
        const [begin, end] = this.#offsets(data);
        this.#child(data.children[0], begin, end - begin, type.children[0].type, path);
        break;
      }
      case "fixed_size_list":
        this.#child(data.children[0], 0, length * data.stride, type.children[0].type, path);
        break;
      case "struct":
        type.children.forEach((field, i) =>
          this.#child(data.children[i], 0, length, field.type, `${path}.${field.name}`)
        );
        break;
      case "dictionary":
        this.#indices(data, ((type as Dictionary).indices.bitWidth as number) === 64);
        break;
      case "list_view":
      case "large_list_view":
      case "run_end_encoded":
      case null:
        throw unsupportedType(path, type);
      default:
        unexpected(id);
    }
  }

  #bits(source: Uint8Array | undefined, offset: number, length: number): void {
    const bits = source ?? EMPTY;
    const byteLength = Math.ceil(length / 8);
    const isWhole = offset % 8 === 0 && offset / 8 + byteLength <= bits.byteLength;
    this.pieces.push({
      byteLength,
      bytes: this.#isInPlace && isWhole ? bytesOf(bits, offset / 8, byteLength) : undefined,
      write: (target) => length > 0 && copyBits(target, bits, offset, length),
    });
  }

  /** `byteLength` bytes of a view from `begin` on; bytes past its end are 0. */
  #bytes(source: ArrayBufferView | undefined, begin: number, byteLength: number): void {
    const bytes = bytesOf(source, begin, byteLength);
    this.pieces.push({
      byteLength,
      bytes: bytes.byteLength === byteLength ? bytes : undefined,
      write: (target) => {
        target.set(bytes);
        if (bytes.byteLength < byteLength) target.fill(0, bytes.byteLength, byteLength);
      },
    });
  }

  #values(data: Data, path: string): void {
    const values = data.values as ArrayBufferView & { BYTES_PER_ELEMENT?: number } | undefined;
    const elementBytes = (data.ArrayType as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT;
    if (elementBytes === undefined) {
      throw unsupportedType(path, data.type);
    }
    if (values !== undefined && !ArrayBuffer.isView(values)) {
      throw new DipcError("invalid_argument", `cannot encode column ${quoted(path)}: its values are not a typed array`);
    }
    this.#bytes(values, 0, data.length * data.stride * elementBytes);
  }

  /** Indices; those that were narrowed to 32 bits when decoding are widened again. */
  #indices(data: Data, isWide: boolean): void {
    const values = data.values as ArrayBufferView & { BYTES_PER_ELEMENT: number };
    if (!isWide || values.BYTES_PER_ELEMENT === 8) {
      this.#bytes(values, 0, data.length * values.BYTES_PER_ELEMENT);
      return;
    }
    const narrow = values as unknown as Int32Array;
    const { length } = data;
    this.pieces.push({
      byteLength: 8 * length,
      write: (target) => {
        const words = new Int32Array(target.buffer, target.byteOffset, 2 * length);
        for (let i = 0; i < length; i++) {
          words[2 * i] = narrow[i];
          words[2 * i + 1] = narrow[i] >> 31;
        }
      },
    });
  }

  /** Offsets moved to start at 0; returns the range of values they cover. */
  #offsets(data: Data): [begin: number, end: number] {
    const { length } = data;
    const offsets = data.valueOffsets as Int32Array | BigInt64Array | undefined;
    const isLarge = (data.type as { OffsetArrayType?: unknown }).OffsetArrayType === BigInt64Array;
    const width = isLarge ? 8 : 4;
    if (offsets === undefined || offsets.length < length + 1) {
      this.#bytes(undefined, 0, width * (length + 1));
      return [0, 0];
    }
    const begin = this.#isInPlace ? 0 : Number(offsets[0]);
    const end = Number(offsets[length]);
    if (begin === 0) {
      this.#bytes(offsets, 0, width * (length + 1));
    } else {
      this.pieces.push({
        byteLength: width * (length + 1),
        write: (target) => {
          if (offsets instanceof Int32Array) {
            const out = new Int32Array(target.buffer, target.byteOffset, length + 1);
            for (let i = 0; i <= length; i++) out[i] = offsets[i] - begin;
          } else {
            const out = new BigInt64Array(target.buffer, target.byteOffset, length + 1);
            const shift = BigInt(begin);
            for (let i = 0; i <= length; i++) out[i] = offsets[i] - shift;
          }
        },
      });
    }
    return [begin, end];
  }

  #child(child: Data | undefined, begin: number, length: number, type: DataType, path: string): void {
    // apache-arrow fills in missing columns with nulls that have no children, or children of length 0.
    child ??= makeData({ type, length: 0, nullCount: 0 });
    if (child.length < begin + length) {
      child = child._changeLengthAndBackfillNullBitmap(begin + length);
    }
    this.add(begin === 0 && child.length === length ? child : child.slice(begin, length), type, path);
  }

  /** Views, with each data buffer trimmed to the range that they use. */
  #views(data: Data): void {
    const { length } = data;
    const all = data.values as Uint8Array;
    const buffers = data.variadicBuffers;
    if (this.#isInPlace) {
      this.#bytes(all, 0, 16 * length);
      this.variadicCounts.push(buffers.length);
      for (const buffer of buffers) this.#bytes(buffer, 0, buffer.byteLength);
      return;
    }
    const words = wordsOf(all, 4 * length);
    const low = new Float64Array(buffers.length).fill(Infinity);
    const high = new Float64Array(buffers.length);
    const { offset: start } = data;
    const bitmap = data.nullCount > 0 ? data.nullBitmap : EMPTY;
    const isNull = (row: number): boolean => {
      const at = start + row;
      return bitmap.byteLength > 0 && (bitmap[at >> 3] & (1 << (at & 7))) === 0;
    };
    for (let i = 0; i < length; i++) {
      const size = words[4 * i];
      if (size <= 12 || isNull(i)) continue;
      const index = words[4 * i + 2];
      const offset = words[4 * i + 3];
      if (offset < low[index]) low[index] = offset;
      if (offset + size > high[index]) high[index] = offset + size;
    }
    this.pieces.push({
      byteLength: 16 * length,
      write: (target) => {
        const out = new Int32Array(target.buffer, target.byteOffset, 4 * length);
        out.set(words);
        for (let i = 0; i < length; i++) {
          // The value under a null is not sent.
          if (isNull(i)) {
            out[4 * i] =
              out[4 * i + 1] =
              out[4 * i + 2] =
              out[4 * i + 3] =
                0;
          } else if (out[4 * i] > 12) out[4 * i + 3] -= low[out[4 * i + 2]];
        }
      },
    });
    this.variadicCounts.push(buffers.length);
    buffers.forEach((buffer, i) => {
      const begin = high[i] === 0 ? 0 : low[i];
      this.#bytes(buffer, begin, high[i] - begin);
    });
  }

  #union(data: Data<Union>, type: Union, path: string): void {
    const { length, typeIds } = data;
    this.nodes.push(length, 0);
    this.#bytes(typeIds, 0, length);
    if (type.mode === UnionMode.Sparse) {
      type.children.forEach((field, i) =>
        this.#child(data.children[i], 0, length, field.type, `${path}.${field.name}`)
      );
      return;
    }
    const offsets = data.valueOffsets as Int32Array;
    if (this.#isInPlace) {
      this.#bytes(offsets, 0, 4 * length);
      type.children.forEach((field, i) => {
        const child = data.children[i];
        this.#child(child, 0, child?.length ?? 0, field.type, `${path}.${field.name}`);
      });
      return;
    }
    // Each child is trimmed to the range of values in use, and the offsets into it are shifted.
    const low = new Float64Array(128).fill(Infinity);
    const high = new Float64Array(128);
    for (let i = 0; i < length; i++) {
      const id = typeIds[i];
      if (offsets[i] < low[id]) low[id] = offsets[i];
      if (offsets[i] >= high[id]) high[id] = offsets[i] + 1;
    }
    this.pieces.push({
      byteLength: 4 * length,
      write: (target) => {
        const out = new Int32Array(target.buffer, target.byteOffset, length);
        for (let i = 0; i < length; i++) out[i] = offsets[i] - low[typeIds[i]];
      },
    });
    type.children.forEach((field, i) => {
      const id = type.typeIds[i];
      const begin = high[id] === 0 ? 0 : low[id];
      this.#child(data.children[i], begin, high[id] - begin, field.type, `${path}.${field.name}`);
    });
  }
}

/** Bytes of a view from `begin` on, fewer if it ends before. */
function bytesOf(source: ArrayBufferView | undefined, begin: number, byteLength: number): Uint8Array<ArrayBuffer> {
  if (source === undefined) return EMPTY;
  const all = new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
  return all.subarray(begin, begin + byteLength);
}

/** Whether values of two types have the same layout; children are compared when they are added. */
function sameLayout(a: DataType, b: DataType): boolean {
  if (a.typeId !== b.typeId) return false;
  switch (a.typeId) {
    case Type.List:
    case Type.LargeList:
    case Type.Map:
    case Type.Struct:
      return (a.children?.length ?? 0) === (b.children?.length ?? 0);
    case Type.FixedSizeList:
      return (a as FixedSizeList).listSize === (b as FixedSizeList).listSize;
    case Type.Union: {
      const [one, other] = [a as Union, b as Union];
      return one.mode === other.mode && one.typeIds.join() === other.typeIds.join();
    }
    case Type.Dictionary: {
      const [one, other] = [a as Dictionary, b as Dictionary];
      return sameLayout(one.indices, other.indices) && sameLayout(one.dictionary, other.dictionary);
    }
    case Type.Decimal:
      return (a as Decimal).bitWidth === (b as Decimal).bitWidth && String(a) === String(b);
    default:
      // Width, unit and time zone are in the text.
      return String(a) === String(b);
  }
}

function unsupportedType(path: string, type: DataType): DipcError {
  return new DipcError("unsupported", `cannot encode column ${quoted(path)}: its type ${type} is not supported`);
}

const EMPTY = new Uint8Array(0);
const NOTHING: BufferPiece = { byteLength: 0, write: () => {} };

/** The views as 32-bit words; a copy if they are not 4-aligned. */
function wordsOf(views: Uint8Array, count: number): Int32Array {
  const aligned = views.byteOffset % 4 === 0 ? views : views.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, count);
}
