/**
 * How Parquet stores the values of each Arrow type that has no children, and what it says of them.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import { typeText } from "../../ipc/describe.ts";
import type { ArrowType, FieldLayout } from "../../ipc/layout.ts";
import { quoted } from "../../ipc/quote.ts";
import { annotationOf } from "./extensions.ts";
import { Converted, type LogicalType, Physical } from "./format.ts";
import type { Order } from "./statistics.ts";

/** How values are read from a column and given to the encoder; see `leaf_values.ts`. */
export type Conversion =
  | ("none" | "bits" | "words32" | "words64" | "narrow" | "fixed" | "bytes")
  | ("seconds32" | "seconds64" | "days" | "decimal_words" | "decimal_bytes" | "months" | "day_time");

/** A Parquet column for an Arrow type. */
export interface LeafType {
  readonly physical: Physical;
  readonly conversion: Conversion;
  readonly order: Order;
  /** Bytes of a value of {@linkcode Physical}`.fixed`. */
  readonly length?: number;
  readonly converted?: number;
  readonly logical?: LogicalType;
  /** The type that the embedded Arrow schema names, if it is another one. */
  readonly arrow?: ArrowType;
}

/** The error for a type that cannot be written. */
export function unsupportedField(field: FieldLayout, why: string): DipcError {
  return new DipcError(
    "unsupported",
    `cannot write column ${quoted(field.path)} to Parquet: ${why}; write an Arrow file or stream instead`,
  );
}

/**
 * What becomes of a field without children.
 *
 * @throws {DipcError} `unsupported` if Parquet, or what reads it, has nothing like it
 */
export function leafType(field: FieldLayout): LeafType {
  const plain = plainType(field);
  const annotation = annotationOf(field);
  return annotation === null ? plain : { ...plain, ...annotation };
}

function plainType(field: FieldLayout): LeafType {
  const { type } = field;
  switch (type.id) {
    case "null":
      return { physical: Physical.int32, conversion: "none", order: "none", logical: { id: "null" } };
    case "bool":
      return { physical: Physical.boolean, conversion: "bits", order: "bool" };
    case "int":
      return integerType(type.bitWidth, type.signed);
    case "float":
      return type.bitWidth === 16
        ? { physical: Physical.fixed, length: 2, conversion: "fixed", order: "half", logical: { id: "float16" } }
        : type.bitWidth === 32
        ? { physical: Physical.float, conversion: "words32", order: "float" }
        : { physical: Physical.double, conversion: "words64", order: "double" };
    case "decimal":
      return decimalType(field, type);
    case "date":
      return {
        ...{ physical: Physical.int32, order: "int32", converted: Converted.date, logical: { id: "date" } },
        conversion: type.unit === "day" ? "words32" : "days",
        arrow: { id: "date", unit: "day" },
      };
    case "time":
      return timeType(type.unit);
    case "timestamp":
      return timestampType(type.unit, type.timezone);
    case "duration":
      return { physical: Physical.int64, conversion: "words64", order: "int64" };
    case "interval":
      return intervalType(field, type.unit);
    case "fixed_size_binary":
      if (type.byteWidth === 0) throw unsupportedField(field, "its values have no bytes");
      return { physical: Physical.fixed, length: type.byteWidth, conversion: "fixed", order: "bytes" };
    case "binary":
    case "large_binary":
      return { physical: Physical.bytes, conversion: "bytes", order: "bytes" };
    case "utf8":
    case "large_utf8":
      return TEXT;
    // Views are a layout in memory, which older readers of the embedded schema do not know.
    case "binary_view":
      return { physical: Physical.bytes, conversion: "bytes", order: "bytes", arrow: { id: "binary" } };
    case "utf8_view":
      return { ...TEXT, arrow: { id: "utf8" } };
    default:
      throw unsupportedField(field, `its type is ${typeText(field)}`);
  }
}

const TEXT: LeafType = {
  ...{ physical: Physical.bytes, conversion: "bytes", order: "bytes" },
  ...{ converted: Converted.utf8, logical: { id: "string" } },
};

function integerType(bitWidth: number, isSigned: boolean): LeafType {
  const size = Math.log2(bitWidth / 8);
  const annotation = isSigned && bitWidth >= 32 ? {} : {
    converted: (isSigned ? Converted.int8 : Converted.uint8) + size,
    logical: { id: "integer", bitWidth, isSigned } as const,
  };
  return bitWidth === 64
    ? { physical: Physical.int64, conversion: "words64", order: isSigned ? "int64" : "uint64", ...annotation }
    : {
      ...{ physical: Physical.int32, conversion: bitWidth === 32 ? "words32" : "narrow" },
      order: isSigned ? "int32" : "uint32",
      ...annotation,
    };
}

/** Parquet has scales from 0 to the precision. */
function decimalType(field: FieldLayout, { precision, scale }: Extract<ArrowType, { id: "decimal" }>): LeafType {
  if (scale < 0 || scale > precision) throw unsupportedField(field, `its type is ${typeText(field)}`);
  const annotation = { converted: Converted.decimal, logical: { id: "decimal", precision, scale } } as const;
  if (precision <= 9) {
    return { physical: Physical.int32, conversion: "decimal_words", order: "int32", ...annotation };
  }
  if (precision <= 18) {
    return { physical: Physical.int64, conversion: "decimal_words", order: "int64", ...annotation };
  }
  // The fewest bytes that hold so many digits and a sign.
  const length = Math.ceil((precision * Math.log2(10) + 1) / 8);
  return { physical: Physical.fixed, length, conversion: "decimal_bytes", order: "big_endian", ...annotation };
}

/** Parquet has no seconds. */
function timeType(unit: "s" | "ms" | "us" | "ns"): LeafType {
  const stored = unit === "s" ? "ms" : unit;
  const logical = { id: "time", isAdjustedToUtc: false, unit: stored } as const;
  if (stored !== "ms") return { physical: Physical.int64, conversion: "words64", order: "int64", logical };
  return {
    ...{ physical: Physical.int32, order: "int32", logical },
    conversion: unit === "s" ? "seconds32" : "words32",
    arrow: { id: "time", unit: "ms", bitWidth: 32 },
  };
}

/** Parquet has no seconds. With a time zone values are those of UTC; older readers know no others. */
function timestampType(unit: "s" | "ms" | "us" | "ns", timezone: string | null): LeafType {
  const stored = unit === "s" ? "ms" : unit;
  const isAdjustedToUtc = timezone !== null && timezone !== "";
  const converted = !isAdjustedToUtc || stored === "ns"
    ? undefined
    : stored === "ms"
    ? Converted.timestampMillis
    : Converted.timestampMicros;
  return {
    ...{ physical: Physical.int64, order: "int64", converted },
    logical: { id: "timestamp", isAdjustedToUtc, unit: stored },
    conversion: unit === "s" ? "seconds64" : "words64",
    arrow: { id: "timestamp", unit: stored, timezone },
  };
}

/** Parquet has months, days and milliseconds. */
function intervalType(field: FieldLayout, unit: "year_month" | "day_time" | "month_day_nano"): LeafType {
  if (unit === "month_day_nano") throw unsupportedField(field, "its intervals have months, days and nanoseconds");
  return {
    ...{ physical: Physical.fixed, length: 12, order: "none", converted: Converted.interval },
    conversion: unit === "year_month" ? "months" : "day_time",
  };
}
