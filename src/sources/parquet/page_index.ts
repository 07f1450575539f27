/**
 * The index of the pages of a row group, with which the decoder reads only the pages of the rows that it decodes. Most
 * writers leave it out; it follows from the headers of the pages.
 *
 * @module
 */
import { deserializeTCompactProtocol } from "hyparquet/src/thrift.js";
import { LocalError } from "../../errors.ts";
import { quoted } from "../../ipc/quote.ts";
import type { FileHandle } from "../file_handle.ts";
import type { PlacedIndex } from "./decoder_footer.ts";
import type { ChunkInfo, GroupInfo } from "./footer.ts";
import type { LeafColumn } from "./node.ts";
import { readPages } from "./pages.ts";
import { checkThrift, ThriftFault } from "./thrift_check.ts";
import { ThriftWriter } from "./thrift_writer.ts";

/** Most values of an index in a file. */
const MAX_VALUES = 8_000_000;

/** Size of a page, decompressed, from which two of them are not to be read for the same piece, in bytes. */
const LARGE_PAGE_BYTES = 64 * 2 ** 20;

/** One page of values. */
interface PageLocation {
  readonly offset: number;
  readonly byteLength: number;
  /** Bytes of its content, decompressed, as far as they are known. */
  readonly uncompressedBytes: number;
  /** Index of its first row in the row group. */
  readonly firstRow: number;
}

/** The indexes of all chunks of a row group, and the place of each. */
export interface GroupIndex {
  /** Bytes of all indexes, one after another. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly places: ReadonlyMap<ChunkInfo, PlacedIndex>;
  /** Bytes of the largest page, decompressed. */
  readonly largestPage: number;
  /** First rows of pages that are larger than a piece of a row group should be, in rising order. */
  readonly largePageRows: readonly number[];
}

/**
 * Indexes the pages of a row group.
 *
 * @param at Position that the bytes will have in the file
 * @throws {DipcError} `invalid_data` if its pages are not what its footer says; `io`
 */
export function indexPages(file: FileHandle, group: GroupInfo, leaves: readonly LeafColumn[], at: number): GroupIndex {
  const writer = new ThriftWriter();
  const places = new Map<ChunkInfo, PlacedIndex>();
  const largePageRows = new Set<number>();
  let largestPage = 0;
  group.chunks.forEach((chunk, i) => {
    const pages = leaves[i].isRepeated ? readIndex(file, chunk, leaves[i]) : scan(file, chunk);
    const isRising = pages.length > 0 && pages[0].firstRow === 0 &&
      pages.every((page, k) => page.firstRow <= group.rows && (k === 0 || page.firstRow >= pages[k - 1].firstRow));
    if (!isRising) throw contradiction(file, leaves[i]);
    for (const { uncompressedBytes, firstRow } of pages) {
      largestPage = Math.max(largestPage, uncompressedBytes);
      if (uncompressedBytes > LARGE_PAGE_BYTES) largePageRows.add(firstRow);
    }
    const offset = writer.length;
    writer.struct((index) =>
      index.children(1, pages, (out, page) => {
        out.i64(1, page.offset);
        out.i32(2, page.byteLength);
        out.i64(3, page.firstRow);
      })
    );
    places.set(chunk, { offset: at + offset, byteLength: writer.length - offset });
  });
  return { bytes: writer.bytes(), places, largestPage, largePageRows: [...largePageRows].sort((a, b) => a - b) };
}

function scan(file: FileHandle, chunk: ChunkInfo): PageLocation[] {
  let row = 0;
  return readPages(file, chunk).flatMap(({ kind, offset, byteLength, uncompressedBytes, values, rows = values }) => {
    if (kind !== "data" && kind !== "data_v2") return [];
    const firstRow = row;
    row += rows;
    // The decoder takes a page without rows for one that was skipped.
    return rows === 0 ? [] : [{ offset, byteLength, uncompressedBytes, firstRow }];
  });
}

/** The index that the file has: lists may go on in the next page, which only an index excludes. */
function readIndex(file: FileHandle, chunk: ChunkInfo, leaf: LeafColumn): PageLocation[] {
  if (chunk.pageIndex === undefined) throw contradiction(file, leaf);
  const { offset, byteLength } = chunk.pageIndex;
  const bytes = file.readBytes(offset, byteLength);
  try {
    checkThrift(bytes, MAX_VALUES);
  } catch (cause) {
    if (!(cause instanceof ThriftFault)) throw cause;
    const what = `it is damaged, the index of pages at byte ${offset} ${cause.message}`;
    throw new LocalError("invalid_data", `cannot read "${file.path}": ${what}`);
  }
  const index = deserializeTCompactProtocol({ view: new DataView(bytes.buffer), offset: 0 });
  const end = chunk.start + chunk.byteLength;
  const isLocation = (page: Record<string, unknown>): boolean =>
    typeof page.field_1 === "bigint" && Number(page.field_1) >= chunk.start && Number.isInteger(page.field_2) &&
    Number(page.field_1) + (page.field_2 as number) <= end && typeof page.field_3 === "bigint" && page.field_3 >= 0n;
  const pages: Record<string, never>[] = Array.isArray(index.field_1) ? index.field_1 : [];
  if (!pages.every(isLocation)) {
    throw new LocalError(
      "invalid_data",
      `cannot read "${file.path}": it is damaged, an index of pages is outside of it`,
    );
  }
  return pages.map((page) => ({
    offset: Number(page.field_1),
    byteLength: page.field_2,
    uncompressedBytes: page.field_2,
    firstRow: Number(page.field_3),
  }));
}

function contradiction(file: FileHandle, leaf: LeafColumn): LocalError {
  return new LocalError(
    "invalid_data",
    `cannot read "${file.path}": it is damaged, the pages of column ${
      quoted(leaf.path)
    } have other rows than its footer says`,
  );
}
