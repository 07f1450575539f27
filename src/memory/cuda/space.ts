/**
 * Names of memory spaces: `"host"`, and `"cuda:N"` for the memory of a GPU.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { refusal } from "../../options.ts";

/** The largest ordinal that a space may name; far larger than any machine has. */
const LARGEST_ORDINAL = 1023;

/**
 * The device of a memory space.
 *
 * @param space `"host"` or `"cuda:N"`, N without leading zeros
 * @returns N, or `null` for host memory
 * @throws {DipcError} `invalid_argument` for anything else
 */
export function parseSpace(space: string): number | null {
  if (space === "host") return null;
  const match = /^cuda:(0|[1-9]\d{0,3})$/.exec(space);
  if (match === null || Number(match[1]) > LARGEST_ORDINAL) {
    throw new LocalError(
      "invalid_argument",
      refusal("this memory space", space, '"host", or "cuda:N" with N the number of a GPU, such as "cuda:0"'),
    );
  }
  return Number(match[1]);
}

/**
 * The memory space of a device.
 *
 * @param ordinal Number of the device, counted as the driver counts
 */
export function deviceSpace(ordinal: number): string {
  return `cuda:${ordinal}`;
}
