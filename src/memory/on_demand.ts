/**
 * Large arrays of the garbage collector: the system provides their pages as they are written.
 *
 * @module
 */
import { LocalError } from "../errors.ts";

/**
 * An array of zeros. Costs only what is written to it, however long it is.
 *
 * @param byteLength Length in bytes
 * @param what What it is for, for the message
 * @throws {DipcError} `out_of_memory`
 */
export function bytesOnDemand(byteLength: number, what: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    // V8 has no other reason to refuse a length that is a safe integer.
    throw new LocalError(
      "out_of_memory",
      `cannot allocate ${byteLength} bytes for ${what}: the system does not provide them; use smaller batches, or free memory`,
      { cause },
    );
  }
}
