/**
 * Copies ranges of bitmaps so that they start at bit 0, a byte at a time rather than bit by bit.
 *
 * @module
 */

/**
 * Writes `length` bits of `source`, from bit `offset` on, to the start of `target`. Bits after them in the last byte, and
 * bits past the end of `source`, are written as 0.
 *
 * @param target At least ⌈length ÷ 8⌉ bytes
 * @param source Bitmap, least significant bit first
 * @param offset First bit to copy
 * @param length Number of bits
 */
export function copyBits(target: Uint8Array, source: Uint8Array, offset: number, length: number): void {
  const bytes = Math.ceil(length / 8);
  const first = Math.floor(offset / 8);
  const shift = offset % 8;
  if (shift === 0) {
    const available = Math.max(0, Math.min(bytes, source.byteLength - first));
    target.set(source.subarray(first, first + available));
    target.fill(0, available, bytes);
  } else {
    const up = 8 - shift;
    for (let i = 0; i < bytes; i++) {
      // Bytes past the end read as undefined, which counts as 0 here.
      target[i] = (source[first + i] >> shift) | (source[first + i + 1] << up);
    }
  }
  if (length % 8 !== 0) target[bytes - 1] &= (1 << (length % 8)) - 1;
}
