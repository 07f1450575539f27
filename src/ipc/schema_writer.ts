/**
 * Writes the metadata of a schema message as a flatbuffer. Table and field numbers are those of Arrow's `Schema.fbs`.
 *
 * @module
 */
import { Builder } from "flatbuffers";
import type { ArrowType, FieldLayout } from "./layout.ts";
import { TYPE_ENTRIES } from "./type_reader.ts";

const UNITS = { s: 0, ms: 1, us: 2, ns: 3 } as const;
const INTERVAL_UNITS = { year_month: 0, day_time: 1, month_day_nano: 2 } as const;
/** Number of `Schema` in the `MessageHeader` union, and of metadata version V5. */
const SCHEMA = 1, VERSION_5 = 4;

/**
 * Encodes a little-endian schema as a `Message` of metadata version V5.
 *
 * @param fields Columns in order
 * @param metadata Custom metadata of the schema
 */
export function encodeSchemaMessage(
  fields: readonly FieldLayout[],
  metadata: ReadonlyMap<string, string>,
): Uint8Array<ArrayBuffer> {
  const builder = new Builder(1024);
  const columns = vectorOf(builder, fields.map((field) => writeField(builder, field)));
  const custom = writeMetadata(builder, metadata);
  builder.startObject(4);
  builder.addFieldOffset(1, columns, 0);
  builder.addFieldOffset(2, custom, 0);
  const schema = builder.endObject();
  builder.startObject(5);
  builder.addFieldInt16(0, VERSION_5, 0);
  builder.addFieldInt8(1, SCHEMA, 0);
  builder.addFieldOffset(2, schema, 0);
  builder.finish(builder.endObject());
  return builder.asUint8Array().slice();
}

function writeField(builder: Builder, field: FieldLayout): number {
  const children = vectorOf(builder, field.children.map((child) => writeField(builder, child)));
  const name = builder.createString(field.name);
  const type = writeType(builder, field.type);
  const dictionary = field.dictionary === null ? 0 : writeDictionary(builder, field.dictionary);
  const custom = writeMetadata(builder, field.metadata);
  builder.startObject(7);
  builder.addFieldOffset(0, name, 0);
  builder.addFieldInt8(1, field.nullable ? 1 : 0, 0);
  builder.addFieldInt8(2, TYPE_ENTRIES[field.type.id].number, 0);
  builder.addFieldOffset(3, type, 0);
  builder.addFieldOffset(4, dictionary, 0);
  builder.addFieldOffset(5, children, 0);
  builder.addFieldOffset(6, custom, 0);
  return builder.endObject();
}

function writeDictionary(builder: Builder, dictionary: NonNullable<FieldLayout["dictionary"]>): number {
  const index = writeType(builder, dictionary.index);
  builder.startObject(4);
  builder.addFieldInt64(0, dictionary.id, 0n);
  builder.addFieldOffset(1, index, 0);
  builder.addFieldInt8(2, dictionary.ordered ? 1 : 0, 0);
  return builder.endObject();
}

function writeMetadata(builder: Builder, metadata: ReadonlyMap<string, string>): number {
  if (metadata.size === 0) return 0;
  const pairs = [...metadata].map(([key, value]) => {
    const texts = [builder.createString(key), builder.createString(value)];
    builder.startObject(2);
    texts.forEach((text, i) => builder.addFieldOffset(i, text, 0));
    return builder.endObject();
  });
  return vectorOf(builder, pairs);
}

function vectorOf(builder: Builder, offsets: readonly number[]): number {
  builder.startVector(4, offsets.length, 4);
  for (const offset of offsets.toReversed()) builder.addOffset(offset);
  return builder.endVector();
}

/** The table with the parameters of a type. Defaults are those of `Schema.fbs`, which the format leaves out. */
function writeType(builder: Builder, type: ArrowType): number {
  const timezone = type.id === "timestamp" && type.timezone !== null ? builder.createString(type.timezone) : 0;
  const typeIds = type.id === "union" ? numbersOf(builder, type.typeIds) : 0;
  builder.startObject(3);
  switch (type.id) {
    case "int":
      builder.addFieldInt32(0, type.bitWidth, 0);
      builder.addFieldInt8(1, type.signed ? 1 : 0, 0);
      break;
    case "float":
      builder.addFieldInt16(0, type.bitWidth === 16 ? 0 : type.bitWidth === 32 ? 1 : 2, 0);
      break;
    case "decimal":
      builder.addFieldInt32(0, type.precision, 0);
      builder.addFieldInt32(1, type.scale, 0);
      builder.addFieldInt32(2, type.bitWidth, 128);
      break;
    case "date":
      builder.addFieldInt16(0, type.unit === "day" ? 0 : 1, 1);
      break;
    case "time":
      builder.addFieldInt16(0, UNITS[type.unit], 1);
      builder.addFieldInt32(1, type.bitWidth, 32);
      break;
    case "timestamp":
      builder.addFieldInt16(0, UNITS[type.unit], 0);
      builder.addFieldOffset(1, timezone, 0);
      break;
    case "duration":
      builder.addFieldInt16(0, UNITS[type.unit], 1);
      break;
    case "interval":
      builder.addFieldInt16(0, INTERVAL_UNITS[type.unit], 0);
      break;
    case "fixed_size_binary":
      builder.addFieldInt32(0, type.byteWidth, 0);
      break;
    case "fixed_size_list":
      builder.addFieldInt32(0, type.listSize, 0);
      break;
    case "map":
      builder.addFieldInt8(0, type.keysSorted ? 1 : 0, 0);
      break;
    case "union":
      builder.addFieldInt16(0, type.mode === "dense" ? 1 : 0, 0);
      builder.addFieldOffset(1, typeIds, 0);
      break;
  }
  return builder.endObject();
}

function numbersOf(builder: Builder, values: readonly number[]): number {
  builder.startVector(4, values.length, 4);
  for (const value of values.toReversed()) builder.addInt32(value);
  return builder.endVector();
}
