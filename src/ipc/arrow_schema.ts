/**
 * Makes apache-arrow's `Schema` from a verified schema. apache-arrow's own reader of metadata is not used, because it does
 * not check bounds.
 *
 * @module
 */
import {
  Binary,
  BinaryView,
  Bool,
  type DataType,
  Date_,
  DateUnit,
  Decimal,
  Dictionary,
  Duration,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float,
  Int,
  Interval,
  IntervalUnit,
  LargeBinary,
  LargeList,
  LargeUtf8,
  List,
  Map_,
  MetadataVersion,
  Null,
  Precision,
  Schema,
  Struct,
  Time,
  Timestamp,
  TimeUnit,
  Type,
  Union,
  UnionMode,
  Utf8,
  Utf8View,
} from "apache-arrow";
import { DipcError, unexpected } from "../errors.ts";
import { typeText } from "./describe.ts";
import type { ArrowType, FieldLayout, SchemaLayout, TimeUnitName } from "./layout.ts";
import { quoted, shortText } from "./quote.ts";

const TIME_UNIT: Record<TimeUnitName, TimeUnit> = {
  s: TimeUnit.SECOND,
  ms: TimeUnit.MILLISECOND,
  us: TimeUnit.MICROSECOND,
  ns: TimeUnit.NANOSECOND,
};

const INTERVAL_UNIT = {
  year_month: IntervalUnit.YEAR_MONTH,
  day_time: IntervalUnit.DAY_TIME,
  month_day_nano: IntervalUnit.MONTH_DAY_NANO,
} as const;

/**
 * The schema as apache-arrow represents it.
 *
 * @throws {DipcError} `unsupported` naming the column and the type that apache-arrow cannot represent, or for big-endian data
 */
export function arrowSchema(layout: SchemaLayout): Schema {
  if (layout.endianness !== "little") {
    throw new DipcError(
      "unsupported",
      "cannot decode record batches: the data is big-endian, expected little-endian; read the raw messages, or write them to a file",
    );
  }
  const dictionaries = new Map<bigint, DictionaryType>();
  const fields = layout.fields.map((field) => arrowField(field, dictionaries));
  const byNumber = new Map([...dictionaries.values()].map(({ id, type }) => [id, type]));
  return new Schema(
    fields,
    new Map(layout.metadata),
    byNumber,
    layout.version === 4 ? MetadataVersion.V4 : MetadataVersion.V5,
  );
}

interface DictionaryType {
  readonly id: number;
  readonly type: DataType;
}

function arrowField(field: FieldLayout, dictionaries: Map<bigint, DictionaryType>): Field {
  return new Field(field.name, arrowType(field, dictionaries), field.nullable, new Map(field.metadata));
}

function arrowType(field: FieldLayout, dictionaries: Map<bigint, DictionaryType>): DataType {
  if (field.dictionary === null) return valueType(field, dictionaries);
  const { id, index, ordered } = field.dictionary;
  let known = dictionaries.get(id);
  if (known === undefined) {
    const type = valueType(field, dictionaries);
    // Ids have 64 bits in the format but are numbers in apache-arrow; those beyond 2⁵³ get a unique negative number.
    const asNumber = Number(id);
    known = { id: Number.isSafeInteger(asNumber) ? asNumber : -(2 ** 40) - dictionaries.size, type };
    dictionaries.set(id, known);
  }
  // 64-bit indices keep their type; column_checks.ts narrows their values.
  return new Dictionary(known.type, new Int(index.signed, index.bitWidth) as never, known.id, ordered);
}

function valueType(field: FieldLayout, dictionaries: Map<bigint, DictionaryType>): DataType {
  const { type } = field;
  const children = (): Field[] => field.children.map((child) => arrowField(child, dictionaries));
  switch (type.id) {
    case "list":
      return new List(children()[0]);
    case "large_list":
      return new LargeList(children()[0]);
    case "fixed_size_list":
      return new FixedSizeList(type.listSize, children()[0]);
    case "struct":
      return new Struct(children());
    case "map":
      return new Map_(children()[0], type.keysSorted);
    case "union":
      return new Union(
        type.mode === "sparse" ? UnionMode.Sparse : UnionMode.Dense,
        [...type.typeIds],
        children(),
      ) as DataType;
    case "list_view":
    case "large_list_view":
    case "run_end_encoded":
      throw new DipcError(
        "unsupported",
        `cannot decode record batches: column ${quoted(field.path)} is of type ${
          shortText(typeText(field))
        }, which apache-arrow cannot represent; read the raw messages, or write them to a file`,
      );
    default:
      return flatType(type);
  }
}

type NestedId =
  | ("list" | "large_list" | "list_view" | "large_list_view" | "fixed_size_list")
  | ("struct" | "map" | "union" | "run_end_encoded");

function flatType(type: Exclude<ArrowType, { readonly id: NestedId }>): DataType {
  switch (type.id) {
    case "null":
      return new Null();
    case "bool":
      return new Bool();
    case "int":
      return new Int(type.signed, type.bitWidth) as DataType;
    case "float":
      return new Float(
        type.bitWidth === 16 ? Precision.HALF : type.bitWidth === 32 ? Precision.SINGLE : Precision.DOUBLE,
      ) as DataType;
    case "decimal":
      return new Decimal(type.scale, type.precision, type.bitWidth);
    case "date":
      return new Date_(type.unit === "day" ? DateUnit.DAY : DateUnit.MILLISECOND) as DataType;
    case "time":
      return new Time(TIME_UNIT[type.unit], type.bitWidth) as DataType;
    case "timestamp":
      return new Timestamp(TIME_UNIT[type.unit], type.timezone) as DataType;
    case "duration":
      return new Duration(TIME_UNIT[type.unit]) as DataType;
    case "interval":
      return new Interval(INTERVAL_UNIT[type.unit]) as DataType;
    case "binary":
      return new Binary();
    case "utf8":
      return new Utf8();
    case "large_binary":
      return new LargeBinary();
    case "large_utf8":
      return new LargeUtf8();
    case "binary_view":
      return new BinaryView();
    case "utf8_view":
      return new Utf8View();
    case "fixed_size_binary":
      return new FixedSizeBinary(type.byteWidth);
    default:
      return unexpected(type);
  }
}

/** The types that apache-arrow supports, by its numbers. */
const IDS = new Map<Type, ArrowType["id"]>([
  [Type.Null, "null"],
  [Type.Bool, "bool"],
  [Type.Int, "int"],
  [Type.Float, "float"],
  [Type.Decimal, "decimal"],
  [Type.Date, "date"],
  [Type.Time, "time"],
  [Type.Timestamp, "timestamp"],
  [Type.Duration, "duration"],
  [Type.Interval, "interval"],
  [Type.Binary, "binary"],
  [Type.Utf8, "utf8"],
  [Type.LargeBinary, "large_binary"],
  [Type.LargeUtf8, "large_utf8"],
  [Type.BinaryView, "binary_view"],
  [Type.Utf8View, "utf8_view"],
  [Type.FixedSizeBinary, "fixed_size_binary"],
  [Type.List, "list"],
  [Type.LargeList, "large_list"],
  [Type.FixedSizeList, "fixed_size_list"],
  [Type.Struct, "struct"],
  [Type.Map, "map"],
  [Type.Union, "union"],
]);

/** The id of one of apache-arrow's types; `null` for a type that only apache-arrow has. */
export function arrowTypeId({ typeId }: DataType): ArrowType["id"] | "dictionary" | null {
  return typeId === Type.Dictionary ? "dictionary" : IDS.get(typeId) ?? null;
}
