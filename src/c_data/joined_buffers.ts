/**
 * Buffers of several chunks as one: bytes, bits and integers one after another.
 *
 * @module
 */
import { copyBits } from "../ipc/bitmap.ts";

/** The sum of some numbers. */
export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Zeros in memory of their own. */
export function fresh(byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(byteLength));
}

/** The first bytes of each part, one part after another. */
export function joined(parts: readonly Uint8Array[], byteLengths: readonly number[]): Uint8Array<ArrayBuffer> {
  const out = fresh(sum(byteLengths));
  let at = 0;
  parts.forEach((part, i) => {
    out.set(part.subarray(0, byteLengths[i]), at);
    at += byteLengths[i];
  });
  return out;
}

/** The first bits of each part, one part after another. */
export function joinedBits(parts: readonly Uint8Array[], lengths: readonly number[]): Uint8Array<ArrayBuffer> {
  const out = fresh(Math.ceil(sum(lengths) / 8));
  let at = 0;
  parts.forEach((part, i) => {
    const bits = fresh(Math.ceil(lengths[i] / 8) + 1);
    if (lengths[i] > 0) copyBits(bits, part, 0, lengths[i]);
    const shift = at % 8;
    let byte = Math.floor(at / 8);
    for (let k = 0; k < Math.ceil(lengths[i] / 8); k++, byte++) {
      out[byte] |= bits[k] << shift;
      if (shift > 0 && byte + 1 < out.byteLength) out[byte + 1] |= bits[k] >> (8 - shift);
    }
    at += lengths[i];
  });
  return out;
}

/** A signed integer of 2, 4 or 8 bytes. */
export function readInteger(view: DataView, index: number, width: number): number {
  return width === 2
    ? view.getInt16(2 * index, true)
    : width === 4
    ? view.getInt32(4 * index, true)
    : Number(view.getBigInt64(8 * index, true));
}

/** Writes a signed integer of 2, 4 or 8 bytes. */
export function writeInteger(view: DataView, index: number, width: number, value: number): void {
  if (width === 2) view.setInt16(2 * index, value, true);
  else if (width === 4) view.setInt32(4 * index, value, true);
  else view.setBigInt64(8 * index, BigInt(value), true);
}

/** Joined integers, to each of which the base of its part is added. */
export function shifted(
  parts: readonly Uint8Array[],
  lengths: readonly number[],
  width: number,
  bases: readonly number[],
): Uint8Array<ArrayBuffer> {
  const out = joined(parts, lengths.map((length) => length * width));
  const view = new DataView(out.buffer);
  let at = 0;
  lengths.forEach((length, part) => {
    for (let i = 0; i < length; i++, at++) writeInteger(view, at, width, readInteger(view, at, width) + bases[part]);
  });
  return out;
}

/** A copy of run ends, none of which is larger than the length of the column. */
export function cappedRuns(bytes: Uint8Array, count: number, width: number, most: number): Uint8Array {
  const out = bytes.slice(0, count * width);
  const view = new DataView(out.buffer);
  for (let i = 0; i < count; i++) {
    if (readInteger(view, i, width) > most) writeInteger(view, i, width, most);
  }
  return out;
}
