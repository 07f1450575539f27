/**
 * A decoder of LZ4 frames for data from untrusted peers: it never writes past the size that the caller expects and never
 * reads past its input. Follows the LZ4 frame and block format descriptions; checksums are skipped, not verified.
 *
 * @module
 */

import { ContentSizeError } from "./content_size.ts";

const MAGIC = 0x184d2204;

/**
 * Decompresses one LZ4 frame.
 *
 * @param input One LZ4 frame
 * @param size Size of its content in bytes
 * @throws {RangeError} if the frame is malformed or its content is not exactly `size` bytes
 */
export function decompressLz4Frame(input: Uint8Array, size: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const end = input.byteLength;
  if (end < 7 || view.getUint32(0, true) !== MAGIC) throw new RangeError("not an LZ4 frame");
  const flags = input[4];
  if (flags >> 6 !== 1) throw new RangeError(`LZ4 frame version ${flags >> 6}, expected 1`);
  if ((flags & 1) !== 0) throw new RangeError("LZ4 frame needs a dictionary, which Arrow does not use");
  const blockChecksum = (flags & 0x10) !== 0;
  const contentSize = (flags & 0x08) !== 0;
  if (contentSize) {
    if (end < 15) throw new RangeError("LZ4 frame header is cut off");
    const declared = view.getBigUint64(6, true);
    if (declared !== BigInt(size)) throw new ContentSizeError(`LZ4 frame declares ${declared} bytes, expected ${size}`);
  }
  // Magic, flags, block descriptor, optional content size, header checksum.
  let at = contentSize ? 15 : 7;
  // One byte of input gives at most 255 bytes of output: fails before allocating when the input is too short.
  if (size > 255 * end) throw new ContentSizeError(`${end} bytes of LZ4 cannot hold ${size}`);
  const output = new Uint8Array(size);
  let written = 0;
  for (;;) {
    if (at + 4 > end) throw new RangeError("LZ4 frame ends before its end mark");
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) break;
    const length = word & 0x7fffffff;
    if (at + length > end) throw new RangeError(`LZ4 block of ${length} bytes is cut off`);
    if (word >>> 31 === 1) {
      if (written + length > size) throw new ContentSizeError(`content is longer than ${size} bytes`);
      output.set(input.subarray(at, at + length), written);
      written += length;
    } else {
      written = decompressBlock(input, at, at + length, output, written);
    }
    at += length + (blockChecksum ? 4 : 0);
  }
  if (written !== size) throw new ContentSizeError(`content is ${written} bytes, expected ${size}`);
  return output;
}

/** Decompresses one block after the output so far, to which its matches may refer; returns the new end. */
function decompressBlock(input: Uint8Array, from: number, end: number, output: Uint8Array, start: number): number {
  const limit = output.byteLength;
  let at = from;
  let to = start;
  while (at < end) {
    const token = input[at++];
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= end) throw new RangeError("LZ4 literal length is cut off");
        more = input[at++];
        literals += more;
      } while (more === 255);
    }
    if (literals > end - at) throw new RangeError("LZ4 literals are cut off");
    if (literals > limit - to) throw new ContentSizeError(`content is longer than ${limit} bytes`);
    if (literals > 32) {
      output.set(input.subarray(at, at + literals), to);
      at += literals;
      to += literals;
    } else {
      for (const stop = at + literals; at < stop;) output[to++] = input[at++];
    }
    // The last sequence has no match.
    if (at === end) return to;
    if (at + 2 > end) throw new RangeError("LZ4 match offset is cut off");
    const offset = input[at] | (input[at + 1] << 8);
    at += 2;
    if (offset === 0 || offset > to) throw new RangeError(`LZ4 match offset ${offset} points before the content`);
    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do {
        if (at >= end) throw new RangeError("LZ4 match length is cut off");
        more = input[at++];
        length += more;
      } while (more === 255);
    }
    if (length > limit - to) throw new ContentSizeError(`content is longer than ${limit} bytes`);
    if (offset >= length && length > 32) {
      output.copyWithin(to, to - offset, to - offset + length);
      to += length;
    } else if (offset === 1 && length > 32) {
      output.fill(output[to - 1], to, to + length);
      to += length;
    } else {
      // Source and target overlap: bytes just written are read again.
      for (const stop = to + length; to < stop; to++) output[to] = output[to - offset];
    }
  }
  throw new RangeError("LZ4 block ends in the middle of a sequence");
}
