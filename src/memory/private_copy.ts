/**
 * Bodies for readers who check them once and rely on that, such as native code.
 *
 * @module
 */
import type { Body } from "./block.ts";
import { hostPool } from "./host_pool.ts";

/**
 * The same bytes in memory that nobody else can write to. Takes the body over, unless it throws.
 *
 * @param body In host memory
 * @returns the body itself if that is so already, otherwise a copy
 * @throws {DipcError} `out_of_memory`
 */
export function privateCopy(body: Body): Body {
  if (body.isChangeable !== true) return body;
  const block = hostPool().acquire(body.byteLength);
  block.bytes().set(body.bytes());
  const copy = block.toBody(body.byteLength);
  body.release();
  return copy;
}
