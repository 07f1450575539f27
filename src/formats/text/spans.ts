/**
 * The places of the bytes of each value of a text or binary column.
 *
 * @module
 */
import { type Data, Type } from "apache-arrow";

/** A value as a piece of an array of bytes. */
export interface Span {
  /** The array. */
  bytes: Uint8Array;
  /** First byte of the value. */
  start: number;
  /** Byte after the value. */
  end: number;
}

/** Values that lie one after another. */
export interface Packed {
  /** The bytes of all values. */
  readonly bytes: Uint8Array;
  /** First byte of each value, and the end of the last one. */
  readonly offsets: Int32Array | Float64Array;
}

/** The values of a column whose layout has offsets; null for other layouts. */
export function packedValues(data: Data): Packed | null {
  switch (data.typeId) {
    case Type.Utf8View:
    case Type.BinaryView:
    case Type.FixedSizeBinary:
      return null;
    default:
      return { bytes: data.values as Uint8Array, offsets: numbersOf(data.valueOffsets) };
  }
}

/** Points a span to the value of a row. */
export type Locate = (row: number, span: Span) => void;

/** The values of a column of text or binary, of any layout. */
export function locatorOf(data: Data): Locate {
  const packed = packedValues(data);
  if (packed !== null) return packedLocator(packed);
  return data.typeId === Type.FixedSizeBinary ? fixedLocator(data) : viewLocator(data);
}

/** Offsets as numbers, all in one kind of array as far as they fit. */
export function numbersOf(offsets: Int32Array | BigInt64Array): Int32Array | Float64Array {
  if (offsets instanceof Int32Array) return offsets;
  const words = new Uint32Array(offsets.buffer, offsets.byteOffset, 2 * offsets.length);
  const isShort = Number(offsets[offsets.length - 1]) < 2 ** 31;
  const numbers = isShort ? new Int32Array(offsets.length) : new Float64Array(offsets.length);
  for (let i = 0; i < numbers.length; i++) numbers[i] = words[2 * i] + words[2 * i + 1] * 4294967296;
  return numbers;
}

function packedLocator({ bytes, offsets }: Packed): Locate {
  return (row, span) => {
    span.bytes = bytes;
    span.start = offsets[row];
    span.end = offsets[row + 1];
  };
}

function fixedLocator(data: Data): Locate {
  const bytes = data.values as Uint8Array;
  const width = (data.type as unknown as { byteWidth: number }).byteWidth;
  return (row, span) => {
    span.bytes = bytes;
    span.start = row * width;
    span.end = span.start + width;
  };
}

/** Length of a view, and of what it can hold itself, in bytes. */
const VIEW_BYTES = 16, INLINE_BYTES = 12;

function viewLocator(data: Data): Locate {
  const views = data.values as Uint8Array;
  const words = new Int32Array(views.buffer, views.byteOffset, views.byteLength >> 2);
  const buffers = data.variadicBuffers;
  return (row, span) => {
    const at = 4 * row;
    const length = words[at];
    const isInline = length <= INLINE_BYTES;
    span.bytes = isInline ? views : buffers[words[at + 2]];
    span.start = isInline ? VIEW_BYTES * row + 4 : words[at + 3];
    span.end = span.start + length;
  };
}
