/**
 * Reads and verifies the type of a field: one row for each Arrow type. Table and field numbers are those of Arrow's
 * `Schema.fbs`.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type FlatReader, invalidMetadata } from "./flatbuffer.ts";
import type { ArrowType, DictionaryLayout, TimeUnitName } from "./layout.ts";
import { quoted } from "./quote.ts";

const TIME_UNITS: readonly TimeUnitName[] = ["s", "ms", "us", "ns"];

/** The table that holds the parameters of a type. */
interface TypeTable {
  readonly reader: FlatReader;
  /** Position of the checked table. */
  readonly table: number;
  /** Path of the field, for messages. */
  readonly path: string;
  /** Number of children of the field. */
  readonly childCount: number;
}

/** How one type is encoded in metadata. */
interface TypeEntry {
  /** Number in the `Type` union. */
  readonly number: number;
  /** Children that the field must have; `null` if any number is valid, or if the parameters decide. */
  readonly children: number | null;
  /** The type, or a function that reads its parameters. */
  readonly type: ArrowType | ((from: TypeTable) => ArrowType);
}

/** Every type. Types without parameters are shared by their fields, so that a large schema stays small in memory. */
export const TYPE_ENTRIES: Readonly<Record<ArrowType["id"], TypeEntry>> = {
  null: { number: 1, children: 0, type: { id: "null" } },
  int: { number: 2, children: 0, type: ({ reader, table, path }) => readInt(reader, table, path) },
  float: { number: 3, children: 0, type: readFloat },
  binary: { number: 4, children: 0, type: { id: "binary" } },
  utf8: { number: 5, children: 0, type: { id: "utf8" } },
  bool: { number: 6, children: 0, type: { id: "bool" } },
  decimal: { number: 7, children: 0, type: readDecimal },
  date: { number: 8, children: 0, type: (from) => ({ id: "date", unit: readUnit(from, 1, ["day", "ms"]) }) },
  time: { number: 9, children: 0, type: readTime },
  timestamp: { number: 10, children: 0, type: readTimestamp },
  interval: { number: 11, children: 0, type: readInterval },
  list: { number: 12, children: 1, type: { id: "list" } },
  struct: { number: 13, children: null, type: { id: "struct" } },
  union: { number: 14, children: null, type: readUnion },
  fixed_size_binary: { number: 15, children: 0, type: readFixedSizeBinary },
  fixed_size_list: { number: 16, children: 1, type: readFixedSizeList },
  map: { number: 17, children: 1, type: readMap },
  duration: { number: 18, children: 0, type: (from) => ({ id: "duration", unit: readUnit(from, 1, TIME_UNITS) }) },
  large_binary: { number: 19, children: 0, type: { id: "large_binary" } },
  large_utf8: { number: 20, children: 0, type: { id: "large_utf8" } },
  large_list: { number: 21, children: 1, type: { id: "large_list" } },
  run_end_encoded: { number: 22, children: 2, type: { id: "run_end_encoded" } },
  binary_view: { number: 23, children: 0, type: { id: "binary_view" } },
  utf8_view: { number: 24, children: 0, type: { id: "utf8_view" } },
  list_view: { number: 25, children: 1, type: { id: "list_view" } },
  large_list_view: { number: 26, children: 1, type: { id: "large_list_view" } },
};

const BY_NUMBER = new Map(Object.values(TYPE_ENTRIES).map(({ number, type }) => [number, type]));

/**
 * Reads the type of a field.
 *
 * @param reader Reader of the whole message
 * @param field Position of the checked `Field` table
 * @param path Path of the field, for messages
 * @param childCount Number of children of the field
 * @throws {DipcError} `invalid_data`; `unsupported` for a type that this version does not know
 */
export function readType(reader: FlatReader, field: number, path: string, childCount: number): ArrowType {
  const what = "type of a field";
  const number = reader.uint8(field, 2, 0, what);
  const type = BY_NUMBER.get(number);
  if (typeof type === "object") return type;
  const table = reader.child(field, 3, what);
  if (number === 0) throw invalidMetadata(`field ${quoted(path)} has no type`);
  if (type === undefined) {
    throw new DipcError(
      "unsupported",
      `cannot read Arrow metadata: field ${
        quoted(path)
      } has type number ${number}, which is newer than this version of dipc; update dipc`,
    );
  }
  if (table === 0) throw invalidMetadata(`field ${quoted(path)} of type number ${number} lacks its type table`);
  return type({ reader, table, path, childCount });
}

/** Reads an `Int` table. @throws {DipcError} `invalid_data` */
export function readInt(reader: FlatReader, table: number, path: string): DictionaryLayout["index"] {
  const bitWidth = reader.int32(table, 0, 0, "int width");
  if (bitWidth !== 8 && bitWidth !== 16 && bitWidth !== 32 && bitWidth !== 64) {
    throw invalidMetadata(`field ${quoted(path)} is an int of ${bitWidth} bits, expected 8, 16, 32 or 64`);
  }
  return { id: "int", bitWidth, signed: reader.bool(table, 1, "int signedness") };
}

function wrong({ path }: TypeTable, value: unknown, expected: string): DipcError {
  return invalidMetadata(`field ${quoted(path)} has type parameter ${value}, expected ${expected}`);
}

/** Reads field 0 as an index into `names`. */
function readUnit<Name extends string>(from: TypeTable, fallback: number, names: readonly Name[]): Name {
  const value = from.reader.int16(from.table, 0, fallback, "type unit");
  if (value < 0 || value >= names.length) throw wrong(from, value, `0 to ${names.length - 1}`);
  return names[value];
}

function readFloat(from: TypeTable): ArrowType {
  const precision = from.reader.int16(from.table, 0, 0, "float precision");
  if (precision < 0 || precision > 2) throw wrong(from, precision, "0 to 2");
  return { id: "float", bitWidth: precision === 0 ? 16 : precision === 1 ? 32 : 64 };
}

function readDecimal(from: TypeTable): ArrowType {
  const { reader, table } = from;
  const precision = reader.int32(table, 0, 0, "decimal precision");
  const scale = reader.int32(table, 1, 0, "decimal scale");
  const bitWidth = reader.int32(table, 2, 128, "decimal width");
  if (bitWidth !== 32 && bitWidth !== 64 && bitWidth !== 128 && bitWidth !== 256) {
    throw wrong(from, bitWidth, "a decimal of 32, 64, 128 or 256 bits");
  }
  const most = bitWidth === 32 ? 9 : bitWidth === 64 ? 18 : bitWidth === 128 ? 38 : 76;
  if (precision < 1 || precision > most) throw wrong(from, precision, `a precision from 1 to ${most}`);
  return { id: "decimal", bitWidth, precision, scale };
}

function readTime(from: TypeTable): ArrowType {
  const unit = readUnit(from, 1, TIME_UNITS);
  const bitWidth = from.reader.int32(from.table, 1, 32, "time width");
  const expected = unit === "s" || unit === "ms" ? 32 : 64;
  if (bitWidth !== expected) throw wrong(from, bitWidth, `${expected} bits for a time in ${unit}`);
  return { id: "time", unit, bitWidth: expected };
}

function readTimestamp(from: TypeTable): ArrowType {
  const unit = readUnit(from, 0, TIME_UNITS);
  return { id: "timestamp", unit, timezone: from.reader.string(from.table, 1, "time zone") };
}

function readInterval(from: TypeTable): ArrowType {
  return { id: "interval", unit: readUnit(from, 0, ["year_month", "day_time", "month_day_nano"]) };
}

function readUnion(from: TypeTable): ArrowType {
  return { id: "union", mode: readUnit(from, 0, ["sparse", "dense"]), typeIds: readTypeIds(from) };
}

/** Type ids of a union, one for each child; if the vector is absent they are 0, 1, … */
function readTypeIds({ reader, table, path, childCount }: TypeTable): number[] {
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

function readFixedSizeBinary(from: TypeTable): ArrowType {
  const byteWidth = from.reader.int32(from.table, 0, 0, "byte width");
  if (byteWidth < 0) throw wrong(from, byteWidth, "a byte width of 0 or more");
  return { id: "fixed_size_binary", byteWidth };
}

function readFixedSizeList(from: TypeTable): ArrowType {
  const listSize = from.reader.int32(from.table, 0, 0, "list size");
  if (listSize < 0) throw wrong(from, listSize, "a list size of 0 or more");
  return { id: "fixed_size_list", listSize };
}

function readMap({ reader, table }: TypeTable): ArrowType {
  return { id: "map", keysSorted: reader.bool(table, 0, "sortedness of map keys") };
}
