/**
 * The body of a message that has none.
 *
 * @module
 */
import type { Body } from "./block.ts";

const NOTHING = new Uint8Array(0);

/** A body of 0 bytes in host memory; shared, and unaffected by `release()`. */
export const EMPTY_BODY: Body = Object.freeze({
  space: "host",
  byteLength: 0,
  address: 0n,
  bytes: () => NOTHING,
  release: () => {},
});
