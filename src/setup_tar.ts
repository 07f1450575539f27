/**
 * Reads single files of a TAR archive in memory, such as a package of npm.
 *
 * @module
 */
import { DipcError } from "./errors.ts";

/** Size of a header, and of the blocks that contents are padded to, in bytes. */
const BLOCK = 512;
/** Places in a header: POSIX.1-1988 (ustar). */
const NAME_BYTES = 100, SIZE_AT = 124, SIZE_BYTES = 12, CHECKSUM_AT = 148, CHECKSUM_BYTES = 8, TYPE_AT = 156;
/** Type of a regular file, also that of older programs. */
const REGULAR = "0\0";

/**
 * Finds files of an archive by their paths. Longer paths than 100 bytes are not found.
 *
 * @param archive The complete archive, not compressed
 * @param paths Paths within the archive
 * @returns The content of each path that is there
 * @throws {DipcError} `invalid_data` if it is not a TAR archive, or damaged
 */
export function readTar(archive: Uint8Array, paths: readonly string[]): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (let at = 0; at + BLOCK <= archive.byteLength;) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    checkHeader(header);
    const size = octal(header, SIZE_AT, SIZE_BYTES);
    if (at + BLOCK + size > archive.byteLength) throw damaged("it is cut off");
    const name = text(header, 0, NAME_BYTES);
    if (paths.includes(name) && REGULAR.includes(String.fromCharCode(header[TYPE_AT]))) {
      found.set(name, archive.subarray(at + BLOCK, at + BLOCK + size));
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return found;
}

function checkHeader(header: Uint8Array): void {
  // The checksum counts as blanks in itself.
  const sum = header.reduce((sum, byte, i) => {
    const isOwn = i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES;
    return sum + (isOwn ? 32 : byte);
  }, 0);
  if (sum !== octal(header, CHECKSUM_AT, CHECKSUM_BYTES)) throw damaged("the checksum of a header is wrong");
}

function octal(header: Uint8Array, at: number, length: number): number {
  const digits = text(header, at, length).trim();
  if (!/^[0-7]+$/.test(digits)) throw damaged("a number of a header is missing");
  return parseInt(digits, 8);
}

function text(header: Uint8Array, at: number, length: number): string {
  return new TextDecoder("latin1").decode(header.subarray(at, at + length)).replace(/\0.*$/s, "");
}

function damaged(what: string): DipcError {
  return new DipcError("invalid_data", `cannot read the TAR archive: ${what}`);
}
