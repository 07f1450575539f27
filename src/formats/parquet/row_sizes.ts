/**
 * How much memory rows take once they are taken apart, which may be far more than in their message: views, list views and
 * dictionaries refer to the same bytes again and again, and runs and nulls have none.
 *
 * @module
 */
import { NodeKind } from "../../ipc/buffers.ts";
import { type FieldLayout, storageOf } from "../../ipc/layout.ts";
import { type ArrowColumn, columnError, integersOf } from "./arrow_columns.ts";
import type { DictionaryStore } from "./dictionary_store.ts";

/** Memory of a slot besides the bytes of its value: levels and indices. */
const SLOT_BYTES = 16;
/** Most memory of several rows at a time, in bytes. */
const STEP_BYTES = 64 * 2 ** 20;
/** Most memory of a row or of dictionaries, however short their messages are, in bytes. */
const FREE_BYTES = 512 * 2 ** 20;
/** Most memory for each byte of a message: a list of truth values takes half of it. */
const BYTES_PER_BYTE = 256;
/** Longest values of a dictionary, in bytes, that are not distinguished from shorter ones. */
const SHORT_BYTES = 64;

/** Memory of all values before an index, in bytes. */
type Sum = (index: number) => number;

/** One column chunk. */
interface Leaf {
  readonly field: FieldLayout;
  readonly sum: Sum;
}

/** The memory that the rows of a batch take. */
export class RowSizes {
  readonly #leaves: readonly Leaf[];
  readonly #most: number;

  /**
   * @param columns The columns of the batch
   * @param byteLength Size of their buffers in bytes
   * @param dictionaries Dictionaries that they refer to
   */
  constructor(columns: readonly ArrowColumn[], byteLength: number, dictionaries: DictionaryStore) {
    this.#leaves = columns.flatMap((column) => leavesOf(column, dictionaries));
    this.#most = mostBytes(byteLength);
  }

  /**
   * The end of the next step, whose rows do not take too much memory together.
   *
   * @param from Its first row
   * @param to Its end if memory does not matter
   * @throws {DipcError} `limit_exceeded` if one row takes too much
   */
  stepEnd(from: number, to: number): number {
    let end = to;
    for (const { field, sum } of this.#leaves) {
      const before = sum(from);
      while (end - from > 1 && sum(end) - before > STEP_BYTES) end = from + (end - from >> 1);
      const bytes = sum(end) - before;
      if (bytes > this.#most && end - from === 1) {
        const what = `row ${from} of a batch takes ${bytes} bytes of memory, the most for its size is ${this.#most}`;
        throw columnError("limit_exceeded", field, `${what}; write an Arrow file or stream instead`);
      }
    }
    return end;
  }
}

/**
 * Checks the values of a dictionary before they are copied.
 *
 * @param column The values
 * @param known Memory of all dictionaries so far, in bytes
 * @param byteLength Size of all messages of dictionaries, this one included, in bytes
 * @param dictionaries The dictionaries so far
 * @throws {DipcError} `limit_exceeded` if they take too much memory
 */
export function checkDictionarySize(
  column: ArrowColumn,
  known: number,
  byteLength: number,
  dictionaries: DictionaryStore,
): void {
  const most = mostBytes(byteLength);
  for (const { field, sum } of leavesOf(column, dictionaries)) {
    const bytes = known + (column.kind === NodeKind.none ? 0 : sum(column.length));
    if (bytes <= most) continue;
    const what = `its dictionary takes ${bytes} bytes of memory, the most for its size is ${most}`;
    throw columnError("limit_exceeded", field, `${what}; write an Arrow file or stream instead`);
  }
}

function mostBytes(byteLength: number): number {
  return Math.max(FREE_BYTES, BYTES_PER_BYTE * byteLength);
}

function leavesOf(column: ArrowColumn, dictionaries: DictionaryStore): Leaf[] {
  const { field, kind, children, dictionaryId, offsets, sizes } = column;
  if (dictionaryId !== null) return [{ field, sum: sumOfIndices(column, dictionaries) }];
  if (children.length === 0) return [{ field, sum: sumOfValues(column) }];
  const below = (child: ArrowColumn, sumOf: (inner: Sum) => Sum): Leaf[] =>
    leavesOf(child, dictionaries).map((leaf) => ({ field: leaf.field, sum: sumOf(leaf.sum) }));
  if (kind === NodeKind.none) return below(children[1], (inner) => sumOfRuns(children[0], inner));
  if (offsets !== null && sizes !== null) return below(children[0], (inner) => sumOfListViews(column, inner));
  if (offsets !== null) return below(children[0], (inner) => (i) => inner(Number(offsets[i])) + SLOT_BYTES * i);
  if (field.type.id === "fixed_size_list") {
    const { listSize } = field.type;
    return below(children[0], (inner) => (i) => inner(listSize * i) + SLOT_BYTES * i);
  }
  return children.flatMap((child) => leavesOf(child, dictionaries));
}

function sumOfValues({ field, kind, length, values, offsets, variadic }: ArrowColumn): Sum {
  if (offsets !== null) return (i) => Number(offsets[i]) + SLOT_BYTES * i;
  if (kind === NodeKind.view) {
    // Short values are in the views.
    if (variadic.length === 0) return (i) => 2 * SLOT_BYTES * i;
    const words = new Int32Array(values.buffer, values.byteOffset, 4 * length);
    return running(length, (i) => Math.max(0, words[4 * i]));
  }
  const bytes = SLOT_BYTES + storageOf(field.type).bits / 8;
  return (i) => bytes * i;
}

function sumOfIndices(column: ArrowColumn, dictionaries: DictionaryStore): Sum {
  const dictionary = dictionaries.get(column.dictionaryId!);
  const longest = dictionary?.longest ?? 0;
  if (longest <= SHORT_BYTES || dictionary!.column.offsets === null) return (i) => (SLOT_BYTES + longest) * i;
  const offsets = dictionary!.column.offsets, size = dictionary!.column.length;
  const keys = integersOf(column, 0, column.length);
  return running(
    column.length,
    (i) => keys[i] >= 0 && keys[i] < size ? Number(offsets[keys[i] + 1]) - Number(offsets[keys[i]]) : 0,
  );
}

function sumOfListViews({ length, offsets, sizes, children: [child] }: ArrowColumn, inner: Sum): Sum {
  return running(length, (i) => {
    const start = Number(offsets![i]), end = start + Number(sizes![i]);
    return start >= 0 && end > start && end <= child.length ? inner(end) - inner(start) : 0;
  });
}

function sumOfRuns(column: ArrowColumn, inner: Sum): Sum {
  const ends = integersOf(column, 0, column.length);
  const startOf = (run: number): number => run === 0 ? 0 : ends[run - 1];
  const sums = prefixes(ends.length, (run) => (ends[run] - startOf(run)) * (inner(run + 1) - inner(run)));
  return (i) => {
    let low = 0, high = ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle] > i) high = middle;
      else low = middle + 1;
    }
    return low === ends.length ? sums[low] : sums[low] + (i - startOf(low)) * (inner(low + 1) - inner(low));
  };
}

/** Sums of slots with values of so many bytes. */
function running(count: number, bytesOf: (index: number) => number): Sum {
  const sums = prefixes(count, (i) => SLOT_BYTES + bytesOf(i));
  return (i) => sums[i];
}

/** The sum of the numbers before each one, and of all. */
function prefixes(count: number, numberOf: (index: number) => number): Float64Array {
  const sums = new Float64Array(count + 1);
  for (let i = 0; i < count; i++) sums[i + 1] = sums[i] + numberOf(i);
  return sums;
}
