/**
 * The Huffman code of HPACK (RFC 7541, appendix B), decoding only: what this side sends is not compressed.
 *
 * The code is canonical: within one length, codes increase with the symbol. The lengths alone therefore determine it.
 *
 * @module
 */

/** Bits of the code of each byte value, and of the end-of-string symbol at 256. */
// deno-fmt-ignore
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const END_OF_STRING = 256;
/** Longest run of bits that may fill the last byte. */
const MAX_PADDING_BITS = 7;

/**
 * The tree: entry `2 * node + bit` is the next node, or `-1 - symbol` at a leaf. Node 0 is the root.
 */
const TREE: Int16Array = buildTree();

function buildTree(): Int16Array {
  const tree = new Int16Array(2 * END_OF_STRING);
  const symbols = LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a] - LENGTHS[b] || a - b);
  let nodes = 1;
  let code = 0;
  let length = LENGTHS[symbols[0]];
  for (const symbol of symbols) {
    code *= 2 ** (LENGTHS[symbol] - length);
    length = LENGTHS[symbol];
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const at = 2 * node + ((code >>> bit) & 1);
      if (tree[at] === 0) tree[at] = nodes++;
      node = tree[at];
    }
    tree[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  return tree;
}

/**
 * Decodes one string.
 *
 * @param bytes The string as compressed, without its length
 * @returns The string with one character per byte, or `null` if the bytes are not valid
 */
export function decodeHuffman(bytes: Uint8Array): string | null {
  // The shortest code has 5 bits.
  const out = new Uint8Array(Math.floor(bytes.byteLength * 8 / 5));
  let length = 0;
  let node = 0;
  let pending = 0;
  let allOnes = true;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const value = (byte >>> bit) & 1;
      const next = TREE[2 * node + value];
      pending++;
      allOnes &&= value === 1;
      if (next >= 0) {
        node = next;
        continue;
      }
      const symbol = -1 - next;
      if (symbol === END_OF_STRING) return null;
      out[length++] = symbol;
      node = 0;
      pending = 0;
      allOnes = true;
    }
  }
  if (pending > MAX_PADDING_BITS || !allOnes) return null;
  return latin1(out.subarray(0, length));
}

/** Characters converted at once: a call may not have arbitrarily many arguments. */
const PIECE = 8192;

/** Makes a string with one character per byte. */
export function latin1(bytes: Uint8Array): string {
  if (bytes.byteLength <= PIECE) return String.fromCharCode(...bytes);
  let text = "";
  for (let at = 0; at < bytes.byteLength; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return text;
}
