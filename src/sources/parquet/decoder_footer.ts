/**
 * Writes the footer that the decoder is given in place of the file's own: what it needs to decode, and nothing that it would
 * take for more than it is.
 *
 * @module
 */
import type { LogicalType, SchemaElement, TimeUnit } from "hyparquet";
import {
  CompressionCodecs,
  ConvertedTypes,
  Encodings,
  FieldRepetitionTypes,
  ParquetTypes,
} from "hyparquet/src/constants.js";
import type { ChunkInfo, GroupInfo, ParquetFooter } from "./footer.ts";
import { isInterval, type LeafColumn, type ParquetNode } from "./node.ts";
import { withTail } from "./tail.ts";
import { type FieldsOf, ThriftWriter } from "./thrift_writer.ts";

/** What the decoder shall see. */
export interface DecoderView {
  /** Row groups; by default all. */
  readonly groups?: readonly GroupInfo[];
  /** Place in the file of the list of the pages of each chunk, if it has one. */
  readonly pageIndexes?: ReadonlyMap<ChunkInfo, PlacedIndex>;
  /** Arrow schema that decides between types that Parquet does not distinguish: base64 of an encapsulated message. */
  readonly arrowSchema?: string;
}

/** The place of the list of a chunk's pages. */
export interface PlacedIndex {
  /** Position in the file. */
  readonly offset: number;
  /** Bytes of it. */
  readonly byteLength: number;
}

/** Key of the Arrow schema among the metadata of a file. */
export const ARROW_SCHEMA_KEY = "ARROW:schema";

/** Number of the format's version that is written. */
const FORMAT_VERSION = 2;

/** The footer, with its length and the magic number after it. */
export function encodeFooter(footer: ParquetFooter, view: DecoderView = {}): Uint8Array<ArrayBuffer> {
  const { groups = footer.groups, arrowSchema } = view;
  const writer = new ThriftWriter();
  writer.struct((file) => {
    file.i32(1, FORMAT_VERSION);
    file.children(2, elementsOf(footer.root), writeElement);
    file.i64(3, groups.reduce((sum, { rows }) => sum + rows, 0));
    file.children(4, groups, (out, group) => writeGroup(out, group, footer.leaves, view.pageIndexes));
    if (arrowSchema !== undefined) {
      file.children(5, [arrowSchema], (pair, value) => {
        pair.text(1, ARROW_SCHEMA_KEY);
        pair.text(2, value);
      });
    }
  });
  return withTail(writer.bytes());
}

function elementsOf(node: ParquetNode): SchemaElement[] {
  return [node.element, ...node.children.flatMap(elementsOf)];
}

function writeElement(writer: ThriftWriter, element: SchemaElement): void {
  // The decoder reads intervals without their months: it gets them as plain bytes.
  writer.i32(1, indexIn(ParquetTypes, element.type));
  writer.i32(2, element.type_length);
  writer.i32(3, indexIn(FieldRepetitionTypes, element.repetition_type));
  writer.text(4, element.name);
  writer.i32(5, element.type === undefined ? element.num_children ?? 0 : undefined);
  if (!isInterval(element)) writer.i32(6, indexIn(ConvertedTypes, element.converted_type));
  writer.i32(7, element.scale);
  writer.i32(8, element.precision);
  writer.i32(9, element.field_id);
  writer.child(10, logicalFields(element.logical_type));
}

function indexIn<Name>(names: readonly Name[], name: Name | undefined): number | undefined {
  return name === undefined ? undefined : names.indexOf(name);
}

const EMPTY: FieldsOf = () => {};

/** Number of each logical type without parameters in the union `LogicalType`; the decoder need not know the others. */
const PLAIN_LOGICAL: Readonly<Partial<Record<LogicalType["type"], number>>> = {
  ...{ STRING: 1, MAP: 2, LIST: 3, ENUM: 4, DATE: 6, NULL: 11, JSON: 12, BSON: 13, UUID: 14, FLOAT16: 15 },
};

function logicalFields(logical: LogicalType | undefined): FieldsOf | undefined {
  if (logical === undefined) return undefined;
  const plain = PLAIN_LOGICAL[logical.type];
  if (plain !== undefined) return (union) => union.child(plain, EMPTY);
  switch (logical.type) {
    case "DECIMAL":
      return (union) =>
        union.child(5, (out) => {
          out.i32(1, logical.scale);
          out.i32(2, logical.precision);
        });
    case "TIME":
    case "TIMESTAMP":
      return (union) =>
        union.child(logical.type === "TIME" ? 7 : 8, (out) => {
          out.bool(1, logical.isAdjustedToUTC);
          out.child(2, (unit) => unit.child(UNITS[logical.unit], EMPTY));
        });
    case "INTEGER":
      return (union) =>
        union.child(10, (out) => {
          out.byte(1, logical.bitWidth);
          out.bool(2, logical.isSigned);
        });
    default:
      return undefined;
  }
}

const UNITS: Readonly<Record<TimeUnit, number>> = { MILLIS: 1, MICROS: 2, NANOS: 3 };

function writeGroup(
  writer: ThriftWriter,
  group: GroupInfo,
  leaves: readonly LeafColumn[],
  pageIndexes: DecoderView["pageIndexes"],
): void {
  const columns = group.chunks.map((chunk, i) => ({ chunk, leaf: leaves[i], index: pageIndexes?.get(chunk) }));
  writer.children(1, columns, (out, { chunk, leaf, index }) => {
    out.i64(2, chunk.start);
    out.child(3, (metadata) => writeChunk(metadata, chunk, leaf));
    if (index === undefined) return;
    out.i64(4, index.offset);
    out.i32(5, index.byteLength);
  });
  writer.i64(2, group.chunks.reduce((sum, { uncompressedBytes }) => sum + uncompressedBytes, 0));
  writer.i64(3, group.rows);
}

function writeChunk(writer: ThriftWriter, chunk: ChunkInfo, leaf: LeafColumn): void {
  const { metadata } = chunk;
  writer.i32(1, ParquetTypes.indexOf(leaf.type));
  writer.i32s(2, metadata.encodings.map((encoding) => Encodings.indexOf(encoding)));
  writer.texts(3, leaf.names);
  writer.i32(4, CompressionCodecs.indexOf(metadata.codec));
  writer.i64(5, metadata.num_values);
  writer.i64(6, chunk.uncompressedBytes);
  writer.i64(7, chunk.byteLength);
  writer.i64(9, chunk.dataStart);
  writer.i64(11, chunk.dictionaryStart);
}
