/**
 * Reads the footer of a Parquet file: what its bytes say is checked before anything believes it.
 *
 * @module
 */
import type { ColumnChunk, ColumnMetaData, FileMetaData, RowGroup } from "hyparquet";
import { parquetMetadata } from "hyparquet/src/metadata.js";
import { LocalError } from "../../errors.ts";
import { quoted } from "../../ipc/quote.ts";
import { textOf } from "../../text.ts";
import type { FileHandle } from "../file_handle.ts";
import { damagedFooter, FooterFault } from "./fault.ts";
import { type LeafColumn, leavesOf, type ParquetNode, schemaTree } from "./node.ts";
import { withTail } from "./tail.ts";
import { type FieldFilter, filterThrift, ThriftFault } from "./thrift_check.ts";

/** Most values of a footer; each takes a few hundred bytes of memory once it is read. */
const MAX_VALUES = 8_000_000;
/** Characters of names that are not too many, however short the footer is. */
const FREE_NAMES = 16 * 2 ** 20;
/** Bytes of the end of a file that holds nothing else: length of the footer, and the magic number. */
const TAIL_BYTES = 8;

/** The footer, checked. */
export interface ParquetFooter {
  /** As hyparquet reads it. */
  readonly metadata: FileMetaData;
  /** Root of the schema. */
  readonly root: ParquetNode;
  /** Columns that have values, in the order in which row groups list them. */
  readonly leaves: readonly LeafColumn[];
  /** Row groups in order. */
  readonly groups: readonly GroupInfo[];
  /** Position of the footer in the file. */
  readonly start: number;
}

/** One row group. */
export interface GroupInfo {
  /** Number of rows. */
  readonly rows: number;
  /** One chunk for each leaf. */
  readonly chunks: readonly ChunkInfo[];
}

/** The values of one leaf in one row group. */
export interface ChunkInfo {
  readonly metadata: ColumnMetaData;
  /** Position of its first page in the file. */
  readonly start: number;
  /** Bytes of all its pages in the file. */
  readonly byteLength: number;
  /** Bytes of all its pages, decompressed. */
  readonly uncompressedBytes: number;
  /** Position of its dictionary in the file, if it has one. */
  readonly dictionaryStart: number | undefined;
  /** Position of its first page of values in the file. */
  readonly dataStart: number;
  /** Place of the index of its pages in the file, if it has one. */
  readonly pageIndex: { readonly offset: number; readonly byteLength: number } | undefined;
}

/**
 * Reads and checks the footer.
 *
 * @throws {DipcError} `invalid_data`; `unsupported` for what cannot be read, by the name of its column; `io`, `limit_exceeded`
 */
export function readFooter(file: FileHandle): ParquetFooter {
  const bytes = footerBytes(file);
  const metadata = parse(file.path, bytes);
  const start = file.size - bytes.byteLength;
  try {
    // A text in the place of a list is decoded as bytes, which behave much like one.
    const isList = [metadata.schema, metadata.row_groups].every(Array.isArray);
    if (!isList) throw damagedFooter("its schema or its row groups are not a list");
    const root = schemaTree(metadata.schema);
    // A row group has the names around each of its columns, the schema has each name once.
    const mostNames = Math.max(FREE_NAMES, bytes.byteLength) / Math.max(1, metadata.row_groups.length);
    const leaves = leavesOf(root, mostNames);
    const groups = metadata.row_groups.map((group, index) => readGroup(group, index, leaves, start));
    return { metadata, root, leaves, groups, start };
  } catch (error) {
    if (!(error instanceof FooterFault)) throw error;
    const { code } = error;
    throw new LocalError(code, `cannot read "${file.path}": ${error.message}`);
  }
}

/** The footer with its length and the magic number after it. */
function footerBytes(file: FileHandle): Uint8Array<ArrayBuffer> {
  const tail = file.size < TAIL_BYTES + 4 ? new Uint8Array(0) : file.readBytes(file.size - TAIL_BYTES, TAIL_BYTES);
  const magic = new TextDecoder().decode(tail.subarray(4));
  if (magic === "PARE") {
    throw new LocalError(
      "unsupported",
      `cannot read "${file.path}": its footer is encrypted, which is not supported; write it without encryption`,
    );
  }
  if (magic !== "PAR1") {
    throw new LocalError(
      "invalid_data",
      `cannot read "${file.path}": it does not end as a Parquet file does, so it was cut short`,
    );
  }
  const length = new DataView(tail.buffer).getUint32(0, true);
  if (length > file.size - TAIL_BYTES - 4) {
    throw new LocalError(
      "invalid_data",
      `cannot read "${file.path}": it declares a footer of ${length} bytes, but has ${file.size} in all; it is damaged`,
    );
  }
  return file.readBytes(file.size - TAIL_BYTES - length, length + TAIL_BYTES);
}

function parse(path: string, bytes: Uint8Array<ArrayBuffer>): FileMetaData {
  try {
    const thrift = filterThrift(bytes.subarray(0, bytes.byteLength - TAIL_BYTES), USED_FIELDS, MAX_VALUES);
    return parquetMetadata(withTail(thrift), { geoparquet: false });
  } catch (cause) {
    if (cause instanceof ThriftFault && cause.isLimit) {
      const advice = "write fewer columns, or fewer and larger row groups";
      throw new LocalError("limit_exceeded", `cannot read "${path}": its footer ${cause.message}; ${advice}`);
    }
    const what = cause instanceof ThriftFault ? cause.message : `cannot be read: ${textOf(cause)}`;
    throw new LocalError("invalid_data", `cannot read "${path}": it is damaged, its footer ${what}`, { cause });
  }
}

const NONE: ReadonlyMap<number, FieldFilter> = new Map();
/** Metadata, statistics and Bloom filters of chunks: they are most of a footer, and the statistics of some writers are wrong. */
const OF_CHUNK: FieldFilter = { drop: new Set([8, 12, 14, 15, 16, 17]), inside: NONE };
const OF_COLUMN: FieldFilter = { drop: new Set([6, 7]), inside: new Map([[3, OF_CHUNK]]) };
/** Row groups say how they are sorted. */
const OF_GROUP: FieldFilter = { drop: new Set([4]), inside: new Map([[1, OF_COLUMN]]) };
/** `FileMetaData` in Parquet's definition, without what is not used. */
const USED_FIELDS: FieldFilter = { drop: new Set([7]), inside: new Map([[4, OF_GROUP]]) };

function readGroup(group: RowGroup, index: number, leaves: readonly LeafColumn[], end: number): GroupInfo {
  const rows = count(group.num_rows, () => `number of rows of row group ${index}`);
  if (!Array.isArray(group.columns)) throw damagedFooter(`the columns of row group ${index} are not a list`);
  if (group.columns.length !== leaves.length) {
    throw damagedFooter(`row group ${index} has ${group.columns.length} columns, its schema ${leaves.length}`);
  }
  const chunks = group.columns.map((chunk, column): ChunkInfo => {
    const { path, type } = leaves[column];
    // Named only if it is needed: there may be very many chunks.
    const where = (): string => `column ${quoted(path)} of row group ${index}`;
    const { meta_data: metadata } = chunk;
    if (chunk.crypto_metadata !== undefined || chunk.encrypted_column_metadata !== undefined) {
      throw new FooterFault(
        "unsupported",
        `its column ${quoted(path)} is encrypted, which is not supported; write it without encryption`,
      );
    }
    if (metadata === undefined) throw damagedFooter(`${where()} has no metadata`);
    if (chunk.file_path !== undefined) {
      throw new FooterFault(
        "unsupported",
        `${where()} is in another file, ${quoted(chunk.file_path)}, which is not supported; write it into one file`,
      );
    }
    if (metadata.type !== type) throw damagedFooter(`${where()} is of type ${metadata.type}, its schema says ${type}`);
    checkCoding(metadata, where);
    return { ...readChunk(metadata, where, end), pageIndex: pageIndexOf(chunk, end) };
  });
  return { rows, chunks };
}

function readChunk(metadata: ColumnMetaData, where: () => string, end: number): Omit<ChunkInfo, "pageIndex"> {
  const dataStart = count(metadata.data_page_offset, () => `first page of ${where()}`);
  const dictionary = metadata.dictionary_page_offset;
  // Some writers say 0 if there is none.
  const dictionaryStart = dictionary === undefined || dictionary <= 0n ? undefined : count(dictionary, where);
  const start = Math.min(dataStart, dictionaryStart ?? dataStart);
  const byteLength = count(metadata.total_compressed_size, () => `size of ${where()}`);
  if (start + byteLength > end) {
    throw damagedFooter(`${where()} lies at bytes ${start} to ${start + byteLength}, its footer at ${end}`);
  }
  const uncompressedBytes = count(metadata.total_uncompressed_size, () => `size of ${where()}`);
  count(metadata.num_values, () => `number of values of ${where()}`);
  return { metadata, start, byteLength, uncompressedBytes, dictionaryStart, dataStart };
}

/** An index that is not inside the file counts as none. */
function pageIndexOf(chunk: ColumnChunk, end: number): ChunkInfo["pageIndex"] {
  const { offset_index_offset: offset, offset_index_length: byteLength } = chunk;
  if (typeof offset !== "bigint" || offset < 0n || !Number.isInteger(byteLength) || byteLength! <= 0) return undefined;
  return Number(offset) + byteLength! <= end ? { offset: Number(offset), byteLength: byteLength! } : undefined;
}

/** Compressions and encodings that the decoder knows. */
const CODECS: ReadonlySet<string | undefined> = new Set(
  ["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"],
);
const UNKNOWN_ENCODINGS: ReadonlySet<string | undefined> = new Set(["GROUP_VAR_INT", "ALP", undefined]);

function checkCoding(metadata: ColumnMetaData, where: () => string): void {
  if (!CODECS.has(metadata.codec)) {
    throw new FooterFault(
      "unsupported",
      `${where()} is compressed with ${
        metadata.codec ?? "a codec that this version of dipc does not know"
      }, which is not ` +
        "supported; write it with another compression, such as ZSTD",
    );
  }
  const unknown = metadata.encodings.find((encoding) => UNKNOWN_ENCODINGS.has(encoding));
  if (unknown !== undefined || metadata.encodings.includes(undefined as never)) {
    throw new FooterFault(
      "unsupported",
      `${where()} has the encoding ${unknown ?? "of a number that this version of dipc does not know"}, which is not ` +
        "supported; write it with another encoding, such as PLAIN",
    );
  }
}

/** A number of the footer as one that counts something. */
function count(value: bigint | undefined, what: () => string): number {
  if (typeof value !== "bigint" || value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw damagedFooter(`the ${what()} is ${value ?? "missing"}`);
  }
  return Number(value);
}
