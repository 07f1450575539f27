/**
 * A body whose buffers lie apart from each other, in memory that another library owns.
 *
 * @module
 */
import type { Body } from "./block.ts";

/**
 * A body that need not be in one piece: who knows it reads its buffers in place, and everybody else gets a contiguous
 * copy from `bytes()` and `address`, which is made when it is first needed.
 */
export interface ScatteredBody extends Body {
  /**
   * A buffer in place, as the columns of the batch need it.
   *
   * @param index Index of the buffer in the metadata of its message
   * @throws {DipcError} `closed` after release
   */
  bufferInPlace(index: number): Uint8Array<ArrayBuffer>;
}

/** Whether a body is one whose buffers lie apart. */
export function isScattered(body: Body): body is ScatteredBody {
  return "bufferInPlace" in body;
}
