/**
 * The numbers of Parquet's format, and the pieces of its metadata, as in `parquet.thrift`.
 *
 * @module
 */
import { ThriftType, type ThriftWriter } from "./thrift.ts";

/** How values are stored. */
export const Physical = { boolean: 0, int32: 1, int64: 2, float: 4, double: 5, bytes: 6, fixed: 7 } as const;

/** One of the types of {@linkcode Physical}. */
export type Physical = (typeof Physical)[keyof typeof Physical];

/** How often a value is there. */
export const Repetition = { required: 0, optional: 1, repeated: 2 } as const;

/** One of {@linkcode Repetition}. */
export type Repetition = (typeof Repetition)[keyof typeof Repetition];

/** How values or levels are encoded. */
export const Encoding = { plain: 0, rle: 3, dictionary: 8 } as const;

/** Kinds of page. */
export const PageType = { data: 0, dictionary: 2 } as const;

/** How pages are compressed. */
export const Codec = { none: 0, zstd: 6 } as const;

/** Numbers of `ConvertedType`, which older readers know instead of logical types. */
export const Converted = {
  ...{ utf8: 0, map: 1, list: 3, decimal: 5, date: 6, timeMillis: 7, timeMicros: 8, timestampMillis: 9 },
  ...{ timestampMicros: 10, uint8: 11, int8: 15, json: 19, interval: 21 },
} as const;

/** What values mean. */
export type LogicalType =
  | { readonly id: "string" | "map" | "list" | "date" | "null" | "json" | "uuid" | "float16" }
  | { readonly id: "decimal"; readonly precision: number; readonly scale: number }
  | { readonly id: "time" | "timestamp"; readonly isAdjustedToUtc: boolean; readonly unit: "ms" | "us" | "ns" }
  | { readonly id: "integer"; readonly bitWidth: number; readonly isSigned: boolean }
  | { readonly id: "geometry"; readonly crs: string | null }
  | { readonly id: "geography"; readonly crs: string | null; readonly algorithm: number | null };

/** Fields of the union `LogicalType`. */
const LOGICAL: Readonly<Record<LogicalType["id"], number>> = {
  ...{ string: 1, map: 2, list: 3, decimal: 5, date: 6, time: 7, timestamp: 8, integer: 10, null: 11, json: 12 },
  ...{ uuid: 14, float16: 15, geometry: 17, geography: 18 },
};

const TIME_UNIT = { ms: 1, us: 2, ns: 3 } as const;

/** One element of the schema: a column, or a group of the elements that follow. */
export interface SchemaElement {
  readonly name: string;
  /** Null for the root. */
  readonly repetition: Repetition | null;
  /** Null for a group. */
  readonly physical: Physical | null;
  /** Bytes of a value of {@linkcode Physical}`.fixed`. */
  readonly length?: number;
  /** Elements of a group. */
  readonly children?: number;
  readonly converted?: number;
  readonly logical?: LogicalType;
  readonly fieldId?: number;
}

/** Writes a `SchemaElement`. */
function writeElement(out: ThriftWriter, element: SchemaElement): void {
  const { name, repetition, physical, length, children, converted, logical, fieldId } = element;
  if (physical !== null) out.i32(1, physical);
  if (length !== undefined) out.i32(2, length);
  if (repetition !== null) out.i32(3, repetition);
  out.binary(4, name);
  if (children !== undefined) out.i32(5, children);
  if (converted !== undefined) out.i32(6, converted);
  if (logical?.id === "decimal") {
    out.i32(7, logical.scale);
    out.i32(8, logical.precision);
  }
  if (fieldId !== undefined) out.i32(9, fieldId);
  if (logical !== undefined) out.struct(10, () => out.struct(LOGICAL[logical.id], () => writeParameters(out, logical)));
}

function writeParameters(out: ThriftWriter, logical: LogicalType): void {
  switch (logical.id) {
    case "decimal":
      out.i32(1, logical.scale);
      out.i32(2, logical.precision);
      break;
    case "time":
    case "timestamp":
      out.bool(1, logical.isAdjustedToUtc);
      out.struct(2, () => out.struct(TIME_UNIT[logical.unit], () => {}));
      break;
    case "integer":
      out.byte(1, logical.bitWidth);
      out.bool(2, logical.isSigned);
      break;
    case "geometry":
    case "geography":
      if (logical.crs !== null) out.binary(1, logical.crs);
      if (logical.id === "geography" && logical.algorithm !== null) out.i32(2, logical.algorithm);
      break;
  }
}

/** What is known of the values of a column chunk. */
export interface Statistics {
  readonly nulls: number;
  /** Null if there are no values, or none that have an order. */
  readonly min: Uint8Array | null;
  readonly max: Uint8Array | null;
}

/** A column chunk that was written. */
export interface ChunkMetadata {
  readonly physical: Physical;
  readonly codec: (typeof Codec)[keyof typeof Codec];
  /** Names from the column down. */
  readonly path: readonly string[];
  /** Values, nulls and empty lists included. */
  readonly values: number;
  readonly dictionaryPages: number;
  /** Pages whose values are indices into the dictionary. */
  readonly indexPages: number;
  readonly plainPages: number;
  /** With the headers of pages, in bytes. */
  readonly uncompressedBytes: number;
  /** With the headers of pages, in bytes. */
  readonly compressedBytes: number;
  /** Place of the first page in the file. */
  readonly offset: number;
  /** Place of the first data page in the file. */
  readonly dataOffset: number;
  readonly statistics: Statistics;
}

/** A row group that was written. */
export interface RowGroupMetadata {
  readonly rows: number;
  /** Place in the file. */
  readonly offset: number;
  readonly chunks: readonly ChunkMetadata[];
}

/** Everything in the footer. */
export interface FileMetadata {
  readonly schema: readonly SchemaElement[];
  readonly groups: readonly RowGroupMetadata[];
  readonly keyValues: ReadonlyMap<string, string>;
  readonly createdBy: string;
}

/** Version of the format: logical types and encodings of 2.6. */
const VERSION = 2;
/** Ordinals of row groups have 16 bits, and may be left out. */
const MOST_ORDINALS = 32_767;

/** Writes `FileMetaData`. */
export function writeFile(out: ThriftWriter, { schema, groups, keyValues, createdBy }: FileMetadata): void {
  out.i32(1, VERSION);
  out.list(2, ThriftType.struct, schema.length);
  for (const element of schema) out.structElement(() => writeElement(out, element));
  out.i64(3, groups.reduce((sum, { rows }) => sum + rows, 0));
  out.list(4, ThriftType.struct, groups.length);
  groups.forEach((group, i) => out.structElement(() => writeGroup(out, group, i)));
  if (keyValues.size > 0) {
    out.list(5, ThriftType.struct, keyValues.size);
    for (const [key, value] of keyValues) {
      out.structElement(() => {
        out.binary(1, key);
        out.binary(2, value);
      });
    }
  }
  out.binary(6, createdBy);
  // The order of every type is the one that its definition gives; without this, minima and maxima are not used.
  const columns = schema.filter(({ physical }) => physical !== null).length;
  out.list(7, ThriftType.struct, columns);
  for (let i = 0; i < columns; i++) out.structElement(() => out.struct(1, () => {}));
}

function writeGroup(out: ThriftWriter, { rows, offset, chunks }: RowGroupMetadata, ordinal: number): void {
  out.list(1, ThriftType.struct, chunks.length);
  for (const chunk of chunks) {
    out.structElement(() => {
      out.i64(2, 0);
      out.struct(3, () => writeChunk(out, chunk));
    });
  }
  out.i64(2, chunks.reduce((sum, { uncompressedBytes }) => sum + uncompressedBytes, 0));
  out.i64(3, rows);
  out.i64(5, offset);
  out.i64(6, chunks.reduce((sum, { compressedBytes }) => sum + compressedBytes, 0));
  if (ordinal <= MOST_ORDINALS) out.i16(7, ordinal);
}

function writeChunk(out: ThriftWriter, chunk: ChunkMetadata): void {
  const { dictionaryPages, indexPages, plainPages } = chunk;
  out.i32(1, chunk.physical);
  const encodings: number[] = [Encoding.plain, Encoding.rle];
  if (indexPages > 0) encodings.push(Encoding.dictionary);
  out.list(2, ThriftType.i32, encodings.length);
  for (const encoding of encodings) out.i32Element(encoding);
  out.list(3, ThriftType.binary, chunk.path.length);
  for (const name of chunk.path) out.binaryElement(name);
  out.i32(4, chunk.codec);
  out.i64(5, chunk.values);
  out.i64(6, chunk.uncompressedBytes);
  out.i64(7, chunk.compressedBytes);
  out.i64(9, chunk.dataOffset);
  if (dictionaryPages > 0) out.i64(11, chunk.offset);
  out.struct(12, () => writeStatistics(out, chunk.statistics));
  const pages: [type: number, encoding: number, count: number][] = [
    [PageType.dictionary, Encoding.plain, dictionaryPages],
    [PageType.data, Encoding.dictionary, indexPages],
    [PageType.data, Encoding.plain, plainPages],
  ];
  const present = pages.filter(([, , count]) => count > 0);
  out.list(13, ThriftType.struct, present.length);
  for (const numbers of present) out.structElement(() => numbers.forEach((number, i) => out.i32(i + 1, number)));
}

function writeStatistics(out: ThriftWriter, { nulls, min, max }: Statistics): void {
  out.i64(3, nulls);
  if (min === null || max === null) return;
  out.binary(5, max);
  out.binary(6, min);
  out.bool(7, true);
  out.bool(8, true);
}

/** A page, before it. */
export interface PageHeader {
  readonly type: (typeof PageType)[keyof typeof PageType];
  /** Values, nulls and empty lists included. */
  readonly values: number;
  readonly encoding: number;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
}

/** Writes `PageHeader`. */
export function writePageHeader(out: ThriftWriter, header: PageHeader): void {
  out.i32(1, header.type);
  out.i32(2, header.uncompressedBytes);
  out.i32(3, header.compressedBytes);
  if (header.type === PageType.data) {
    out.struct(5, () => {
      out.i32(1, header.values);
      out.i32(2, header.encoding);
      out.i32(3, Encoding.rle);
      out.i32(4, Encoding.rle);
    });
  } else {
    out.struct(7, () => {
      out.i32(1, header.values);
      out.i32(2, header.encoding);
    });
  }
}
