/**
 * Blind mutation of bytes, in place: a fuzzer makes no garbage but what its target takes.
 *
 * @module
 */
import type { Random } from "../support/random.ts";

/** Numbers at which checks go wrong. */
const NUMBERS = [
  ...[0n, 1n, 2n, 4n, 7n, 8n, 15n, 16n, 63n, 64n, 127n, 128n, 255n, 256n, 32767n, 32768n, 65535n, 65536n],
  ...[2n ** 24n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n],
  ...[2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 8n, 2n ** 64n - 64n],
];
const EDGES = new Uint8Array(BigUint64Array.from(NUMBERS).buffer);
const ROUNDS = [1, 1, 1, 2, 3, 5, 8];
const STEPS = [-1, 1, -2, 2, 4, -4, 8];
const WIDTHS = [1, 2, 4, 4, 4, 8];
/** Longest piece that is moved, in bytes. */
const PIECE_BYTES = 32;

/**
 * Changes bytes in place.
 *
 * @param bytes What to change, with room for the result
 * @param length How many of them there are
 * @param pool Other inputs to take pieces from
 * @param maxBytes Longest result, at most the room
 * @returns how many there are now
 */
export function mutateBytes(
  bytes: Uint8Array,
  length: number,
  pool: readonly Uint8Array[],
  random: Random,
  maxBytes: number,
): number {
  let now = Math.min(length, maxBytes);
  for (let rounds = random.pick(ROUNDS); rounds > 0; rounds--) now = mutateOnce(bytes, now, pool, random, maxBytes);
  return now;
}

function mutateOnce(
  bytes: Uint8Array,
  length: number,
  pool: readonly Uint8Array[],
  random: Random,
  maxBytes: number,
): number {
  if (length === 0) {
    const more = Math.min(maxBytes, random.between(1, 8));
    for (let i = 0; i < more; i++) bytes[i] = random.below(256);
    return more;
  }
  const at = random.below(length);
  switch (random.below(10)) {
    case 0:
      bytes[at] ^= 1 << random.below(8);
      return length;
    case 1:
      bytes[at] = random.below(256);
      return length;
    case 2:
      bytes[at] += random.pick(STEPS);
      return length;
    case 3:
    case 4:
      putEdge(bytes, length, random);
      return length;
    case 5: // cut the end
      return at;
    case 6: { // take a piece out
      const cut = Math.min(length - at, random.between(1, Math.max(1, length >> 2)));
      bytes.copyWithin(at, at + cut, length);
      return length - cut;
    }
    case 7: { // put a piece in
      const piece = pieceOf(bytes, length, pool, random, Math.min(PIECE_BYTES, maxBytes - length));
      bytes.copyWithin(at + piece.byteLength, at, length);
      bytes.set(piece, at);
      return length + piece.byteLength;
    }
    case 8: // write a piece over
      bytes.set(pieceOf(bytes, length, pool, random, Math.min(PIECE_BYTES, length - at)), at);
      return length;
    default: { // the start of this and the end of another
      const other = random.pick(pool);
      const from = random.chance(0.5) ? Math.min(at, other.byteLength) : random.below(other.byteLength + 1);
      const end = other.subarray(from, from + maxBytes - at);
      bytes.set(end, at);
      return at + end.byteLength;
    }
  }
}

/** A copy of up to `most` bytes, of these or of others. */
function pieceOf(
  bytes: Uint8Array,
  length: number,
  pool: readonly Uint8Array[],
  random: Random,
  most: number,
): Uint8Array {
  const other = random.chance(0.5) ? random.pick(pool) : bytes.subarray(0, length);
  const from = random.below(other.byteLength + 1);
  return other.slice(from, from + Math.min(most, random.between(1, PIECE_BYTES)));
}

function putEdge(bytes: Uint8Array, length: number, random: Random): void {
  const width = random.pick(WIDTHS);
  if (length < width) return;
  let at = random.below(length - width + 1);
  if (random.chance(0.7)) at -= at % width;
  const edge = 8 * random.below(NUMBERS.length);
  for (let i = 0; i < width; i++) bytes[at + i] = EDGES[edge + i];
}
