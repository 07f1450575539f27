/**
 * Sizes of blocks: few enough that a released block fits the next body of about its size.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { integerRefusal } from "../options.ts";

/** Classes are multiples of this, so that adjacent blocks are aligned. */
const ALIGNMENT = 256;

/**
 * Smallest size class that holds `byteLength`: four classes to each doubling, in multiples of 256.
 *
 * @param byteLength Bytes requested
 * @param smallest Size of the smallest class in bytes; a power of two
 * @param largestStep Most bytes between one class and the next; a power of two
 * @throws {DipcError} `invalid_argument` unless `byteLength` is an integer of 0 or more
 */
export function sizeClass(byteLength: number, smallest: number, largestStep: number = Infinity): number {
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    const max = Number.MAX_SAFE_INTEGER;
    throw new LocalError("invalid_argument", integerRefusal("the size of a block in bytes", byteLength, 0, max));
  }
  if (byteLength <= smallest) return smallest;
  const quarter = 2 ** (Math.floor(Math.log2(byteLength - 1)) - 2);
  const step = Math.min(Math.max(ALIGNMENT, quarter), largestStep);
  return Math.ceil(byteLength / step) * step;
}
