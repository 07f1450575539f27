/**
 * Writes the metadata of a schema with any Arrow type as a flatbuffer, also with those that apache-arrow lacks. Table and field
 * numbers are those of Arrow's `Schema.fbs` and `Message.fbs`.
 *
 * @module
 */
import { Builder } from "flatbuffers";
import { unexpected } from "../errors.ts";
import type { ArrowType, DictionaryLayout, FieldLayout, TimeUnitName } from "./layout.ts";
import { TYPE_ENTRIES } from "./type_reader.ts";

/** A field to be written. */
export interface SchemaField extends Omit<FieldLayout, "path" | "children"> {
  readonly children: readonly SchemaField[];
}

const UNITS: readonly TimeUnitName[] = ["s", "ms", "us", "ns"];
const V5 = 4;
const SCHEMA = 1;

/**
 * Encodes the `Message` of a schema, in metadata version V5 and little-endian.
 *
 * @param fields The columns
 * @param metadata Custom metadata of the schema
 */
export function encodeSchemaMessage(
  fields: readonly SchemaField[],
  metadata: ReadonlyMap<string, string>,
): Uint8Array<ArrayBuffer> {
  const builder = new Builder(1024);
  const columns = vector(builder, fields.map((field) => writeField(builder, field)));
  const custom = writeMetadata(builder, metadata);
  builder.startObject(4);
  builder.addFieldOffset(1, columns, 0);
  builder.addFieldOffset(2, custom, 0);
  const schema = builder.endObject();
  builder.startObject(5);
  builder.addFieldInt16(0, V5, 0);
  builder.addFieldInt8(1, SCHEMA, 0);
  builder.addFieldOffset(2, schema, 0);
  builder.finish(builder.endObject());
  return new Uint8Array(builder.asUint8Array());
}

/** A vector of references to what was written before. */
function vector(builder: Builder, offsets: readonly number[]): number {
  builder.startVector(4, offsets.length, 4);
  for (const offset of [...offsets].reverse()) builder.addOffset(offset);
  return builder.endVector();
}

function writeMetadata(builder: Builder, metadata: ReadonlyMap<string, string>): number {
  if (metadata.size === 0) return 0;
  const pairs = [...metadata].map(([key, value]) => {
    const [keyAt, valueAt] = [builder.createString(key), builder.createString(value)];
    builder.startObject(2);
    builder.addFieldOffset(0, keyAt, 0);
    builder.addFieldOffset(1, valueAt, 0);
    return builder.endObject();
  });
  return vector(builder, pairs);
}

function writeField(builder: Builder, field: SchemaField): number {
  const name = builder.createString(field.name);
  const children = vector(builder, field.children.map((child) => writeField(builder, child)));
  const type = writeType(builder, field.type);
  const dictionary = field.dictionary === null ? 0 : writeDictionary(builder, field.dictionary);
  const metadata = writeMetadata(builder, field.metadata);
  builder.startObject(7);
  builder.addFieldOffset(0, name, 0);
  builder.addFieldInt8(1, field.nullable ? 1 : 0, 0);
  builder.addFieldInt8(2, TYPE_ENTRIES[field.type.id].number, 0);
  builder.addFieldOffset(3, type, 0);
  builder.addFieldOffset(4, dictionary, 0);
  builder.addFieldOffset(5, children, 0);
  builder.addFieldOffset(6, metadata, 0);
  return builder.endObject();
}

function writeDictionary(builder: Builder, dictionary: DictionaryLayout): number {
  const index = writeType(builder, dictionary.index);
  builder.startObject(4);
  builder.addFieldInt64(0, dictionary.id, 0n);
  builder.addFieldOffset(1, index, 0);
  builder.addFieldInt8(2, dictionary.ordered ? 1 : 0, 0);
  return builder.endObject();
}

/** The table with the parameters of a type. */
function writeType(builder: Builder, type: ArrowType): number {
  switch (type.id) {
    case "int":
      return table(builder, () => {
        builder.addFieldInt32(0, type.bitWidth, 0);
        builder.addFieldInt8(1, type.signed ? 1 : 0, 0);
      });
    case "float":
      return table(builder, () => builder.addFieldInt16(0, { 16: 0, 32: 1, 64: 2 }[type.bitWidth], 0));
    case "decimal":
      return table(builder, () => {
        builder.addFieldInt32(0, type.precision, 0);
        builder.addFieldInt32(1, type.scale, 0);
        builder.addFieldInt32(2, type.bitWidth, 128);
      });
    case "date":
      return table(builder, () => builder.addFieldInt16(0, type.unit === "day" ? 0 : 1, 1));
    case "time":
      return table(builder, () => {
        builder.addFieldInt16(0, UNITS.indexOf(type.unit), 1);
        builder.addFieldInt32(1, type.bitWidth, 32);
      });
    case "timestamp": {
      const timezone = type.timezone === null ? 0 : builder.createString(type.timezone);
      return table(builder, () => {
        builder.addFieldInt16(0, UNITS.indexOf(type.unit), 0);
        builder.addFieldOffset(1, timezone, 0);
      });
    }
    case "duration":
      return table(builder, () => builder.addFieldInt16(0, UNITS.indexOf(type.unit), 1));
    case "interval":
      return table(
        builder,
        () => builder.addFieldInt16(0, ["year_month", "day_time", "month_day_nano"].indexOf(type.unit), 0),
      );
    case "fixed_size_binary":
      return table(builder, () => builder.addFieldInt32(0, type.byteWidth, 0));
    case "fixed_size_list":
      return table(builder, () => builder.addFieldInt32(0, type.listSize, 0));
    case "map":
      return table(builder, () => builder.addFieldInt8(0, type.keysSorted ? 1 : 0, 0));
    case "union": {
      builder.startVector(4, type.typeIds.length, 4);
      for (const id of [...type.typeIds].reverse()) builder.addInt32(id);
      const typeIds = builder.endVector();
      return table(builder, () => {
        builder.addFieldInt16(0, type.mode === "sparse" ? 0 : 1, 0);
        builder.addFieldOffset(1, typeIds, 0);
      });
    }
    case "null":
    case "bool":
    case "binary":
    case "utf8":
    case "large_binary":
    case "large_utf8":
    case "binary_view":
    case "utf8_view":
    case "list":
    case "large_list":
    case "list_view":
    case "large_list_view":
    case "struct":
    case "run_end_encoded":
      return table(builder, () => {});
    default:
      return unexpected(type);
  }
}

function table(builder: Builder, fill: () => void): number {
  builder.startObject(3);
  fill();
  return builder.endObject();
}
