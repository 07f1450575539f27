/**
 * Parquet's plain encoding of values that are not numbers.
 *
 * @module
 */
import type { ByteBuffer } from "./byte_buffer.ts";
import type { DataPage } from "./data_pages.ts";
import type { ByteRuns } from "./leaf_values.ts";

/** Values shorter than this are copied byte by byte, which is faster than a call. */
const SHORT = 24;

/**
 * Appends values of any length, each after its length.
 *
 * @param total Bytes of all of them together with their lengths
 */
export function appendRuns(out: ByteBuffer, { count, bytes, starts, ends }: ByteRuns, total: number): void {
  out.reserve(total);
  const target = out.bytes;
  let at = out.length;
  for (let i = 0; i < count; i++) {
    const start = starts[i], end = ends[i], length = end - start;
    target[at] = length;
    target[at + 1] = length >> 8;
    target[at + 2] = length >> 16;
    target[at + 3] = length >> 24;
    at += 4;
    if (length < SHORT) { for (let from = start; from < end; from++) target[at++] = bytes[from]; }
    else {
      target.set(bytes.subarray(start, end), at);
      at += length;
    }
  }
  out.length = at;
}

/** Appends truth values, a bit each, after those that the page has. */
export function appendBools(page: DataPage, values: Uint8Array): void {
  const out = page.plain;
  let bit = page.bits;
  for (let i = 0; i < values.length; i++) {
    if ((bit & 7) === 0) out.push(0);
    if (values[i] !== 0) out.bytes[bit >> 3] |= 1 << (bit & 7);
    bit++;
  }
  page.bits = bit;
}
