/**
 * Reads what an import must know of the content of buffers: how many bits are 0, and which runs cover a slice.
 *
 * @module
 */
import { type Scratch, scratch } from "./raw.ts";

/** Memory is read in pieces of this many bytes. */
const PIECE_BYTES = 8192;

type Copy = (target: bigint, source: bigint, byteLength: bigint) => void;

let piece: Scratch | null = null;

/**
 * Number of bits that are 0 in a bitmap.
 *
 * @param copy Copies memory of the space of the bitmap
 * @param at Its address
 * @param begin First bit
 * @param count Number of bits
 */
export function countNulls(copy: Copy, at: number, begin: number, count: number): number {
  piece ??= scratch(PIECE_BYTES);
  const { address, bytes, halves } = piece;
  const end = begin + count;
  let ones = 0;
  for (let byte = Math.floor(begin / 8); 8 * byte < end; byte += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, Math.ceil(end / 8) - byte);
    bytes.fill(0, length, Math.ceil(length / 4) * 4);
    copy(address, BigInt(at + byte), BigInt(length));
    if (8 * byte < begin) bytes[0] &= 0xff << (begin % 8);
    if (8 * (byte + length) > end) bytes[length - 1] &= 0xff >> (8 * (byte + length) - end);
    for (let i = 0; 4 * i < length; i++) ones += bitsOf(halves[i]);
  }
  return count - ones;
}

function bitsOf(word: number): number {
  let sum = word - ((word >>> 1) & 0x55555555);
  sum = (sum & 0x33333333) + ((sum >>> 2) & 0x33333333);
  return Math.imul((sum + (sum >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * The runs that cover some rows.
 *
 * @param copy Copies memory of the space of the run ends
 * @param at Their address
 * @param bits Bits of one: 16, 32 or 64
 * @param length Number of runs
 * @param begin First row
 * @param rows Number of rows, 1 or more
 * @returns The first of the runs and how many there are; `null` if the ends do not rise from 1 or more to `begin + rows` or more
 */
export function sliceRuns(
  copy: Copy,
  at: number,
  bits: number,
  length: number,
  begin: number,
  rows: number,
): { index: number; count: number } | null {
  piece ??= scratch(PIECE_BYTES);
  const { address, bytes } = piece;
  const view = new DataView(bytes.buffer);
  const width = bits / 8;
  const perPiece = PIECE_BYTES / width;
  let last = 0;
  let index = -1;
  for (let run = 0; run < length; run++) {
    const place = run % perPiece;
    if (place === 0) copy(address, BigInt(at + width * run), BigInt(width * Math.min(perPiece, length - run)));
    const end = bits === 16
      ? view.getInt16(2 * place, true)
      : bits === 32
      ? view.getInt32(4 * place, true)
      : Number(view.getBigInt64(8 * place, true));
    if (!(end > last)) return null;
    if (index < 0 && end > begin) index = run;
    if (end >= begin + rows) return { index, count: run - index + 1 };
    last = end;
  }
  return null;
}
