/**
 * Format strings: how an `ArrowSchema` names a type.
 *
 * @module
 */
import { DipcError, unexpected } from "../errors.ts";
import type { ArrowType, TimeUnitName } from "../ipc/layout.ts";
import { quoted } from "../ipc/quote.ts";

/** Types whose format has no parameters. */
const PLAIN: Readonly<Record<string, ArrowType>> = {
  n: { id: "null" },
  b: { id: "bool" },
  c: { id: "int", bitWidth: 8, signed: true },
  C: { id: "int", bitWidth: 8, signed: false },
  s: { id: "int", bitWidth: 16, signed: true },
  S: { id: "int", bitWidth: 16, signed: false },
  i: { id: "int", bitWidth: 32, signed: true },
  I: { id: "int", bitWidth: 32, signed: false },
  l: { id: "int", bitWidth: 64, signed: true },
  L: { id: "int", bitWidth: 64, signed: false },
  e: { id: "float", bitWidth: 16 },
  f: { id: "float", bitWidth: 32 },
  g: { id: "float", bitWidth: 64 },
  z: { id: "binary" },
  Z: { id: "large_binary" },
  u: { id: "utf8" },
  U: { id: "large_utf8" },
  vz: { id: "binary_view" },
  vu: { id: "utf8_view" },
  tdD: { id: "date", unit: "day" },
  tdm: { id: "date", unit: "ms" },
  tts: { id: "time", unit: "s", bitWidth: 32 },
  ttm: { id: "time", unit: "ms", bitWidth: 32 },
  ttu: { id: "time", unit: "us", bitWidth: 64 },
  ttn: { id: "time", unit: "ns", bitWidth: 64 },
  tDs: { id: "duration", unit: "s" },
  tDm: { id: "duration", unit: "ms" },
  tDu: { id: "duration", unit: "us" },
  tDn: { id: "duration", unit: "ns" },
  tiM: { id: "interval", unit: "year_month" },
  tiD: { id: "interval", unit: "day_time" },
  tin: { id: "interval", unit: "month_day_nano" },
  "+l": { id: "list" },
  "+L": { id: "large_list" },
  "+vl": { id: "list_view" },
  "+vL": { id: "large_list_view" },
  "+s": { id: "struct" },
  "+r": { id: "run_end_encoded" },
};

const PLAIN_FORMATS = new Map(Object.entries(PLAIN).map(([format, type]) => [JSON.stringify(type), format]));
const UNITS: Readonly<Record<string, TimeUnitName>> = { s: "s", m: "ms", u: "us", n: "ns" };
const LARGEST = 2 ** 31 - 1;

/** The decimal types, and the most digits of each. */
const DIGITS = { 32: 9, 64: 18, 128: 38, 256: 76 } as const;

/**
 * The type that a format string names.
 *
 * @param format The string
 * @param path Name of the field, for messages
 * @param keysSorted Whether the flag for sorted map keys is set
 * @throws {DipcError} `invalid_data` if its parameters are wrong, `unsupported` if this version does not know it
 */
export function typeOfFormat(format: string, path: string, keysSorted: boolean): ArrowType {
  const plain = Object.hasOwn(PLAIN, format) ? PLAIN[format] : undefined;
  if (plain !== undefined) return plain;
  if (format === "+m") return { id: "map", keysSorted };
  const colon = format.indexOf(":");
  const type = colon < 0 ? null : parameterType(format.slice(0, colon), format.slice(colon + 1));
  if (type === "wrong") {
    throw new DipcError(
      "invalid_data",
      `cannot import Arrow data: field ${quoted(path)} has the format ${quoted(format)}, whose parameters are wrong; ` +
        "the library that exported it is at fault",
    );
  }
  if (type !== null) return type;
  throw new DipcError(
    "unsupported",
    `cannot import Arrow data: field ${quoted(path)} has the format ${quoted(format)}, which is not known; update dipc`,
  );
}

/** A type with parameters; `null` for one that is not known. */
function parameterType(kind: string, text: string): ArrowType | "wrong" | null {
  switch (kind) {
    case "d":
      return decimal(integers(text));
    case "w": {
      const width = size(text);
      return width === null ? "wrong" : { id: "fixed_size_binary", byteWidth: width };
    }
    case "+w": {
      const listSize = size(text);
      return listSize === null ? "wrong" : { id: "fixed_size_list", listSize };
    }
    case "+ud":
    case "+us": {
      const typeIds = text === "" ? [] : integers(text);
      const isGood = typeIds !== null && typeIds.every((id) => id >= 0 && id < 128) &&
        new Set(typeIds).size === typeIds.length;
      return isGood ? { id: "union", mode: kind === "+ud" ? "dense" : "sparse", typeIds } : "wrong";
    }
  }
  const unit = /^ts[smun]$/.test(kind) ? UNITS[kind[2]] : undefined;
  return unit === undefined ? null : { id: "timestamp", unit, timezone: text === "" ? null : text };
}

/** Integers that are separated by commas. */
function integers(text: string): number[] | null {
  if (!/^-?\d{1,10}(,-?\d{1,10})*$/.test(text)) return null;
  return text.split(",").map(Number);
}

function size(text: string): number | null {
  const found = integers(text);
  return found?.length === 1 && found[0] >= 0 && found[0] <= LARGEST ? found[0] : null;
}

function decimal(numbers: number[] | null): ArrowType | "wrong" {
  if (numbers === null || numbers.length < 2 || numbers.length > 3) return "wrong";
  const [precision, scale, bitWidth = 128] = numbers;
  if (bitWidth !== 32 && bitWidth !== 64 && bitWidth !== 128 && bitWidth !== 256) return "wrong";
  if (precision < 1 || precision > DIGITS[bitWidth] || Math.abs(scale) > LARGEST) return "wrong";
  return { id: "decimal", bitWidth, precision, scale };
}

/** The format string of a type. */
export function formatOfType(type: ArrowType): string {
  switch (type.id) {
    case "decimal":
      return `d:${type.precision},${type.scale}${type.bitWidth === 128 ? "" : `,${type.bitWidth}`}`;
    case "fixed_size_binary":
      return `w:${type.byteWidth}`;
    case "fixed_size_list":
      return `+w:${type.listSize}`;
    case "timestamp":
      return `ts${type.unit[0]}:${type.timezone ?? ""}`;
    case "map":
      return "+m";
    case "union":
      return `+u${type.mode[0]}:${type.typeIds.join(",")}`;
    case "int":
    case "float":
    case "null":
    case "bool":
    case "binary":
    case "utf8":
    case "large_binary":
    case "large_utf8":
    case "binary_view":
    case "utf8_view":
    case "date":
    case "time":
    case "duration":
    case "interval":
    case "list":
    case "large_list":
    case "list_view":
    case "large_list_view":
    case "struct":
    case "run_end_encoded":
      return plainFormat(type);
    default:
      return unexpected(type);
  }
}

/** By the parameters in one order, because objects that others made may have another. */
function plainFormat(type: ArrowType): string {
  const same = (other: ArrowType): boolean =>
    Object.keys(other).length === Object.keys(type).length &&
    Object.entries(other).every(([key, value]) => (type as Record<string, unknown>)[key] === value);
  return PLAIN_FORMATS.get(JSON.stringify(type)) ?? Object.keys(PLAIN).find((format) => same(PLAIN[format]))!;
}
