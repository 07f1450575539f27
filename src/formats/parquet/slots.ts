/**
 * Levels of nested columns: which values of a column its rows have, and where lists begin and nulls are.
 *
 * A slot is one entry of a column chunk: a value, a null, or a list without elements.
 *
 * @module
 */
import type { FieldLayout } from "../../ipc/layout.ts";
import { type ArrowColumn, columnError, integersOf, isSet } from "./arrow_columns.ts";

/** The slots of a field in some rows. */
export interface Slots {
  readonly count: number;
  /** Index of each slot's value in the column, −1 if it has none; null if they are one after another. */
  readonly indices: Int32Array | null;
  /** The first index, if they are one after another. */
  readonly first: number;
  /** Definition level of each slot; null if all have a value. */
  readonly definitions: Uint8Array | null;
  /** Definition level of slots that have a value. */
  readonly defined: number;
  /** Repetition level of each slot; null if all are 0. */
  readonly repetitions: Uint8Array | null;
}

/** What is wrong with a null that has no level. */
export const NOT_NULLABLE = "it has a null, but its field says that it is not nullable";

/** The slots of a column of a batch. */
export function rowSlots(from: number, to: number): Slots {
  return { count: to - from, indices: null, first: from, definitions: null, defined: 0, repetitions: null };
}

/**
 * Slots after a node that may be null.
 *
 * @param slots Slots before it
 * @param validity A set bit for each value that is not null; null if none is
 * @param isOptional Whether nulls have a level of their own
 * @param field Named if there are nulls without a level
 * @throws {DipcError} `invalid_data`
 */
export function presentSlots(
  slots: Slots,
  validity: Uint8Array | null,
  isOptional: boolean,
  field: FieldLayout,
): Slots {
  const kept = validity === null ? null : withoutNulls(slots, validity);
  if (!isOptional) {
    if (kept !== null) throw columnError("invalid_data", field, NOT_NULLABLE);
    return slots;
  }
  const { count, definitions, defined } = slots;
  const level = defined + 1;
  if (definitions === null && kept === null) return { ...slots, defined: level };
  const indices = kept ?? slots.indices;
  const levels = new Uint8Array(count).fill(level);
  for (let i = 0; i < count && indices !== null; i++) {
    if (indices[i] >= 0) continue;
    const wasNull = slots.indices !== null && slots.indices[i] < 0;
    levels[i] = wasNull && definitions !== null ? definitions[i] : defined;
  }
  return { ...slots, indices, definitions: levels, defined: level };
}

/** The indices without those of nulls; null if there are none. */
function withoutNulls({ count, indices, first }: Slots, validity: Uint8Array): Int32Array | null {
  let kept: Int32Array | null = null;
  for (let i = 0; i < count; i++) {
    const index = indices === null ? first + i : indices[i];
    if (index < 0 || isSet(validity, index)) continue;
    kept ??= copyOfIndices(count, indices, first);
    kept[i] = -1;
  }
  return kept;
}

function copyOfIndices(count: number, indices: Int32Array | null, first: number): Int32Array {
  if (indices !== null) return indices.slice();
  const copy = new Int32Array(count);
  for (let i = 0; i < count; i++) copy[i] = first + i;
  return copy;
}

/**
 * Slots of the values of a dictionary, from those of the indices.
 *
 * @param size Values of the dictionary
 * @throws {DipcError} `invalid_data` if an index is not one of the dictionary's
 */
export function dictionarySlots(slots: Slots, column: ArrowColumn, size: number): Slots {
  const { count, indices, first } = slots;
  const found = new Int32Array(count);
  if (indices === null) {
    const keys = integersOf(column, first, first + count);
    for (let i = 0; i < count; i++) found[i] = checkedIndex(keys[i], size, column.field);
  } else {
    const keys = integersOf(column, 0, column.length);
    for (let i = 0; i < count; i++) {
      found[i] = indices[i] < 0 ? -1 : checkedIndex(keys[indices[i]], size, column.field);
    }
  }
  return { ...slots, indices: found };
}

/** @throws {DipcError} `invalid_data` */
export function checkedIndex(index: number, size: number, field: FieldLayout): number {
  if (index >= 0 && index < size) return index;
  throw columnError("invalid_data", field, `it has index ${index} into a dictionary of ${size} values`);
}

/** Slots of the values of runs. */
export function runSlots(slots: Slots, column: ArrowColumn): Slots {
  const { count, indices, first } = slots;
  const ends = integersOf(column.children[0], 0, column.children[0].length);
  const found = new Int32Array(count);
  let run = 0;
  for (let i = 0; i < count; i++) {
    const index = indices === null ? first + i : indices[i];
    if (index < 0) {
      found[i] = -1;
      continue;
    }
    if (!(index < ends[run]) || (run > 0 && index < ends[run - 1])) run = runOf(ends, index);
    found[i] = run;
  }
  return { ...slots, indices: found };
}

/** The first run that ends after an index. */
function runOf(ends: ArrayLike<number>, index: number): number {
  let low = 0, high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle] > index) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Start of the list of an index, and its length. */
type Ranges = (index: number) => { start: number; length: number };

/**
 * Slots of the elements of lists, whose own nulls are already there.
 *
 * @param slots Slots of the lists
 * @param column A list of any layout, or a map
 * @param level Repetition level of elements after the first one
 * @throws {DipcError} `invalid_data` if a list lies outside of its elements; `limit_exceeded`
 */
export function elementSlots(slots: Slots, column: ArrowColumn, level: number): Slots {
  const { count, indices, first, definitions, defined, repetitions } = slots;
  const rangeOf = rangesOf(column);
  const starts = new Float64Array(count), lengths = new Float64Array(count);
  let total = 0, isDense = true, next = -1;
  for (let i = 0; i < count; i++) {
    const index = indices === null ? first + i : indices[i];
    if (index >= 0) {
      const { start, length } = rangeOf(index);
      starts[i] = start;
      lengths[i] = length;
      if (next >= 0 && start !== next) isDense = false;
      next = start + length;
    }
    if (lengths[i] === 0) isDense = false;
    total += lengths[i] || 1;
  }
  if (total > MOST_SLOTS) throw columnError("limit_exceeded", column.field, `one row has ${total} elements`);
  const repeated = new Uint8Array(total).fill(level);
  const found = isDense ? null : new Int32Array(total);
  const levels = isDense ? null : new Uint8Array(total).fill(defined + 1);
  let at = 0;
  for (let i = 0; i < count; i++) {
    repeated[at] = repetitions === null ? 0 : repetitions[i];
    const length = lengths[i];
    if (found !== null && length === 0) {
      found[at] = -1;
      levels![at] = definitions === null ? defined : definitions[i];
    }
    if (found !== null) { for (let j = 0; j < length; j++) found[at + j] = starts[i] + j; }
    at += length || 1;
  }
  const firstIndex = isDense && count > 0 ? starts[0] : 0;
  return {
    count: total,
    indices: found,
    first: firstIndex,
    definitions: levels,
    defined: defined + 1,
    repetitions: repeated,
  };
}

/** Most slots at a time: their indices are numbers of 32 bits. */
const MOST_SLOTS = 2 ** 31 - 1;

function rangesOf(column: ArrowColumn): Ranges {
  const { field, offsets, sizes, children: [child] } = column;
  const range = { start: 0, length: 0 };
  if (offsets === null) {
    const { listSize } = field.type as { listSize: number };
    return (index) => {
      range.start = index * listSize;
      range.length = listSize;
      return range;
    };
  }
  return (index) => {
    range.start = Number(offsets[index]);
    range.length = sizes === null ? Number(offsets[index + 1]) - range.start : Number(sizes[index]);
    if (!(range.start >= 0 && range.length >= 0 && range.start + range.length <= child.length)) {
      const end = range.start + range.length;
      const what = `list ${index} has elements ${range.start} to ${end} of ${child.length}`;
      throw columnError("invalid_data", field, what);
    }
    return range;
  };
}
