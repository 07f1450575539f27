/**
 * Arrays in the memory of the garbage collector, and where they are.
 *
 * @module
 */
import type { ArrayNumbers } from "./numbers.ts";

/** The buffers of a tree. */
export interface TreeBuffers {
  readonly length: number;
  readonly get: (index: number) => Uint8Array<ArrayBuffer>;
}

/** A tree of arrays whose buffers are in the memory of the garbage collector. */
export interface LocatedTree {
  readonly numbers: ArrayNumbers;
  /** The bytes of each buffer. */
  readonly buffers: TreeBuffers;
}

/** Numbers of a tree whose buffers are in the memory of the garbage collector. */
export function placed(
  rows: number,
  nodes: readonly number[],
  variadicCounts: readonly number[],
  buffers: readonly Uint8Array<ArrayBuffer>[],
): LocatedTree {
  const at = new Float64Array(buffers.length), sizes = new Float64Array(2 * buffers.length);
  buffers.forEach((bytes, i) => {
    sizes[2 * i + 1] = bytes.byteLength;
    if (bytes.byteLength > 0) at[i] = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
  });
  const numbers: ArrayNumbers = {
    rows,
    nodes: Float64Array.from(nodes),
    buffers: sizes,
    at,
    variadicCounts: Float64Array.from(variadicCounts),
    bodyLength: 0,
    changes: null,
    leads: null,
  };
  return { numbers, buffers: { length: buffers.length, get: (index) => buffers[index] } };
}
