/**
 * Lists of addresses: the content of a type-1 body, and of the `free_data` message that gives its memory back.
 *
 * Type-1 body: u64 total bytes, u64 number of buffers, then for each buffer u64 address or offset and u64 length.
 * `free_data` message: one or more u64 addresses. All little-endian.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerIn, integerRefusal } from "../options.ts";

/** A type-1 body, taken apart. */
export interface AddressList {
  /** Total bytes of the body. */
  readonly totalBytes: number;
  /** Address, or offset in the remote region, of each buffer. */
  readonly addresses: BigUint64Array<ArrayBuffer>;
  /** Bytes of each buffer. */
  readonly lengths: Float64Array<ArrayBuffer>;
}

/** Most buffers in one list unless told otherwise. */
export const MAX_ADDRESSES = 1 << 20;

const HEAD_BYTES = 16, PAIR_BYTES = 16, ADDRESS_BYTES = 8;
const TOP = 1n << 64n;
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Encodes a type-1 body.
 *
 * @param totalBytes Total bytes of the body
 * @param addresses Address or offset of each buffer, u64
 * @param lengths Bytes of each buffer
 * @throws {DipcError} `invalid_argument` where the lists differ in length or a number is out of range
 */
export function encodeAddressList(
  totalBytes: number,
  addresses: ArrayLike<bigint>,
  lengths: ArrayLike<number>,
): Uint8Array<ArrayBuffer> {
  const count = addresses.length;
  if (count !== lengths.length) {
    throw new DipcError("invalid_argument", `a list has ${count} addresses but ${lengths.length} lengths`);
  }
  const bytes = new Uint8Array(HEAD_BYTES + count * PAIR_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, size(totalBytes), true);
  view.setBigUint64(8, BigInt(count), true);
  for (let i = 0; i < count; i++) {
    const address = addresses[i];
    const length = size(lengths[i]);
    if (address < 0n || address + length > TOP) {
      throw new DipcError("invalid_argument", `buffer ${i} at ${address} with ${length} bytes lies outside 64 bits`);
    }
    view.setBigUint64(HEAD_BYTES + i * PAIR_BYTES, address, true);
    view.setBigUint64(HEAD_BYTES + i * PAIR_BYTES + 8, length, true);
  }
  return bytes;
}

function size(value: number): bigint {
  return BigInt(integerIn("a number of bytes", value, 0));
}

/**
 * Reads a type-1 body. Nothing is known afterwards about whether its addresses lie in the peer's region: that is for
 * whoever maps the region to check.
 *
 * @param bytes The tagged message
 * @param options `maxBuffers`: most buffers; `regionBytes`: size of the region that the addresses are offsets in
 * @throws {DipcError} `protocol` where a number does not fit the others, `limit_exceeded` where there are too many buffers
 */
export function parseAddressList(
  bytes: Uint8Array,
  options: { maxBuffers?: number; regionBytes?: number } = {},
): AddressList {
  const { maxBuffers = MAX_ADDRESSES, regionBytes } = options;
  if (bytes.byteLength < HEAD_BYTES) {
    throw new DipcError(
      "protocol",
      `reading a list of addresses: expected at least 16 bytes, found ${bytes.byteLength}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const total = view.getBigUint64(0, true);
  const announced = view.getBigUint64(8, true);
  if (total > MAX_SAFE) {
    throw new DipcError("protocol", `reading a list of addresses: ${total} bytes in total cannot be`);
  }
  if (announced > BigInt(maxBuffers)) {
    throw new DipcError(
      "limit_exceeded",
      `reading a list of addresses: at most ${maxBuffers} are allowed, found ${announced}`,
    );
  }
  const count = Number(announced);
  if (bytes.byteLength !== HEAD_BYTES + count * PAIR_BYTES) {
    throw new DipcError(
      "protocol",
      `reading a list of addresses: ${count} buffers need ${
        HEAD_BYTES + count * PAIR_BYTES
      } bytes, found ${bytes.byteLength}`,
    );
  }
  const addresses = new BigUint64Array(count);
  const lengths = new Float64Array(count);
  const top = regionBytes === undefined ? TOP : BigInt(regionBytes);
  let sum = 0n;
  for (let i = 0; i < count; i++) {
    const address = view.getBigUint64(HEAD_BYTES + i * PAIR_BYTES, true);
    const length = view.getBigUint64(HEAD_BYTES + i * PAIR_BYTES + 8, true);
    if (address + length > top) {
      throw new DipcError(
        "protocol",
        `reading a list of addresses: buffer ${i} at ${address} with ${length} bytes ends beyond ${top}`,
      );
    }
    sum += length;
    if (sum > total) {
      throw new DipcError(
        "protocol",
        `reading a list of addresses: buffers 0 to ${i} have ${sum} bytes, more than the total of ${total}`,
      );
    }
    addresses[i] = address;
    lengths[i] = Number(length);
  }
  return { totalBytes: Number(total), addresses, lengths };
}

/**
 * Encodes a `free_data` message.
 *
 * @param addresses One or more addresses as they were received, u64
 * @throws {DipcError} `invalid_argument` where there is none or one is out of range
 */
export function encodeFreeList(addresses: ArrayLike<bigint>): Uint8Array<ArrayBuffer> {
  if (addresses.length === 0) throw new DipcError("invalid_argument", "a free_data message needs at least one address");
  const bytes = new Uint8Array(addresses.length * ADDRESS_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < addresses.length; i++) {
    const address = addresses[i];
    if (address < 0n || address >= TOP) {
      throw new DipcError("invalid_argument", integerRefusal("an address", address, 0n, TOP - 1n));
    }
    view.setBigUint64(i * ADDRESS_BYTES, address, true);
  }
  return bytes;
}

/**
 * Reads a `free_data` message.
 *
 * @throws {DipcError} `protocol` where it is empty or not a multiple of 8 bytes, `limit_exceeded` where it is too long
 */
export function parseFreeList(bytes: Uint8Array, maxAddresses: number = MAX_ADDRESSES): BigUint64Array<ArrayBuffer> {
  const count = bytes.byteLength / ADDRESS_BYTES;
  if (count === 0 || !Number.isInteger(count)) {
    throw new DipcError(
      "protocol",
      `reading a free_data message: expected one or more addresses of 8 bytes, found ${bytes.byteLength} bytes`,
    );
  }
  if (count > maxAddresses) {
    throw new DipcError(
      "limit_exceeded",
      `reading a free_data message: at most ${maxAddresses} addresses are allowed, found ${count}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const addresses = new BigUint64Array(count);
  for (let i = 0; i < count; i++) addresses[i] = view.getBigUint64(i * ADDRESS_BYTES, true);
  return addresses;
}
