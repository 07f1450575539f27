/**
 * Values of Arrow columns in one plain form, from apache-arrow's batches and from the JSON of Arrow's integration tests.
 *
 * @module
 */
import {
  type Data,
  type DataType,
  type Decimal,
  type Dictionary,
  type RecordBatch,
  Type,
  type Union,
  type Vector,
} from "apache-arrow";

/** A value that compares with `assertEquals`: integers and decimals as text, bytes in hexadecimal. */
export type Plain = null | string | number | boolean | Plain[];

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** All values of a batch, column by column. */
export function plainColumns(batch: RecordBatch): Plain[][] {
  return batch.schema.fields.map((_, i) => plainVector(batch.getChildAt(i)!));
}

/** All values of a vector. */
export function plainVector(vector: Vector): Plain[] {
  return vector.data.flatMap((data) => Array.from({ length: data.length }, (_, i) => plainValue(data, i)));
}

function valid(data: Data, index: number): boolean {
  const at = data.offset + index;
  return data.nullCount === 0 || !data.nullBitmap?.length || (data.nullBitmap[at >> 3] & (1 << (at & 7))) !== 0;
}

/** How many values may still be read. */
export interface Budget {
  left: number;
}

/**
 * One value, read from the buffers where apache-arrow's own getter loses something.
 *
 * @param budget Ends with `null` for everything once it is spent: dictionaries of lists of dictionaries multiply
 */
export function plainValue(data: Data, index: number, budget: Budget = { left: Infinity }): Plain {
  if (--budget.left < 0) return null;
  const type = data.type as DataType;
  if (type.typeId === Type.Null) return null;
  if (type.typeId === Type.Union) {
    const { typeIds, mode } = type as Union;
    const id = data.typeIds[index];
    const child = data.children[typeIds.indexOf(id)];
    return [String(id), plainValue(child, mode === 1 ? data.valueOffsets[index] as number : index, budget)];
  }
  if (!valid(data, index)) return null;
  // deno-lint-ignore no-explicit-any -- the arrays of all types are read the same way here
  const values = data.values as any;
  switch (type.typeId) {
    case Type.Bool:
      return (values[(data.offset + index) >> 3] & (1 << ((data.offset + index) & 7))) !== 0;
    case Type.Int:
    case Type.Date:
    case Type.Time:
    case Type.Timestamp:
    case Type.Duration:
      return String(values[index]);
    case Type.Float:
      return Number.isNaN(values[index]) ? "NaN" : Number(values[index]); // half floats stay as bits
    case Type.Interval: {
      const words = [...values.subarray(index * data.stride, (index + 1) * data.stride)] as number[];
      if (words.length < 4) return words.map(String);
      const nanos = (BigInt(words[3]) << 32n) | BigInt(words[2] >>> 0);
      return [String(words[0]), String(words[1]), String(nanos)];
    }
    case Type.Decimal: {
      const words = values.subarray(index * data.stride, (index + 1) * data.stride) as Uint32Array;
      const bits = words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
      return String(BigInt.asIntN((type as Decimal).bitWidth, bits));
    }
    case Type.FixedSizeBinary:
      return hex(values.subarray(index * data.stride, (index + 1) * data.stride));
    case Type.Utf8:
    case Type.LargeUtf8:
      return new TextDecoder().decode(binary(data, index));
    case Type.Binary:
    case Type.LargeBinary:
      return hex(binary(data, index));
    case Type.Utf8View:
      return new TextDecoder().decode(view(data, index));
    case Type.BinaryView:
      return hex(view(data, index));
    case Type.List:
    case Type.LargeList:
    case Type.Map: {
      const [from, to] = [Number(data.valueOffsets[index]), Number(data.valueOffsets[index + 1])];
      return Array.from(
        { length: Math.min(to - from, budget.left) },
        (_, i) => plainValue(data.children[0], from + i, budget),
      );
    }
    case Type.FixedSizeList:
      return Array.from(
        { length: data.stride },
        (_, i) => plainValue(data.children[0], index * data.stride + i, budget),
      );
    case Type.Struct:
      return data.children.map((child) => plainValue(child, index, budget));
    case Type.Dictionary:
      return dictionaryValue(data, Number(values[index]), budget);
    default:
      throw new Error(`no plain form for ${type as Dictionary}`);
  }
}

function binary(data: Data, index: number): Uint8Array {
  return data.values.subarray(Number(data.valueOffsets[index]), Number(data.valueOffsets[index + 1]));
}

function view(data: Data, index: number): Uint8Array {
  const bytes = data.values.subarray(16 * index, 16 * index + 16) as Uint8Array;
  const words = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const size = words.getInt32(0, true);
  if (size <= 12) return bytes.subarray(4, 4 + size);
  const offset = words.getInt32(12, true);
  return data.variadicBuffers[words.getInt32(8, true)].subarray(offset, offset + size);
}

function dictionaryValue(data: Data, index: number, budget: Budget): Plain {
  for (const chunk of data.dictionary!.data) {
    if (index < chunk.length) return plainValue(chunk, index, budget);
    index -= chunk.length;
  }
  throw new Error(`dictionary index ${index} is beyond the end`);
}

/** A field in the JSON of Arrow's integration tests. */
export interface JsonField {
  name: string;
  // deno-lint-ignore no-explicit-any -- parameters differ from type to type
  type: any;
  children: JsonField[];
  dictionary?: { id: number };
}

/** A column in that JSON. */
export interface JsonColumn {
  count: number;
  VALIDITY?: number[];
  OFFSET?: (number | string)[];
  TYPE_ID?: number[];
  // deno-lint-ignore no-explicit-any -- values differ from type to type
  DATA?: any[];
  children?: JsonColumn[];
}

/** The document. */
export interface JsonTable {
  schema: { fields: JsonField[] };
  batches: { count: number; columns: JsonColumn[] }[];
  dictionaries?: { id: number; data: { columns: JsonColumn[] } }[];
}

/** Expected values of a column of the JSON. */
export function jsonColumn(field: JsonField, column: JsonColumn, table: JsonTable): Plain[] {
  return Array.from({ length: column.count }, (_, i) => jsonValue(field, column, i, table));
}

function jsonValue(field: JsonField, column: JsonColumn, index: number, table: JsonTable, asValues = false): Plain {
  const { type } = field;
  if (type.name === "union") {
    const id = column.TYPE_ID![index];
    const child = type.typeIds.indexOf(id);
    const at = type.mode === "DENSE" ? Number(column.OFFSET![index]) : index;
    return [String(id), jsonValue(field.children[child], column.children![child], at, table)];
  }
  if (type.name === "null" || column.VALIDITY?.[index] === 0) return null;
  if (field.dictionary && !asValues) {
    const values = table.dictionaries!.find(({ id }) => id === field.dictionary!.id)!.data.columns[0];
    return jsonValue(field, values, Number(column.DATA![index]), table, true);
  }
  const nested = (from: number, to: number): Plain[] =>
    Array.from({ length: to - from }, (_, i) => jsonValue(field.children[0], column.children![0], from + i, table));
  const value = column.DATA?.[index];
  switch (type.name) {
    case "bool":
      return Boolean(value);
    case "floatingpoint":
      return type.precision === "SINGLE" ? Math.fround(value) : Number(value);
    case "interval":
      return type.unit === "YEAR_MONTH"
        ? [String(value)]
        : type.unit === "DAY_TIME"
        ? [String(value.days), String(value.milliseconds)]
        : [String(value.months), String(value.days), String(value.nanoseconds)];
    case "binary":
    case "largebinary":
    case "fixedsizebinary":
      return String(value).toLowerCase();
    case "list":
    case "largelist":
    case "map":
      return nested(Number(column.OFFSET![index]), Number(column.OFFSET![index + 1]));
    case "fixedsizelist":
      return nested(index * type.listSize, (index + 1) * type.listSize);
    case "struct":
      return field.children.map((child, i) => jsonValue(child, column.children![i], index, table));
    default:
      return String(value);
  }
}
