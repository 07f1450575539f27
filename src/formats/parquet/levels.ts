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

/** Numbers are packed in groups of as many; a group that repeats one number begins a run. */
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
  let packedFrom = 0;
  let at = 0;
  while (at + GROUP <= count) {
    const value = values[at];
    let end = at + 1;
    while (end < at + GROUP && values[end] === value) end++;
    if (end < at + GROUP) {
      at += GROUP;
      continue;
    }
    while (end < count && values[end] === value) end++;
    if (at > packedFrom) appendPacked(out, values, packedFrom, at, width);
    appendRun(out, value, end - at, width);
    packedFrom = at = end;
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
  const groups = Math.ceil((to - from) / GROUP), byteLength = groups * width;
  appendVarint(out, groups * 2 + 1);
  const words = new Int32Array(Math.ceil(byteLength / 4));
  let at = 0, waiting = 0, bits = 0;
  for (let i = from; i < to; i++) {
    const value = values[i];
    waiting |= value << bits;
    bits += width;
    if (bits >= 32) {
      words[at++] = waiting;
      bits -= 32;
      waiting = bits > 0 ? value >>> (width - bits) : 0;
    }
  }
  if (bits > 0) words[at] = waiting;
  out.append(new Uint8Array(words.buffer, 0, byteLength));
}

function appendVarint(out: ByteBuffer, value: number): void {
  for (; value >= 0x80; value = Math.floor(value / 128)) out.push(value % 128 | 0x80);
  out.push(value);
}
