/**
 * Lists of addresses: the content of a body of type 1, and of the messages that give its memory back.
 *
 * A body of type 1: u64 bytes of all buffers together, u64 number of buffers, then for each buffer of the metadata, in order, u64
 * address and u64 length. A buffer without bytes is (0, 0), and is never freed. A `free_data` message: one or more u64 addresses.
 * All numbers are little-endian.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerIn } from "../options.ts";

const HEAD_BYTES = 16, PAIR_BYTES = 16, ADDRESS_BYTES = 8;
/** Values of the lower half of a u64. */
const WORD = 2 ** 32;
const MAX_U64 = 0xFFFFFFFFFFFFFFFFn;

/** Most addresses of one `free_data` message. */
export const MAX_FREED = 4096;

/** Bytes of a list for so many buffers. */
export function addressListBytes(buffers: number): number {
  return HEAD_BYTES + buffers * PAIR_BYTES;
}

/**
 * Writes the list of a body whose buffers lie as in a packed one.
 *
 * @param target Room for it: {@linkcode addressListBytes}
 * @param address Address of the body's first byte, u64
 * @param buffers Offset and length of each buffer in the body, as in the metadata: 2 numbers per buffer
 */
export function writeAddressList(
  target: Uint8Array<ArrayBuffer>,
  address: bigint,
  buffers: ArrayLike<number>,
): void {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const count = buffers.length / 2;
  const low = Number(address & 0xFFFFFFFFn), high = Number(address >> 32n);
  let total = 0;
  for (let i = 0, at = HEAD_BYTES; i < count; i++, at += PAIR_BYTES) {
    const length = buffers[2 * i + 1];
    total += length;
    if (length === 0) {
      setWords(view, at, 0, 0);
    } else {
      const sum = low + buffers[2 * i];
      setWords(view, at, sum, high + Math.floor(sum / WORD));
    }
    setWords(view, at + ADDRESS_BYTES, length, Math.floor(length / WORD));
  }
  setWords(view, 0, total, Math.floor(total / WORD));
  setWords(view, ADDRESS_BYTES, count, 0);
}

/** Writes a u64 of two words: that takes a fraction of the time of a bigint. What is above 32 bits of each does not count. */
function setWords(view: DataView, at: number, low: number, high: number): void {
  view.setUint32(at, low, true);
  view.setUint32(at + 4, high, true);
}

/** The memory that the addresses of a list lie in. */
export interface AddressRange {
  /** Its first address, u64. */
  readonly base: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
}

/** A list that was checked: the place of each buffer. */
export interface AddressList {
  /** Offset of each buffer from the start of the memory, in order; 0 for one without bytes. */
  readonly offsets: Float64Array<ArrayBuffer>;
  /**
   * Offset of the first byte of a packed body that has its buffers in these places; −1 if they lie otherwise, or if such a body
   * would not be inside the memory as a whole.
   */
  readonly packedAt: number;
}

/** What a list must agree with: the metadata of its message. */
export interface ListedBody {
  /** Bytes of the packed body. */
  readonly bodyLength: number;
  /** Offset and length of each buffer in the packed body: 2 numbers per buffer. */
  readonly buffers: ArrayLike<number>;
}

/** Buffers are aligned to this many bytes, as in a packed body. */
const ALIGNMENT = 8n;

/**
 * Reads a list of addresses, and checks all of it against the metadata and against the memory, before anything is read there.
 *
 * @param list The tagged message
 * @param body The metadata of the same message
 * @param range Memory in which every buffer must lie
 * @throws {DipcError} `protocol` naming the first number that is wrong
 */
export function parseAddressList(list: Uint8Array, body: ListedBody, range: AddressRange): AddressList {
  const { buffers } = body;
  const count = buffers.length / 2;
  if (list.byteLength < HEAD_BYTES) throw refused(`it has ${list.byteLength} bytes, expected at least ${HEAD_BYTES}`);
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const announced = view.getBigUint64(8, true);
  if (announced !== BigInt(count)) throw refused(`it is for ${announced} buffers, the metadata has ${count}`);
  if (list.byteLength !== addressListBytes(count)) {
    throw refused(
      `it has ${list.byteLength} bytes, expected ${addressListBytes(count)} for ${count} buffers`,
    );
  }
  const offsets = new Float64Array(count);
  const end = range.base + BigInt(range.byteLength);
  let total = 0, start = -1, isPacked = true;
  for (let i = 0; i < count; i++) {
    const address = view.getBigUint64(HEAD_BYTES + i * PAIR_BYTES, true);
    const length = view.getBigUint64(HEAD_BYTES + i * PAIR_BYTES + 8, true);
    const expected = buffers[2 * i + 1];
    if (length !== BigInt(expected)) throw refused(`buffer ${i} has ${length} bytes, the metadata has ${expected}`);
    if (expected === 0) {
      if (address !== 0n) throw refused(`buffer ${i} has no bytes, but the address ${address}`);
      continue;
    }
    if (address < range.base || address + length > end) {
      throw refused(`buffer ${i}, ${length} bytes at ${address}, is not inside ${range.base} to ${end}`);
    }
    if ((address - range.base) % ALIGNMENT !== 0n) throw refused(`buffer ${i} at ${address} is not aligned to 8 bytes`);
    const offset = Number(address - range.base);
    offsets[i] = offset;
    total += expected;
    const first = offset - buffers[2 * i];
    if (start === -1) start = first;
    else if (start !== first) isPacked = false;
  }
  const announcedTotal = view.getBigUint64(0, true);
  if (announcedTotal !== BigInt(total)) {
    throw refused(`its total is ${announcedTotal} bytes, its buffers have ${total}`);
  }
  const fits = start >= 0 && start + body.bodyLength <= range.byteLength;
  if (!isPacked) checkOverlap(offsets, buffers);
  return { offsets, packedAt: isPacked && fits ? start : -1 };
}

/**
 * What has to be given back for a list: the address of every buffer that has bytes.
 *
 * @param list The list
 * @param body The metadata of the same message
 * @param base First address of the memory
 */
export function addressesIn({ offsets }: AddressList, { buffers }: ListedBody, base: bigint): bigint[] {
  const addresses: bigint[] = [];
  for (let i = 0; i < offsets.length; i++) if (buffers[2 * i + 1] > 0) addresses.push(base + BigInt(offsets[i]));
  return addresses;
}

/** A buffer may be listed twice; otherwise no two of them share a byte. In a packed body the metadata has decided that. */
function checkOverlap(offsets: Float64Array, buffers: ArrayLike<number>): void {
  const order = Array.from(offsets.keys()).filter((i) => buffers[2 * i + 1] > 0).sort((a, b) =>
    offsets[a] - offsets[b]
  );
  for (let k = 1; k < order.length; k++) {
    const [before, after] = [order[k - 1], order[k]];
    const isSame = offsets[before] === offsets[after] && buffers[2 * before + 1] === buffers[2 * after + 1];
    if (!isSame && offsets[before] + buffers[2 * before + 1] > offsets[after]) {
      throw refused(`buffers ${before} and ${after} overlap`);
    }
  }
}

function refused(why: string): DipcError {
  return new DipcError("protocol", `cannot use a list of addresses: ${why}`);
}

/**
 * Encodes a `free_data` message.
 *
 * @param addresses 1 to {@linkcode MAX_FREED} addresses as they were received, u64
 * @throws {DipcError} `invalid_argument` if there are none or too many, or one is out of range
 */
export function encodeFreed(addresses: readonly bigint[]): Uint8Array<ArrayBuffer> {
  integerIn("the number of addresses", addresses.length, 1, MAX_FREED);
  const words = new BigUint64Array(addresses.length);
  for (let i = 0; i < words.length; i++) {
    const address = addresses[i];
    if (address < 0n || address > MAX_U64) {
      throw new DipcError("invalid_argument", `cannot free the address ${address}: it is not a u64`);
    }
    words[i] = address;
  }
  return new Uint8Array(words.buffer);
}

/**
 * Reads a `free_data` message.
 *
 * @throws {DipcError} `protocol` if it is empty, too long, or not a multiple of 8 bytes
 */
export function parseFreed(bytes: Uint8Array): BigUint64Array<ArrayBuffer> {
  const count = bytes.byteLength / ADDRESS_BYTES;
  if (count === 0 || count > MAX_FREED || !Number.isInteger(count)) {
    throw new DipcError(
      "protocol",
      `cannot read a free_data message: it has ${bytes.byteLength} bytes, expected 1 to ${MAX_FREED} addresses of 8 bytes`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const addresses = new BigUint64Array(count);
  for (let i = 0; i < count; i++) addresses[i] = view.getBigUint64(i * ADDRESS_BYTES, true);
  return addresses;
}
