/**
 * A simple reference for what cells of CSV and NDJSON are: one text for each, made by JavaScript's own means.
 *
 * @module
 */
import { type Data, type DataType, type Decimal, type TimeUnit, Type, Vector } from "apache-arrow";
import { DipcError, unexpected } from "../../src/errors.ts";
import { arrowTypeId } from "../../src/ipc/arrow_schema.ts";
import {
  dateText,
  decimalText,
  durationText,
  FRACTION_DIGITS,
  intervalText,
  timestampText,
  timeText,
  wordsToBigInt,
} from "../../src/formats/time_text.ts";

/** Reads the cells of one column of one batch. */
export interface CellText {
  /** The cell as JSON. */
  json(row: number): string;
  /** The cell as plain text, or `null` for a null value. */
  text(row: number): string | null;
}

/**
 * Makes a reader for one column of one batch, by the rules of docs/text-formats.md.
 *
 * @param data Values of the column in this batch
 */
export function cellText(data: Data): CellText {
  const value = valueOf(data);
  if (data.typeId === Type.Union || data.typeId === Type.Null || data.nullCount === 0) return value;
  return {
    json: (row) => data.getValid(row) ? value.json(row) : "null",
    text: (row) => data.getValid(row) ? value.text(row) : null,
  };
}

function valueOf(data: Data): CellText {
  const type = data.type as DataType;
  const id = arrowTypeId(type);
  switch (id) {
    case "null":
      return { json: () => "null", text: () => null };
    case "bool":
    case "int":
      return plain(id === "bool" ? getter(data) : (row) => data.values[row]);
    case "float":
      return float(data);
    case "utf8":
    case "large_utf8":
    case "utf8_view":
      return quoted(getter(data) as (row: number) => string);
    case "binary":
    case "large_binary":
    case "binary_view":
    case "fixed_size_binary":
      return binary(getter(data) as (row: number) => Uint8Array<ArrayBuffer>);
    case "decimal": {
      const { scale, bitWidth } = type as Decimal;
      const words = bitWidth / 32;
      const raw = data.values as Uint8Array;
      const values = new Uint32Array(raw.buffer, raw.byteOffset, raw.byteLength >> 2);
      const text = (row: number) => decimalText(wordsToBigInt(values, row * words, words), scale);
      return (type as Decimal).precision > 15 || Math.abs(scale) > 290 ? quoted(text) : plain(text);
    }
    case "date":
      return quoted(dates(data));
    case "time":
    case "timestamp":
    case "duration":
      return quoted(times(data));
    case "interval":
      return quoted(intervals(data));
    case "list":
    case "large_list":
      return list(
        data.children[0],
        (row) => Number(data.valueOffsets[row]),
        (row) => Number(data.valueOffsets[row + 1]),
      );
    case "fixed_size_list": {
      const size = (type as unknown as { listSize: number }).listSize;
      return list(data.children[0], (row) => row * size, (row) => (row + 1) * size);
    }
    case "struct":
      return struct(data);
    case "map":
      return map(data);
    case "union":
      return union(data);
    case "dictionary":
      return dictionary(data);
    case "list_view":
    case "large_list_view":
    case "run_end_encoded":
    case null:
      throw new DipcError(
        "unsupported",
        `cannot write values of type ${type} as text: they have no text form; write Arrow instead`,
      );
    default:
      return unexpected(id);
  }
}

/** apache-arrow's own accessor, for the types that it reads correctly. */
function getter(data: Data): (row: number) => unknown {
  const vector = new Vector([data]);
  return (row) => vector.get(row);
}

/** Values whose text is valid JSON. */
function plain(get: (row: number) => unknown): CellText {
  return { json: (row) => String(get(row)), text: (row) => String(get(row)) };
}

function quoted(get: (row: number) => string): CellText {
  return { json: (row) => JSON.stringify(get(row)), text: get };
}

/** Nested values: their text is their JSON. */
function nested(json: (row: number) => string): CellText {
  return { json, text: json };
}

function float(data: Data): CellText {
  const precision = (data.type as unknown as { precision: number }).precision;
  const get = precision === 2 ? (row: number): number => data.values[row] : getter(data) as (row: number) => number;
  const digits = precision === 2 ? (value: number) => value : shortest(precision === 0 ? 4 : 8);
  const text = (value: number): string => {
    if (Object.is(value, -0)) return "-0.0";
    const short = digits(value);
    return Math.abs(short) >= 1e16 && Number.isFinite(short) ? short.toExponential() : String(short);
  };
  return {
    json: (row) => Number.isFinite(get(row)) ? text(get(row)) : "null",
    text: (row) => text(get(row)),
  };
}

/** The fewest digits that round-trip a half or single precision number. */
function shortest(digits: number): (value: number) => number {
  const same = digits === 4
    ? (a: number, b: number) => Math.f16round(a) === b
    : (a: number, b: number) => Math.fround(a) === b;
  return (value) => {
    if (!Number.isFinite(value)) return value;
    for (let precision = digits - 2; precision <= digits + 1; precision++) {
      const candidate = Number(value.toPrecision(precision));
      if (same(candidate, value)) return candidate;
    }
    return value;
  };
}

function binary(get: (row: number) => Uint8Array<ArrayBuffer>): CellText {
  return { json: (row) => `"${get(row).toBase64()}"`, text: (row) => `\\x${get(row).toHex()}` };
}

function dates(data: Data): (row: number) => string {
  const values = data.values as Int32Array | BigInt64Array;
  const inDays = (data.type as unknown as { unit: number }).unit === 0;
  if (inDays) return (row) => dateText(Number(values[row]));
  // The format forbids milliseconds that are not a multiple of a day, but they occur; their time of day is kept.
  return (row) => {
    const value = BigInt(values[row]);
    return value % 86_400_000n === 0n ? dateText(Number(value / 86_400_000n)) : timestampText(value, 3, false);
  };
}

function times(data: Data): (row: number) => string {
  const type = data.type as unknown as { unit: TimeUnit; timezone?: string | null };
  const digits = FRACTION_DIGITS[type.unit];
  const values = data.values as Int32Array | BigInt64Array;
  if (data.typeId === Type.Time) return (row) => timeText(BigInt(values[row]), digits);
  if (data.typeId === Type.Duration) return (row) => durationText(BigInt(values[row]), digits);
  const hasTimeZone = typeof type.timezone === "string" && type.timezone !== "";
  return (row) => timestampText(BigInt(values[row]), digits, hasTimeZone);
}

/** `IntervalUnit` of Schema.fbs. */
const YEAR_MONTH = 0, DAY_TIME = 1;

function intervals(data: Data): (row: number) => string {
  const unit = (data.type as unknown as { unit: number }).unit;
  const raw = data.values as Int32Array;
  const words = new Int32Array(raw.buffer, raw.byteOffset, raw.byteLength >> 2);
  if (unit === YEAR_MONTH) return (row) => intervalText(words[row], 0, 0n);
  if (unit === DAY_TIME) return (row) => intervalText(0, words[2 * row], BigInt(words[2 * row + 1]) * 1_000_000n);
  return (row) => {
    const at = 4 * row;
    return intervalText(words[at], words[at + 1], BigInt(words[at + 3]) << 32n | BigInt(words[at + 2] >>> 0));
  };
}

function list(child: Data, start: (row: number) => number, end: (row: number) => number): CellText {
  const cells = cellText(child);
  return nested((row) => {
    const parts: string[] = [];
    for (let i = start(row), last = end(row); i < last; i++) parts.push(cells.json(i));
    return `[${parts.join(",")}]`;
  });
}

function struct(data: Data): CellText {
  const names = unique((data.type as DataType).children.map((field) => field.name)).map((name) => JSON.stringify(name));
  const cells = data.children.map((child) => cellText(child));
  return nested((row) => `{${names.map((name, i) => `${name}:${cells[i].json(row)}`).join(",")}}`);
}

function map(data: Data): CellText {
  const [key, value] = data.children[0].children.map((child) => cellText(child));
  return nested((row) => {
    const parts: string[] = [];
    for (let i = Number(data.valueOffsets[row]), end = Number(data.valueOffsets[row + 1]); i < end; i++) {
      parts.push(`{"key":${key.json(i)},"value":${value.json(i)}}`);
    }
    return `[${parts.join(",")}]`;
  });
}

/** The names, those that occur again with a number. */
export function unique(names: string[]): string[] {
  return names.reduce<string[]>((before, name) => {
    if (!before.includes(name)) return [...before, name];
    for (let i = 1;; i++) {
      const candidate = `${name}_${i}`;
      if (!before.includes(candidate) && !names.includes(candidate)) return [...before, candidate];
    }
  }, []);
}

function union(data: Data): CellText {
  const { typeIdToChildIndex, mode } = data.type as unknown as {
    typeIdToChildIndex: Record<number, number>;
    mode: number;
  };
  const cells = data.children.map((child) => cellText(child));
  const typeIds = data.typeIds as unknown as Int8Array;
  const isDense = mode === 1;
  const cell = (row: number): CellText => cells[typeIdToChildIndex[typeIds[row]]];
  const at = (row: number): number => isDense ? Number(data.valueOffsets[row]) : row;
  const names = unique((data.type as DataType).children.map((field) => field.name));
  const name = (row: number): string => JSON.stringify(names[typeIdToChildIndex[typeIds[row]]]);
  return nested((row) => `{${name(row)}:${cell(row).json(at(row))}}`);
}

/** Texts of a dictionary's values, made on first use. */
function dictionary(data: Data): CellText {
  const chunks = (data.dictionary as Vector).data.map((chunk) => ({ length: chunk.length, cells: cellText(chunk) }));
  const jsons: string[] = [], texts: (string | null)[] = [];
  const find = <T>(index: number, get: (cells: CellText, row: number) => T): T => {
    let row = index;
    for (const { length, cells } of chunks) {
      if (row < length) return get(cells, row);
      row -= length;
    }
    throw new DipcError(
      "invalid_data",
      `cannot write a value as text: index ${index} is outside its dictionary; the data is damaged`,
    );
  };
  const indexOf = (row: number): number => Number(data.values[row]);
  return {
    json: (row) => jsons[indexOf(row)] ??= find(indexOf(row), (cells, at) => cells.json(at)),
    text: (row) => {
      const index = indexOf(row);
      if (texts[index] === undefined) texts[index] = find(index, (cells, at) => cells.text(at));
      return texts[index];
    },
  };
}
