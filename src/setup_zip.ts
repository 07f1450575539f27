/**
 * Reads single files of a ZIP archive in memory, such as a Python wheel.
 *
 * Wheels are stored or deflated, without encryption and below 4 GiB; anything else is rejected.
 *
 * @module
 */
import { inflateRawSync } from "node:zlib";
import { DipcError } from "./errors.ts";

/** A file of an archive. */
export interface ZipEntry {
  /** Path within the archive, with `/`. */
  readonly name: string;
  /** Size in bytes once unpacked. */
  readonly byteLength: number;
  /** Unpacks the file. @throws {DipcError} `invalid_data` */
  read(): Uint8Array;
}

// Signatures and field offsets: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
const END_OF_DIRECTORY = 0x06054b50, END_SIZE = 22;
const DIRECTORY_ENTRY = 0x02014b50, DIRECTORY_ENTRY_SIZE = 46;
const LOCAL_HEADER = 0x04034b50, LOCAL_HEADER_SIZE = 30;
const STORED = 0, DEFLATED = 8;

function damaged(what: string): DipcError {
  return new DipcError("invalid_data", `cannot read the ZIP archive: ${what}`);
}

/**
 * Lists the files of a ZIP archive.
 *
 * @param archive The complete archive
 * @throws {DipcError} `invalid_data` if it is not a ZIP archive, or damaged
 */
export function readZip(archive: Uint8Array): ZipEntry[] {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  let end = archive.byteLength - END_SIZE;
  // The record at the end may be followed by a comment of up to 65535 bytes.
  const first = Math.max(0, end - 0xffff);
  while (end >= first && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < first || archive.byteLength < END_SIZE) throw damaged("expected an end record, found none");
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);

  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i++) {
    if (at + DIRECTORY_ENTRY_SIZE > end || view.getUint32(at, true) !== DIRECTORY_ENTRY) {
      throw damaged(`expected entry ${i} of ${count} at byte ${at}, found something else`);
    }
    const method = view.getUint16(at + 10, true);
    const packed = view.getUint32(at + 20, true);
    const byteLength = view.getUint32(at + 24, true);
    const nameLength = view.getUint16(at + 28, true);
    const header = view.getUint32(at + 42, true);
    const next = at + DIRECTORY_ENTRY_SIZE + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > end) throw damaged(`entry ${i} of ${count} does not fit into it`);
    const nameAt = at + DIRECTORY_ENTRY_SIZE;
    const name = new TextDecoder().decode(archive.subarray(nameAt, nameAt + nameLength));
    entries.push({ name, byteLength, read: () => unpack(archive, view, { name, method, packed, byteLength, header }) });
    at = next;
  }
  return entries;
}

function unpack(
  archive: Uint8Array,
  view: DataView,
  entry: { name: string; method: number; packed: number; byteLength: number; header: number },
): Uint8Array {
  const { name, method, packed, byteLength, header } = entry;
  if (header + LOCAL_HEADER_SIZE > archive.byteLength || view.getUint32(header, true) !== LOCAL_HEADER) {
    throw damaged(`${name} has no header at byte ${header}`);
  }
  // Its name and extra field may have other lengths than in the directory.
  const start = header + LOCAL_HEADER_SIZE + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  if (start + packed > archive.byteLength) throw damaged(`${name} does not fit into it`);
  const bytes = archive.subarray(start, start + packed);
  if (method === STORED) {
    if (packed !== byteLength) throw damaged(`${name} has ${packed} bytes, expected ${byteLength}`);
    return bytes;
  }
  if (method !== DEFLATED) throw damaged(`${name} is packed by method ${method}, expected 0 or 8`);
  let plain: Uint8Array;
  try {
    plain = inflateRawSync(bytes, { maxOutputLength: Math.max(1, byteLength) });
  } catch (cause) {
    throw new DipcError(
      "invalid_data",
      `cannot unpack ${name} from the ZIP archive: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
  if (plain.byteLength !== byteLength) throw damaged(`${name} has ${plain.byteLength} bytes, expected ${byteLength}`);
  return plain;
}
