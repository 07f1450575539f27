/**
 * Reads the headers of the pages of a column chunk, without their content.
 *
 * @module
 */
import { deserializeTCompactProtocol } from "hyparquet/src/thrift.js";
import { LocalError } from "../../errors.ts";
import { textOf } from "../../text.ts";
import type { FileHandle } from "../file_handle.ts";
import type { ChunkInfo } from "./footer.ts";
import { checkThrift, ThriftFault } from "./thrift_check.ts";

/** Bytes read for a header at first: enough unless it has long statistics. */
const FIRST_BYTES = 512;
/** Bytes of a header that are enough for any statistics. */
const MOST_BYTES = 32 * 2 ** 20;
/** Most values of a header; those of Parquet have fewer than 30. */
const MAX_VALUES = 1000;

/** One page. */
export interface Page {
  readonly kind: "data" | "data_v2" | "dictionary" | "other";
  /** Position of its header in the file. */
  readonly offset: number;
  /** Bytes of header and content in the file. */
  readonly byteLength: number;
  /** Bytes of the content, decompressed. */
  readonly uncompressedBytes: number;
  /** Number of values, nulls included. */
  readonly values: number;
  /** Number of rows, if the header says it. */
  readonly rows: number | undefined;
}

/** The page at a position in the file. @throws {DipcError} `invalid_data` if it is none; `io` */
export function readPage(file: FileHandle, offset: number, end: number): Page {
  const { header, byteLength } = readHeader(file, offset, end);
  const { field_2: uncompressedBytes, field_3: content, field_5: data, field_7: dictionary, field_8: dataV2 } = header;
  const values = (data ?? dataV2 ?? dictionary)?.field_1 ?? 0;
  const rows = dataV2?.field_3;
  const isGood = [uncompressedBytes, content, values, rows ?? 0].every((n) => Number.isInteger(n) && n >= 0) &&
    offset + byteLength + content <= end;
  if (!isGood) throw damaged(file, offset, "its header says more than its column has");
  const kind = data ? "data" : dataV2 ? "data_v2" : dictionary ? "dictionary" : "other";
  return { kind, offset, byteLength: byteLength + content, uncompressedBytes, values, rows };
}

/** All pages of a chunk, in order. @throws {DipcError} as {@linkcode readPage} */
export function readPages(file: FileHandle, chunk: ChunkInfo): Page[] {
  const end = chunk.start + chunk.byteLength;
  const pages: Page[] = [];
  for (let at = chunk.start; at < end;) {
    const page = readPage(file, at, end);
    pages.push(page);
    at += page.byteLength;
  }
  return pages;
}

/** Fields of `PageHeader` in Parquet's definition, by their numbers. */
type PageHeader = ReturnType<typeof deserializeTCompactProtocol>;

function readHeader(file: FileHandle, offset: number, end: number): { header: PageHeader; byteLength: number } {
  for (let size = FIRST_BYTES;; size *= 16) {
    const bytes = file.readBytes(offset, Math.min(size, end - offset));
    try {
      const byteLength = checkThrift(bytes, MAX_VALUES);
      return { header: deserializeTCompactProtocol({ view: new DataView(bytes.buffer), offset: 0 }), byteLength };
    } catch (cause) {
      if (cause instanceof ThriftFault && !cause.isLimit && size < MOST_BYTES && offset + size < end) continue;
      throw damaged(file, offset, cause instanceof ThriftFault ? `its header ${cause.message}` : textOf(cause));
    }
  }
}

function damaged(file: FileHandle, offset: number, what: string): LocalError {
  return new LocalError(
    "invalid_data",
    `cannot read "${file.path}": it is damaged, at byte ${offset} there should be a page: ${what}`,
  );
}
