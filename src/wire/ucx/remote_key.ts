/**
 * Packed remote keys of UCX: read with every length checked, because UCX unpacks them without knowing their length.
 *
 * A packed key: u64 map of the peer's memory domains, u8 type of memory (0: host), then for each bit of the map u8 length and as many
 * bytes of that domain's own; UCX 1.20 and later add at least one byte. That of System V shared memory: u32 number of the segment, u64
 * address of the segment in the peer (`uct_sysv_packed_rkey_t`). All numbers are little-endian.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";

const MAP_BYTES = 8, HEAD_BYTES = 9, SEGMENT_BYTES = 12;
/** More than UCX ever packs, in bytes. */
const MAX_KEY_BYTES = 16384;
/** Bytes that may follow the domains': an index of a device, then for each of at most 256 devices its index and distance, then an end. */
const MAX_TAIL_BYTES = 2 + 3 * 256;
/** What follows the domains of a key that is unpacked here: no device is known. */
const NO_DEVICE = 0xFF;
/** Bytes that a key is unpacked from: the widest read of UCX behind its end stays inside. */
const ROOM_BYTES = 256;

/** What a packed key says about a segment of System V shared memory. */
export interface SegmentKey {
  /** Index of the domain at the peer. */
  readonly domain: number;
  /** Number of the segment, i32. */
  readonly id: number;
  /** Address of its first byte in the peer, u64. */
  readonly base: bigint;
}

/**
 * Reads a packed key.
 *
 * @param key The key, as it is in a URI
 * @returns what may be segments of System V shared memory: which domains are such, only UCX knows
 * @throws {DipcError} `protocol` for anything but a key, `unsupported` if it is for the memory of a GPU
 */
export function parseRemoteKey(key: Uint8Array): SegmentKey[] {
  if (key.byteLength < HEAD_BYTES || key.byteLength > MAX_KEY_BYTES) {
    throw refused(`it has ${key.byteLength} bytes, expected ${HEAD_BYTES} to ${MAX_KEY_BYTES}`);
  }
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const map = view.getBigUint64(0, true);
  if (key[MAP_BYTES] !== 0) {
    throw new LocalError(
      "unsupported",
      `cannot use a remote key: it is for memory of type ${key[MAP_BYTES]}, only host memory (0) can be read here`,
    );
  }
  const segments: SegmentKey[] = [];
  let at = HEAD_BYTES;
  for (let domain = 0; domain < 64; domain++) {
    if ((map >> BigInt(domain) & 1n) === 0n) continue;
    const length = key[at];
    if (length === undefined || at + 1 + length > key.byteLength) {
      throw refused(`it ends at byte ${key.byteLength}, inside the part of domain ${domain}`);
    }
    if (length === SEGMENT_BYTES) {
      segments.push({ domain, id: view.getInt32(at + 1, true), base: view.getBigUint64(at + 5, true) });
    }
    at += 1 + length;
  }
  if (key.byteLength - at > MAX_TAIL_BYTES) throw refused(`${key.byteLength - at} bytes follow its last domain`);
  return segments;
}

/**
 * Writes the packed key that is unpacked here: nothing of the peer's is left in it but what was checked.
 *
 * @param segment The one segment in it; `null` for a key by which memory can be fetched, but not mapped
 */
export function packRemoteKey(segment: SegmentKey | null): Uint8Array<ArrayBuffer> {
  const key = new Uint8Array(ROOM_BYTES).fill(NO_DEVICE);
  const view = new DataView(key.buffer);
  view.setBigUint64(0, segment === null ? 0n : 1n << BigInt(segment.domain), true);
  key[MAP_BYTES] = 0;
  if (segment === null) return key;
  key[HEAD_BYTES] = SEGMENT_BYTES;
  view.setInt32(HEAD_BYTES + 1, segment.id, true);
  view.setBigUint64(HEAD_BYTES + 5, segment.base, true);
  return key;
}

function refused(why: string): LocalError {
  return new LocalError("protocol", `cannot use a remote key: ${why}`);
}
