/**
 * Sequence numbers: unsigned 32-bit integers that wrap after 2³²−1.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerRefusal } from "../options.ts";

/** Largest sequence number; the next one is 0. */
const MAX_SEQUENCE = 0xFFFFFFFF;

/**
 * The sequence number after `sequence`.
 *
 * @param sequence u32
 */
export function nextSequence(sequence: number): number {
  return (sequence + 1) >>> 0;
}

/**
 * How far `to` lies after `from` on the circle of 2³² numbers: −2³¹ … 2³¹−1, negative if it lies before.
 *
 * @param from u32
 * @param to u32
 */
export function sequenceDistance(from: number, to: number): number {
  return (to - from) | 0;
}

/**
 * Returns `value` if it is a sequence number.
 *
 * @throws {DipcError} `invalid_argument` if it is not an integer from 0 to 2³²−1
 */
export function checkSequence(value: number): number {
  if (value >>> 0 !== value) {
    throw new DipcError("invalid_argument", integerRefusal("a sequence number", value, 0, MAX_SEQUENCE));
  }
  return value;
}
