/**
 * Reads the values of some slots of a column, as Parquet stores them.
 *
 * @module
 */
import type { FieldLayout } from "../../ipc/layout.ts";
import { type ArrowColumn, columnError, integersOf, isSet } from "./arrow_columns.ts";
import type { LeafType } from "./leaf_types.ts";
import { readBigEndian, readSmallDecimals } from "./decimals.ts";
import type { Slots } from "./slots.ts";

/** Indices of values in a column: some, or all from {@linkcode first} on. */
export interface Selection {
  readonly count: number;
  readonly first: number;
  readonly indices: Int32Array | null;
}

/** The values of slots that have one. */
export function selectionOf({ count, first, indices, definitions }: Slots): Selection {
  if (indices === null || definitions === null) return { count, first, indices };
  const found = new Int32Array(count);
  let at = 0;
  for (let i = 0; i < count; i++) if (indices[i] >= 0) found[at++] = indices[i];
  return { count: at, first: 0, indices: found.subarray(0, at) };
}

/**
 * Values of 32 or 64 bits, as one or two words each. They may be those of the column, in place.
 *
 * @throws {DipcError} `invalid_data` if a value does not fit
 */
export function readWords(column: ArrowColumn, type: LeafType, selection: Selection): Int32Array {
  switch (type.conversion) {
    case "words32":
      return readWords32(column, selection);
    case "words64":
      return readWords64(column, selection);
    case "narrow":
      return readNarrow(column, selection);
    case "seconds32":
      return readWords32(column, selection).map((seconds) => {
        if (Math.abs(seconds) > MOST_SECONDS) throw doesNotFit(column.field, `${seconds} seconds`, "milliseconds");
        return seconds * 1000;
      });
    case "seconds64":
      return wordsOf(
        wideOf(readWords64(column, selection)).map((seconds) => {
          if (BigInt.asIntN(64, seconds * 1000n) === seconds * 1000n) return seconds * 1000n;
          throw doesNotFit(column.field, `${seconds} seconds`, "milliseconds");
        }),
      );
    case "days":
      return Int32Array.from(wideOf(readWords64(column, selection)), (milliseconds) => {
        const days = Math.floor(Number(milliseconds) / DAY);
        if (days === (days | 0)) return days;
        throw doesNotFit(column.field, `${milliseconds} milliseconds`, "days");
      });
    default:
      return readSmallDecimals(column, selection, type.logical as { precision: number });
  }
}

/** A day in milliseconds. */
const DAY = 86_400_000;
/** Most seconds whose milliseconds have 32 bits. */
const MOST_SECONDS = 2_147_483;

function doesNotFit(field: FieldLayout, value: string, unit: string): Error {
  return columnError("invalid_data", field, `its value of ${value} is too large for ${unit}, which Parquet stores`);
}

function wordsOf(values: BigInt64Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, 2 * values.length);
}

/** Pairs of words as numbers of 64 bits; a copy if they are not 8-aligned. */
function wideOf(words: Int32Array): BigInt64Array {
  const aligned = words.byteOffset % 8 === 0 ? words : words.slice();
  return new BigInt64Array(aligned.buffer, aligned.byteOffset, aligned.length / 2);
}

function readWords32({ values }: ArrowColumn, { count, first, indices }: Selection): Int32Array {
  if (indices === null) return new Int32Array(values.buffer, values.byteOffset + 4 * first, count);
  const words = new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
  const found = new Int32Array(count);
  for (let i = 0; i < count; i++) found[i] = words[indices[i]];
  return found;
}

function readWords64({ values }: ArrowColumn, { count, first, indices }: Selection): Int32Array {
  if (indices === null) return new Int32Array(values.buffer, values.byteOffset + 8 * first, 2 * count);
  const words = new Int32Array(values.buffer, values.byteOffset, 2 * (values.byteLength >> 3));
  const found = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const at = 2 * indices[i];
    found[2 * i] = words[at];
    found[2 * i + 1] = words[at + 1];
  }
  return found;
}

function readNarrow(column: ArrowColumn, { count, first, indices }: Selection): Int32Array {
  if (indices === null) return Int32Array.from(integersOf(column, first, first + count));
  const narrow = integersOf(column, 0, column.length);
  const found = new Int32Array(count);
  for (let i = 0; i < count; i++) found[i] = narrow[indices[i]];
  return found;
}

/** Truth values, a byte each. */
export function readBits({ values }: ArrowColumn, { count, first, indices }: Selection): Uint8Array {
  const found = new Uint8Array(count);
  for (let i = 0; i < count; i++) found[i] = isSet(values, indices === null ? first + i : indices[i]) ? 1 : 0;
  return found;
}

/**
 * Values of a fixed number of bytes, one after another.
 *
 * @throws {DipcError} `invalid_data` if a value does not fit
 */
export function readFixed(column: ArrowColumn, type: LeafType, selection: Selection): Uint8Array {
  const { values, field } = column, { count, first, indices } = selection, length = type.length!;
  switch (type.conversion) {
    case "decimal_bytes":
      return readBigEndian(column, selection, length, type.logical as { precision: number });
    case "months":
      return intervals(count, field, readWords32(column, selection), 1, 0);
    case "day_time":
      return intervals(count, field, readWords64(column, selection), 2, 1);
  }
  if (indices === null) return values.subarray(first * length, (first + count) * length);
  const found = new Uint8Array(count * length);
  for (let i = 0; i < count; i++) {
    const from = indices[i] * length;
    for (let j = 0; j < length; j++) found[i * length + j] = values[from + j];
  }
  return found;
}

/** Intervals of Parquet: months, days and milliseconds, which have no sign. */
function intervals(count: number, field: FieldLayout, parts: Int32Array, width: number, at: number): Uint8Array {
  const found = new Int32Array(3 * count);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < width; j++) {
      const part = parts[width * i + j];
      if (part < 0) throw columnError("unsupported", field, `it has an interval of ${part}, Parquet's have no sign`);
      found[3 * i + at + j] = part;
    }
  }
  return new Uint8Array(found.buffer);
}

/** Runs of bytes of one buffer. */
export interface ByteRuns {
  readonly count: number;
  readonly bytes: Uint8Array;
  /** Start and end of each one. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/**
 * Values of any number of bytes.
 *
 * @throws {DipcError} `limit_exceeded` if they have more than 2 GiB together, which the caller has to prevent by fewer rows
 */
export function readBytes(column: ArrowColumn, selection: Selection): ByteRuns {
  const { offsets } = column;
  if (offsets === null) return readViews(column, selection);
  return offsets instanceof Int32Array
    ? readByOffsets(column.values, offsets, selection)
    : readByWideOffsets(column, offsets, selection);
}

function readByOffsets(bytes: Uint8Array, offsets: Int32Array, { count, first, indices }: Selection): ByteRuns {
  if (indices === null) {
    const starts = offsets.subarray(first, first + count), ends = offsets.subarray(first + 1, first + count + 1);
    return { count, bytes, starts, ends };
  }
  const starts = new Int32Array(count), ends = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    starts[i] = offsets[indices[i]];
    ends[i] = offsets[indices[i] + 1];
  }
  return { count, bytes, starts, ends };
}

function readByWideOffsets(
  { values, field }: ArrowColumn,
  offsets: BigInt64Array,
  { count, first, indices }: Selection,
): ByteRuns {
  if (count === 0) return { count, bytes: values.subarray(0, 0), starts: new Int32Array(0), ends: new Int32Array(0) };
  const words = new Uint32Array(offsets.buffer, offsets.byteOffset, 2 * offsets.length);
  const at = (i: number): number => words[2 * i] + words[2 * i + 1] * 2 ** 32;
  const [low, high] = indices === null ? [first, first + count - 1] : extent(indices);
  const base = at(low), end = at(high + 1);
  // Values far from each other are brought together.
  if (end - base > MOST_BYTES) {
    const index = (i: number): number => indices === null ? first + i : indices[i];
    return gathered(field, count, (i) => values.subarray(at(index(i)), at(index(i) + 1)));
  }
  const bytes = values.subarray(base, end);
  // Modulo 2³², which is enough for the differences.
  const lowest = words[2 * low];
  if (indices === null) {
    const places = new Int32Array(count + 1);
    for (let i = 0, word = 2 * first; i <= count; i++, word += 2) places[i] = words[word] - lowest;
    return { count, bytes, starts: places.subarray(0, count), ends: places.subarray(1) };
  }
  const starts = new Int32Array(count), ends = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const word = 2 * indices[i];
    starts[i] = words[word] - lowest;
    ends[i] = words[word + 2] - lowest;
  }
  return { count, bytes, starts, ends };
}

/** The least and the greatest of some numbers. */
function extent(numbers: Int32Array): [low: number, high: number] {
  let low = numbers[0], high = low;
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i] < low) low = numbers[i];
    if (numbers[i] > high) high = numbers[i];
  }
  return [low, high];
}

/** Most bytes that {@linkcode ByteRuns} can hold. */
const MOST_BYTES = 2 ** 31 - 1;

function readViews({ values, variadic, field }: ArrowColumn, { count, first, indices }: Selection): ByteRuns {
  const words = new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
  return gathered(field, count, (i) => {
    const at = 4 * (indices === null ? first + i : indices[i]);
    const size = words[at];
    if (size <= 12) return values.subarray(4 * at + 4, 4 * at + 4 + size);
    return variadic[words[at + 2]].subarray(words[at + 3], words[at + 3] + size);
  });
}

/** Copies of values. */
function gathered(field: FieldLayout, count: number, valueOf: (i: number) => Uint8Array): ByteRuns {
  const pieces: Uint8Array[] = [];
  const starts = new Int32Array(count), ends = new Int32Array(count);
  let end = 0;
  for (let i = 0; i < count; i++) {
    const piece = valueOf(i);
    pieces.push(piece);
    starts[i] = end;
    end += piece.byteLength;
    if (end > MOST_BYTES) throw columnError("limit_exceeded", field, "one row has more than 2 GiB");
    ends[i] = end;
  }
  const bytes = new Uint8Array(end);
  pieces.forEach((piece, i) => bytes.set(piece, starts[i]));
  return { count, bytes, starts, ends };
}
