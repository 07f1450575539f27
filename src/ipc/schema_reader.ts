/**
 * Reads and verifies the schema of a stream. Table and field numbers are those of Arrow's `Schema.fbs`.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type FlatReader, invalidMetadata, MAX_DEPTH } from "./flatbuffer.ts";
import {
  type ArrowType,
  type DictionaryLayout,
  type DictionaryPlan,
  type FieldLayout,
  NodePlan,
  type SchemaLayout,
  type TimeUnitName,
} from "./layout.ts";
import { quoted } from "./quote.ts";

const TIME_UNITS: readonly TimeUnitName[] = ["s", "ms", "us", "ns"];

/** Types without parameters, by their number in the `Type` union. */
const PLAIN = new Map<number, ArrowType>([
  [1, { id: "null" }],
  [4, { id: "binary" }],
  [5, { id: "utf8" }],
  [6, { id: "bool" }],
  [12, { id: "list" }],
  [13, { id: "struct" }],
  [19, { id: "large_binary" }],
  [20, { id: "large_utf8" }],
  [21, { id: "large_list" }],
  [22, { id: "run_end_encoded" }],
  [23, { id: "binary_view" }],
  [24, { id: "utf8_view" }],
  [25, { id: "list_view" }],
  [26, { id: "large_list_view" }],
]);

/** Shared by the many fields that have none, so that a large schema stays small in memory. */
const NO_METADATA: ReadonlyMap<string, string> = new Map();
const NO_CHILDREN: FieldLayout[] = [];

/** Number of children each nested type must have; any number for struct and union, none for the others. */
const CHILD_COUNT: Partial<Record<ArrowType["id"], number>> = {
  list: 1,
  large_list: 1,
  list_view: 1,
  large_list_view: 1,
  fixed_size_list: 1,
  map: 1,
  run_end_encoded: 2,
};

/**
 * Reads the `Schema` table.
 *
 * @param reader Reader of the whole message
 * @param table Position of the checked `Schema` table
 * @param version Metadata version of the message
 * @throws {DipcError} `invalid_data`; `unsupported` for a type this version does not know
 */
export function readSchema(reader: FlatReader, table: number, version: 4 | 5): SchemaLayout {
  const endianness = reader.int16(table, 0, 0, "schema endianness");
  if (endianness !== 0 && endianness !== 1) {
    throw invalidMetadata(`schema endianness is ${endianness}, expected 0 (little) or 1 (big)`);
  }
  const vector = reader.vector(table, 1, 4, "schema fields");
  const fields: FieldLayout[] = [];
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    fields.push(readField(reader, reader.element(vector, i, "field"), "", 1));
  }
  reader.context = "";
  const dictionaries = new Map<bigint, DictionaryPlan>();
  for (const field of fields) collectDictionaries(field, dictionaries);
  return {
    endianness: endianness === 0 ? "little" : "big",
    version,
    fields,
    metadata: readMetadata(reader, table, 2, "schema metadata"),
    plan: new NodePlan(fields),
    dictionaries,
  };
}

function readField(reader: FlatReader, table: number, prefix: string, depth: number): FieldLayout {
  const name = reader.string(table, 0, "field name") ?? "";
  const path = prefix === "" ? name : `${prefix}.${name}`;
  reader.context = path;
  if (depth > MAX_DEPTH) throw invalidMetadata(`fields are nested deeper than ${MAX_DEPTH}`);
  const vector = reader.vector(table, 5, 4, "children of a field");
  const childCount = reader.length(vector);
  const children: FieldLayout[] = childCount === 0 ? NO_CHILDREN : [];
  for (let i = 0; i < childCount; i++) {
    children.push(readField(reader, reader.element(vector, i, "field"), path, depth + 1));
    reader.context = path;
  }
  const what = "type of a field";
  const typeNumber = reader.uint8(table, 2, 0, what);
  const type = PLAIN.get(typeNumber) ??
    readType(reader, reader.child(table, 3, what), typeNumber, path, childCount);
  checkChildren(type, children, path);
  return {
    name,
    path,
    nullable: reader.bool(table, 1, "field nullability"),
    type,
    children,
    dictionary: readDictionaryEncoding(reader, reader.child(table, 4, "dictionary encoding"), path),
    metadata: readMetadata(reader, table, 6, "metadata of a field"),
  };
}

function checkChildren(type: ArrowType, children: readonly FieldLayout[], path: string): void {
  if (type.id === "struct") return;
  const expected = type.id === "union" ? type.typeIds.length : CHILD_COUNT[type.id] ?? 0;
  if (children.length !== expected) {
    throw invalidMetadata(
      `field ${quoted(path)} of type ${type.id} has ${children.length} children, expected ${expected}`,
    );
  }
  if (type.id === "map") {
    const entries = children[0];
    if (entries.type.id !== "struct" || entries.children.length !== 2 || entries.dictionary !== null) {
      throw invalidMetadata(`entries of map field ${quoted(path)} are not a struct of 2 children`);
    }
  }
  if (type.id === "run_end_encoded") {
    const ends = children[0];
    const good = ends.type.id === "int" && ends.type.signed && ends.type.bitWidth > 8 && ends.dictionary === null;
    if (!good) throw invalidMetadata(`run ends of field ${quoted(path)} are not int16, int32 or int64`);
  }
}

function readDictionaryEncoding(reader: FlatReader, table: number, path: string): DictionaryLayout | null {
  if (table === 0) return null;
  const what = "dictionary encoding";
  const kind = reader.int16(table, 3, 0, what);
  if (kind !== 0) {
    throw invalidMetadata(`dictionary of field ${quoted(path)} is of kind ${kind}, expected 0 (dense array)`);
  }
  const index = reader.child(table, 1, what);
  return {
    id: reader.int64(table, 0, what),
    // The format's default for an absent index type.
    index: index === 0 ? { id: "int", bitWidth: 32, signed: true } : readInt(reader, index, path),
    ordered: reader.bool(table, 2, what),
  };
}

function readInt(reader: FlatReader, table: number, path: string): DictionaryLayout["index"] {
  const bitWidth = reader.int32(table, 0, 0, "int width");
  if (bitWidth !== 8 && bitWidth !== 16 && bitWidth !== 32 && bitWidth !== 64) {
    throw invalidMetadata(`field ${quoted(path)} is an int of ${bitWidth} bits, expected 8, 16, 32 or 64`);
  }
  return { id: "int", bitWidth, signed: reader.bool(table, 1, "int signedness") };
}

function readType(
  reader: FlatReader,
  table: number,
  typeNumber: number,
  path: string,
  childCount: number,
): ArrowType {
  const wrong = (value: unknown, expected: string): DipcError =>
    invalidMetadata(`field ${quoted(path)} has type parameter ${value}, expected ${expected}`);
  if (typeNumber === 0) throw invalidMetadata(`field ${quoted(path)} has no type`);
  if (typeNumber > 26) {
    throw new DipcError(
      "unsupported",
      `Cannot read Arrow metadata: field ${
        quoted(path)
      } has type number ${typeNumber}, which is newer than this version of dipc. Update dipc`,
    );
  }
  if (table === 0) throw invalidMetadata(`field ${quoted(path)} of type number ${typeNumber} lacks its type table`);
  const unit = (fallback: number, names: readonly string[]): string => {
    const value = reader.int16(table, 0, fallback, "type unit");
    if (value < 0 || value >= names.length) throw wrong(value, `0 to ${names.length - 1}`);
    return names[value];
  };
  switch (typeNumber) {
    case 2:
      return readInt(reader, table, path);
    case 3: {
      const precision = reader.int16(table, 0, 0, "float precision");
      if (precision < 0 || precision > 2) throw wrong(precision, "0 to 2");
      return { id: "float", bitWidth: precision === 0 ? 16 : precision === 1 ? 32 : 64 };
    }
    case 7: {
      const precision = reader.int32(table, 0, 0, "decimal precision");
      const scale = reader.int32(table, 1, 0, "decimal scale");
      const bitWidth = reader.int32(table, 2, 128, "decimal width");
      if (bitWidth !== 32 && bitWidth !== 64 && bitWidth !== 128 && bitWidth !== 256) {
        throw wrong(bitWidth, "a decimal of 32, 64, 128 or 256 bits");
      }
      const most = bitWidth === 32 ? 9 : bitWidth === 64 ? 18 : bitWidth === 128 ? 38 : 76;
      if (precision < 1 || precision > most) throw wrong(precision, `a precision from 1 to ${most}`);
      return { id: "decimal", bitWidth, precision, scale };
    }
    case 8:
      return { id: "date", unit: unit(1, ["day", "ms"]) as "day" | "ms" };
    case 9: {
      const name = unit(1, TIME_UNITS) as TimeUnitName;
      const bitWidth = reader.int32(table, 1, 32, "time width");
      const expected = name === "s" || name === "ms" ? 32 : 64;
      if (bitWidth !== expected) throw wrong(bitWidth, `${expected} bits for a time in ${name}`);
      return { id: "time", unit: name, bitWidth: expected };
    }
    case 10:
      return {
        id: "timestamp",
        unit: unit(0, TIME_UNITS) as TimeUnitName,
        timezone: reader.string(table, 1, "time zone"),
      };
    case 11: {
      const units = ["year_month", "day_time", "month_day_nano"] as const;
      return { id: "interval", unit: unit(0, units) as (typeof units)[number] };
    }
    case 14: {
      const mode = unit(0, ["sparse", "dense"]) as "sparse" | "dense";
      return { id: "union", mode, typeIds: readTypeIds(reader, table, path, childCount) };
    }
    case 15: {
      const byteWidth = reader.int32(table, 0, 0, "byte width");
      if (byteWidth < 0) throw wrong(byteWidth, "a byte width of 0 or more");
      return { id: "fixed_size_binary", byteWidth };
    }
    case 16: {
      const listSize = reader.int32(table, 0, 0, "list size");
      if (listSize < 0) throw wrong(listSize, "a list size of 0 or more");
      return { id: "fixed_size_list", listSize };
    }
    case 17:
      return { id: "map", keysSorted: reader.bool(table, 0, "sortedness of map keys") };
    default: // 18
      return { id: "duration", unit: unit(1, TIME_UNITS) as TimeUnitName };
  }
}

/** Type ids of a union, one for each child; where the vector is absent they are 0, 1, … */
function readTypeIds(reader: FlatReader, table: number, path: string, childCount: number): number[] {
  if (childCount > 128) throw invalidMetadata(`union ${quoted(path)} has ${childCount} children, expected 128 at most`);
  const vector = reader.vector(table, 1, 4, "type ids of a union");
  if (vector === 0) return Array.from({ length: childCount }, (_, index) => index);
  const ids: number[] = [];
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    const id = reader.view.getInt32(vector + 4 + 4 * i, true);
    if (id < 0 || id > 127 || ids.includes(id)) {
      throw invalidMetadata(`union ${quoted(path)} has type id ${id}, expected distinct ids from 0 to 127`);
    }
    ids.push(id);
  }
  return ids;
}

/** Custom metadata of a message, schema or field at `index` of a checked table. */
export function readMetadata(
  reader: FlatReader,
  table: number,
  index: number,
  what: string,
): ReadonlyMap<string, string> {
  const vector = reader.vector(table, index, 4, what);
  if (reader.length(vector) === 0) return NO_METADATA;
  const metadata = new Map<string, string>();
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    const entry = reader.element(vector, i, what);
    metadata.set(reader.string(entry, 0, what) ?? "", reader.string(entry, 1, what) ?? "");
  }
  return metadata;
}

function collectDictionaries(field: FieldLayout, into: Map<bigint, DictionaryPlan>): void {
  if (field.dictionary !== null) {
    const { id } = field.dictionary;
    const known = into.get(id);
    if (known === undefined) {
      into.set(id, { id, field, plan: new NodePlan([field], true) });
    } else if (!sameValues(known.field, field)) {
      throw invalidMetadata(
        `fields ${quoted(known.field.path)} and ${
          quoted(field.path)
        } share dictionary ${id} but differ in their values' type`,
      );
    }
  }
  for (const child of field.children) collectDictionaries(child, into);
}

/** Whether two fields' values have the same physical and logical type, names aside. */
function sameValues(a: FieldLayout, b: FieldLayout): boolean {
  const bare = (field: FieldLayout): unknown => [
    field.type,
    field.children.map((child) => [
      bare(child),
      child.dictionary && [String(child.dictionary.id), child.dictionary.index],
    ]),
  ];
  return JSON.stringify(bare(a)) === JSON.stringify(bare(b));
}
