/**
 * Reads decimal numbers as Parquet stores them: in few bytes if they have few digits.
 *
 * @module
 */
import { type ArrowColumn, columnError } from "./arrow_columns.ts";

/** Which values of a column; see `leaf_values.ts`. */
interface Selection {
  readonly count: number;
  readonly first: number;
  readonly indices: Int32Array | null;
}

/**
 * Numbers of at most 18 digits, as one word of 32 bits, or two.
 *
 * @throws {DipcError} `invalid_data` if a number needs more bits
 */
export function readSmallDecimals(
  column: ArrowColumn,
  { count, first, indices }: Selection,
  { precision }: { precision: number },
): Int32Array {
  const { values } = column;
  const width = widthOf(column) / 4, stored = precision <= 9 ? 1 : 2;
  const words = new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
  const found = new Int32Array(stored * count);
  for (let i = 0; i < count; i++) {
    const at = width * (indices === null ? first + i : indices[i]);
    const low = words[at], high = width === 1 ? low >> 31 : words[at + 1];
    const sign = high >> 31;
    let isGood = stored === 2 || high === low >> 31;
    for (let j = 2; j < width; j++) if (words[at + j] !== sign) isGood = false;
    if (!isGood) throw tooManyDigits(column, precision);
    found[stored * i] = low;
    if (stored === 2) found[2 * i + 1] = high;
  }
  return found;
}

/**
 * Numbers of more digits, in so many bytes, the most significant one first.
 *
 * @throws {DipcError} `invalid_data` if a number needs more bytes
 */
export function readBigEndian(
  column: ArrowColumn,
  { count, first, indices }: Selection,
  length: number,
  { precision }: { precision: number },
): Uint8Array {
  const { values } = column;
  const width = widthOf(column);
  const found = new Uint8Array(length * count);
  for (let i = 0; i < count; i++) {
    const from = width * (indices === null ? first + i : indices[i]);
    const to = length * (i + 1) - 1;
    const kept = Math.min(length, width);
    for (let j = 0; j < kept; j++) found[to - j] = values[from + j];
    const sign = values[from + kept - 1] & 0x80 ? 0xff : 0;
    for (let j = kept; j < length; j++) found[to - j] = sign;
    for (let j = kept; j < width; j++) if (values[from + j] !== sign) throw tooManyDigits(column, precision);
  }
  return found;
}

/** Bytes of a number in the column. */
function widthOf({ field }: ArrowColumn): number {
  return (field.type as { bitWidth: number }).bitWidth / 8;
}

function tooManyDigits({ field }: ArrowColumn, precision: number): Error {
  return columnError(
    "invalid_data",
    field,
    `it has a number that needs more bits than the ${precision} digits of its type`,
  );
}
