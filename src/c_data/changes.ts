/**
 * Makes the buffers of slices usable: bits that begin at a byte, offsets that begin with 0, run ends of the slice alone.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { copyBits } from "../ipc/bitmap.ts";
import type { ArrayNumbers, Change } from "./numbers.ts";
import { scratch } from "./raw.ts";

/**
 * A copy of a buffer that needs a change.
 *
 * @param numbers Locations of the buffers
 * @param index The buffer
 */
export function changed(numbers: ArrayNumbers, index: number): Uint8Array<ArrayBuffer> {
  const { bytes } = scratch(numbers.buffers[2 * index + 1]);
  const target = bytes.subarray(0, numbers.buffers[2 * index + 1]);
  apply(numbers.changes!.get(index)!, numbers.at[index], target);
  return target;
}

/**
 * Writes a buffer into a body, changed if it needs that.
 *
 * @param numbers Locations of the buffers in memory, and their offsets in the body
 * @param index The buffer
 * @param body The body
 * @param address Address of the body
 */
export function writeBuffer(
  numbers: ArrayNumbers,
  index: number,
  body: Uint8Array<ArrayBuffer>,
  address: bigint,
): void {
  const start = numbers.buffers[2 * index], byteLength = numbers.buffers[2 * index + 1];
  if (byteLength === 0) return;
  const change = numbers.changes?.get(index);
  if (change !== undefined) apply(change, numbers.at[index], body.subarray(start, start + byteLength));
  else libc().memcpy(address + BigInt(start), BigInt(numbers.at[index]), BigInt(byteLength));
}

function apply(change: Change, at: number, target: Uint8Array<ArrayBuffer>): void {
  switch (change.kind) {
    case "bits":
      return copyBits(target, copyOf(at, Math.ceil((change.first + change.count) / 8)), change.first, change.count);
    case "offsets":
      return shift(copyOf(at, target.byteLength), target, change.bits, change.first, Infinity);
    case "runEnds":
      return shift(copyOf(at, target.byteLength), target, change.bits, change.first, change.rows);
  }
}

function copyOf(at: number, byteLength: number): Uint8Array<ArrayBuffer> {
  const copy = scratch(byteLength);
  libc().memcpy(copy.address, BigInt(at), BigInt(byteLength));
  return copy.bytes.subarray(0, byteLength);
}

/** Subtracts `first` from each number; none becomes larger than `most`. */
function shift(source: Uint8Array, target: Uint8Array, bits: number, first: number, most: number): void {
  const from = new DataView(source.buffer, source.byteOffset), to = new DataView(target.buffer, target.byteOffset);
  const width = bits / 8;
  for (let at = 0; at < target.byteLength; at += width) {
    if (bits === 16) to.setInt16(at, Math.min(from.getInt16(at, true) - first, most), true);
    else if (bits === 32) to.setInt32(at, Math.min(from.getInt32(at, true) - first, most), true);
    else to.setBigInt64(at, BigInt(Math.min(Number(from.getBigInt64(at, true)) - first, most)), true);
  }
}
