/**
 * Parquet's hybrid of runs and packed bits, which holds levels and indices into dictionaries.
 *
 * @module
 */
import type { ByteBuffer } from "./byte_buffer.ts";

/** Bits that a number needs. */
export function bitsFor(most: number): number {
  return 32 - Math.clz32(most);
}

/** Shortest repetition that becomes a run; numbers are packed in groups of as many. */
const GROUP = 8;

/**
 * Appends numbers.
 *
 * @param out Receives the bytes
 * @param values Numbers that are not negative
 * @param count How many of them
 * @param width Bits of each number, at most 31; with 0 they must all be 0
 */
export function appendHybrid(out: ByteBuffer, values: Uint8Array | Int32Array, count: number, width: number): void {
  // Packed at worst, and each group of 8 has a header at worst.
  out.reserve(16 + Math.ceil(count / GROUP) * (width + 5 + Math.ceil(width / 8)));
  let packedFrom = 0;
  let at = 0;
  while (at < count) {
    const value = values[at];
    let end = at + 1;
    while (end < count && values[end] === value) end++;
    // Groups before a run must be whole: they take values of its beginning.
    const missing = (GROUP - (at - packedFrom) % GROUP) % GROUP;
    if (end - at >= GROUP + missing) {
      if (at > packedFrom) appendPacked(out, values, packedFrom, at + missing, width);
      appendRun(out, value, end - at - missing, width);
      packedFrom = end;
    }
    at = end;
  }
  if (count > packedFrom) appendPacked(out, values, packedFrom, count, width);
}

/** Appends one number, repeated. */
export function appendRun(out: ByteBuffer, value: number, count: number, width: number): void {
  appendVarint(out, count * 2);
  for (let bits = 0; bits < width; bits += 8) out.push(value >>> bits & 0xff);
}

function appendPacked(
  out: ByteBuffer,
  values: Uint8Array | Int32Array,
  from: number,
  to: number,
  width: number,
): void {
  const groups = Math.ceil((to - from) / GROUP);
  appendVarint(out, groups * 2 + 1);
  const end = out.length + groups * width;
  out.reserve(groups * width);
  const { bytes } = out;
  let at = out.length;
  // Fewer than 8 bits wait here, so that 31 more fit into the 53 of a number; shifts would have but 32.
  let waiting = 0, bits = 0;
  if (width <= 24) {
    for (let i = from; i < to; i++) {
      waiting |= values[i] << bits;
      for (bits += width; bits >= 8; bits -= 8) {
        bytes[at++] = waiting;
        waiting >>>= 8;
      }
    }
  } else {
    for (let i = from; i < to; i++) {
      waiting += values[i] * 2 ** bits;
      for (bits += width; bits >= 8; bits -= 8) {
        bytes[at++] = waiting % 256;
        waiting = Math.floor(waiting / 256);
      }
    }
  }
  if (bits > 0) bytes[at++] = waiting;
  bytes.fill(0, at, end);
  out.length = end;
}

function appendVarint(out: ByteBuffer, value: number): void {
  for (; value >= 0x80; value = Math.floor(value / 128)) out.push(value % 128 | 0x80);
  out.push(value);
}
