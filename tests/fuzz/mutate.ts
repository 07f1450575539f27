/**
 * Blind mutation of bytes.
 *
 * @module
 */
import { join } from "../support/bytes.ts";
import type { Random } from "../support/random.ts";

/** Numbers at which checks go wrong. */
const EDGES = [
  ...[0n, 1n, 2n, 4n, 7n, 8n, 15n, 16n, 63n, 64n, 127n, 128n, 255n, 256n, 32767n, 32768n, 65535n, 65536n],
  ...[2n ** 24n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n],
  ...[2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 8n, 2n ** 64n - 64n],
];

/**
 * A changed copy of `input`.
 *
 * @param input What to change
 * @param pool Other inputs to take pieces from
 * @param maxBytes Longest result
 */
export function mutateBytes(
  input: Uint8Array,
  pool: readonly Uint8Array[],
  random: Random,
  maxBytes: number,
): Uint8Array<ArrayBuffer> {
  let bytes = input.slice();
  const rounds = random.pick([1, 1, 1, 2, 3, 5, 8]);
  for (let round = 0; round < rounds; round++) bytes = mutateOnce(bytes, pool, random);
  return bytes.byteLength > maxBytes ? bytes.slice(0, maxBytes) : bytes;
}

function mutateOnce(
  bytes: Uint8Array<ArrayBuffer>,
  pool: readonly Uint8Array[],
  random: Random,
): Uint8Array<ArrayBuffer> {
  const length = bytes.byteLength;
  if (length === 0) return Uint8Array.from({ length: random.between(1, 8) }, () => random.below(256));
  const at = random.below(length);
  const other = pool.length > 0 && random.chance(0.5) ? random.pick(pool) : bytes;
  const from = random.below(other.byteLength + 1);
  switch (random.below(10)) {
    case 0:
      bytes[at] ^= 1 << random.below(8);
      return bytes;
    case 1:
      bytes[at] = random.below(256);
      return bytes;
    case 2:
      bytes[at] = (bytes[at] + random.pick([-1, 1, -2, 2, 4, -4, 8])) & 0xFF;
      return bytes;
    case 3:
    case 4:
      return putEdge(bytes, random);
    case 5: // cut the end
      return bytes.slice(0, at);
    case 6: // take a piece out
      return join(bytes.subarray(0, at), bytes.subarray(at + random.between(1, Math.max(1, length >> 2))));
    case 7: // put a piece in
      return join(bytes.subarray(0, at), other.subarray(from, from + random.between(1, 32)), bytes.subarray(at));
    case 8: // write a piece over
      bytes.set(other.slice(from, from + Math.min(random.between(1, 32), length - at)), at);
      return bytes;
    default: // the start of this and the end of another
      return join(bytes.subarray(0, at), other.subarray(random.pick([Math.min(at, other.byteLength), from])));
  }
}

function putEdge(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const width = random.pick([1, 2, 4, 4, 4, 8]);
  if (bytes.byteLength < width) return bytes;
  let at = random.below(bytes.byteLength - width + 1);
  if (random.chance(0.7)) at -= at % width;
  const value = random.pick(EDGES);
  for (let i = 0; i < width; i++) bytes[at + i] = Number(value >> BigInt(8 * i) & 0xFFn);
  return bytes;
}
