/**
 * Checks what only the body shows: that offsets, views, type ids and dictionary indices stay within their buffers.
 *
 * JavaScript would not read outside of them, but it would show wrong values, or loop over a list of 2³¹ values.
 *
 * @module
 */
import type { Data, Union } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { ColumnPlan, NumberArray } from "./column_plan.ts";
import { quoted } from "./quote.ts";

/** What is needed of a column to name it. */
type NamedColumn = Pick<ColumnPlan, "field">;

/** The error for a column whose data contradicts itself. */
export function invalidColumn(plan: NamedColumn, what: string): DipcError {
  return new DipcError("invalid_data", `cannot decode column ${quoted(plan.field.path)}: ${what}`);
}

/** Whether row `index` is null; an empty bitmap means that none is. */
function isNull(bitmap: Uint8Array, index: number): boolean {
  return bitmap.byteLength > 0 && (bitmap[index >> 3] & (1 << (index & 7))) === 0;
}

/** Checks that `length + 1` offsets never decrease and lie between 0 and `end`. */
export function checkOffsets(
  plan: NamedColumn,
  offsets: Int32Array | BigInt64Array,
  length: number,
  end: number,
): void {
  const isGood = offsets instanceof Int32Array ? rises32(offsets, length, end) : rises64(offsets, length, end);
  if (!isGood) throw invalidColumn(plan, `its ${length + 1} offsets do not rise from 0 to ${end} at most`);
}

function rises32(offsets: Int32Array, length: number, end: number): boolean {
  let last = offsets[0];
  let sign = last;
  for (let i = 1; i <= length; i++) {
    const next = offsets[i];
    // If both are 0 or more the difference cannot overflow; a negative one shows by its own sign bit.
    sign |= next | ((next - last) | 0);
    last = next;
  }
  return sign >= 0 && last <= end;
}

function rises64(offsets: BigInt64Array, length: number, end: number): boolean {
  // Pairs of 32-bit words, because 64-bit integers are slow to compare one by one.
  const words = new Uint32Array(offsets.buffer, offsets.byteOffset, 2 * (length + 1));
  let last = 0;
  for (let i = 0; i <= length; i++) {
    const next = words[2 * i] + words[2 * i + 1] * 4294967296;
    if (next < last) return false;
    last = next;
  }
  return last <= end;
}

/** Checks that each view that is not null lies in one of the data buffers. */
export function checkViews(
  plan: NamedColumn,
  views: Uint8Array,
  length: number,
  data: readonly Uint8Array[],
  bitmap: Uint8Array,
): void {
  const words = new Int32Array(views.buffer, views.byteOffset, 4 * length);
  const lengths = Float64Array.from(data, (buffer) => buffer.byteLength);
  const count = lengths.length;
  for (let i = 0; i < length; i++) {
    const size = words[4 * i];
    if (size >= 0 && size <= 12) continue;
    const index = words[4 * i + 2];
    const offset = words[4 * i + 3];
    const isGood = size > 0 && index >= 0 && index < count && offset >= 0 && offset + size <= lengths[index];
    if (!isGood && !isNull(bitmap, i)) {
      throw invalidColumn(
        plan,
        `row ${i} refers to bytes ${offset} to ${offset + size} of data buffer ${index}, out of bounds`,
      );
    }
  }
}

/** Checks type ids, and the offsets of a dense union, against the children. */
export function checkUnion(
  plan: ColumnPlan,
  type: Union,
  typeIds: Int8Array,
  offsets: Int32Array | undefined,
  children: readonly Data[],
): void {
  const lengths = new Float64Array(128).fill(-1);
  type.typeIds.forEach((id, index) => lengths[id] = children[index].length);
  for (let i = 0; i < typeIds.length; i++) {
    const id = typeIds[i];
    const length = id < 0 ? -1 : lengths[id];
    if (length < 0) throw invalidColumn(plan, `row ${i} has type id ${id}, which is not one of the union's`);
    if (offsets !== undefined && (offsets[i] < 0 || offsets[i] >= length)) {
      throw invalidColumn(plan, `row ${i} refers to value ${offsets[i]} of ${length} in the child of type id ${id}`);
    }
  }
}

/**
 * Checks that each index that is not null is in the dictionary, and narrows 64-bit indices, which apache-arrow cannot look
 * up, to 32 bits.
 */
export function narrowIndices(plan: ColumnPlan, values: NumberArray, size: number, bitmap: Uint8Array): NumberArray {
  let indices = values;
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    const words = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
    const narrow = new Int32Array(values.length);
    for (let i = 0; i < narrow.length; i++) {
      narrow[i] = words[2 * i + 1] === 0 && words[2 * i] < 0x80000000 ? words[2 * i] : -1;
    }
    indices = narrow;
  }
  const { BYTES_PER_ELEMENT: width, buffer, byteOffset, length } = indices;
  const signed = indices instanceof Int8Array || indices instanceof Int16Array || indices instanceof Int32Array;
  // Read as unsigned integers, negative indices are large ones.
  const most = Math.min(size, signed ? 2 ** (8 * width - 1) : Infinity);
  const largest = width === 1
    ? largest8(new Uint8Array(buffer, byteOffset, length))
    : width === 2
    ? largest16(new Uint16Array(buffer, byteOffset, length))
    : largest32(new Uint32Array(buffer, byteOffset, length));
  // The index under a null may be anything.
  for (let i = 0; largest >= most && i < length; i++) {
    const index = Number(indices[i]);
    if ((index < 0 || index >= size) && !isNull(bitmap, i)) {
      throw invalidColumn(plan, `row ${i} has index ${values[i]} into a dictionary of ${size} values`);
    }
  }
  return indices;
}

// One loop for each width: a loop that sees arrays of several types is many times slower.

function largest8(indices: Uint8Array): number {
  let largest = -1;
  for (let i = 0; i < indices.length; i++) if (indices[i] > largest) largest = indices[i];
  return largest;
}

function largest16(indices: Uint16Array): number {
  let largest = -1;
  for (let i = 0; i < indices.length; i++) if (indices[i] > largest) largest = indices[i];
  return largest;
}

function largest32(indices: Uint32Array): number {
  let largest = -1;
  for (let i = 0; i < indices.length; i++) if (indices[i] > largest) largest = indices[i];
  return largest;
}
