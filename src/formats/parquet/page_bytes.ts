/**
 * The bytes of a page in the file: its header, and its content compressed with Zstandard.
 *
 * @module
 */
import { constants, zstdCompressSync } from "node:zlib";
import { type PageHeader, writePageHeader } from "./format.ts";
import { ThriftWriter } from "./thrift.ts";

/** The fastest level, whose files are seldom much larger. */
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** The content of a page, compressed. */
export function compressedPage(page: Uint8Array): Uint8Array<ArrayBuffer> {
  const compressed = zstdCompressSync(page, OPTIONS);
  const { buffer, byteOffset, byteLength } = compressed;
  const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  // Short results come in a larger buffer, which would be kept until the end of the row group.
  return buffer.byteLength > 2 * byteLength ? bytes.slice() : bytes;
}

/**
 * The header of a page.
 *
 * @param values Slots of a data page, values of a dictionary
 */
export function pageHeader(
  type: PageHeader["type"],
  values: number,
  encoding: number,
  page: Uint8Array,
  compressed: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const out = new ThriftWriter();
  const [uncompressedBytes, compressedBytes] = [page.byteLength, compressed.byteLength];
  writePageHeader(out, { type, values, encoding, uncompressedBytes, compressedBytes });
  return out.finish();
}
