/**
 * Checks that text is UTF-8, without which other readers refuse a whole file.
 *
 * @module
 */
import { isAscii, isUtf8 } from "node:buffer";
import type { FieldLayout } from "../../ipc/layout.ts";
import { columnError } from "./arrow_columns.ts";
import type { ByteRuns } from "./leaf_values.ts";

/** @throws {DipcError} `invalid_data` if a value is not UTF-8 */
export function checkText(field: FieldLayout, { count, bytes, starts, ends }: ByteRuns): void {
  if (count === 0) return;
  let from = starts[0], to = ends[0];
  for (let i = 1; i < count; i++) {
    if (starts[i] < from) from = starts[i];
    if (ends[i] > to) to = ends[i];
  }
  const all = bytes.subarray(from, to);
  if (isAscii(all)) return;
  // If all of it is UTF-8, so is each value that begins and ends between characters; what lies between values need not be.
  const isWhole = isUtf8(all);
  for (let i = 0; i < count; i++) {
    const start = starts[i], end = ends[i];
    const isGood = isWhole
      ? isBoundary(bytes, start, to) && isBoundary(bytes, end, to)
      : isUtf8(bytes.subarray(start, end));
    if (!isGood) throw columnError("invalid_data", field, "it has text that is not UTF-8");
  }
}

/** Whether a place is not inside of a character. */
function isBoundary(bytes: Uint8Array, at: number, end: number): boolean {
  return at >= end || (bytes[at] & 0xc0) !== 0x80;
}
