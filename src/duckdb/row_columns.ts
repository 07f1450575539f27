/**
 * How columns of flat types are read from DuckDB's vectors: those of a Parquet file as they are served, those of a query as DuckDB's
 * own conversion to Arrow gives them.
 *
 * @module
 */
import { DUCKDB_TYPE } from "../../ffi/duckdb.ts";
import type { ArrowType, FieldLayout } from "../ipc/layout.ts";
import type { NativeResult, QueryColumn } from "./result.ts";
import { type RowColumn, RowKind } from "./rows.ts";

/** Extension types whose values are those of their storage. */
const PLAIN_EXTENSIONS: readonly (string | undefined)[] = [undefined, "arrow.json"];

/**
 * How all columns of a result are read.
 *
 * @returns `null` if one of them has to be converted by DuckDB
 */
export function rowColumns(result: NativeResult): RowColumn[] | null {
  if (result.options.losslessColumns.length > 0) return null;
  const { fields } = result.schema.layout;
  const found: RowColumn[] = [];
  for (const [i, id] of result.typeIds().entries()) {
    const arrow = fields[i];
    const column = PLAIN_EXTENSIONS.includes(arrow.metadata.get("ARROW:extension:name"))
      ? rowColumn({ id, arrow }, arrow)
      : null;
    if (column === null) return null;
    found.push(column);
  }
  return found;
}

/**
 * How a column of a flat type is read from DuckDB's vectors.
 *
 * @param found What DuckDB reads it as
 * @param field What it is served as
 * @returns `null` if that would be something else
 */
export function rowColumn(found: QueryColumn, field: FieldLayout): RowColumn | null {
  const { type } = field;
  if (field.dictionary !== null || field.children.length > 0) return null;
  const width = WIDTHS.get(found.id);
  if (width !== undefined) return isSameInteger(found.id, type) ? fixed(width) : null;
  switch (found.id) {
    case DUCKDB_TYPE.boolean:
      return type.id === "bool" ? { kind: RowKind.bits, width: 1, outWidth: 0 } : null;
    case DUCKDB_TYPE.float:
    case DUCKDB_TYPE.double: {
      const bits = found.id === DUCKDB_TYPE.float ? 32 : 64;
      return type.id === "float" && type.bitWidth === bits ? fixed(bits / 8) : null;
    }
    case DUCKDB_TYPE.date:
      return type.id === "date" && type.unit === "day" ? fixed(4) : null;
    case DUCKDB_TYPE.time:
      return type.id === "time" ? time(type.unit) : null;
    case DUCKDB_TYPE.timeNs:
      return type.id === "time" && type.unit === "ns" ? fixed(8) : null;
    case DUCKDB_TYPE.timestamp:
    case DUCKDB_TYPE.timestampTz:
      return type.id === "timestamp" && (found.id === DUCKDB_TYPE.timestampTz) === (type.timezone !== null)
        ? timestamp(type.unit)
        : null;
    case DUCKDB_TYPE.timestampS:
    case DUCKDB_TYPE.timestampMs:
    case DUCKDB_TYPE.timestampNs:
      return type.id === "timestamp" && type.unit === UNITS.get(found.id) && type.timezone === null ? fixed(8) : null;
    case DUCKDB_TYPE.varchar:
    case DUCKDB_TYPE.blob:
      return text(found.id, type);
    case DUCKDB_TYPE.hugeint:
      return type.id === "decimal" && type.bitWidth === 128 && type.scale === 0 ? fixed(16) : null;
    case DUCKDB_TYPE.decimal:
      return decimal(found.arrow.type, type);
    case DUCKDB_TYPE.uuid:
      return type.id === "fixed_size_binary" && type.byteWidth === 16
        ? { kind: RowKind.uuid, width: 16, outWidth: 16 }
        : null;
    default:
      return null;
  }
}

/** Bytes of DuckDB's integers. */
const WIDTHS: ReadonlyMap<number, number> = new Map([
  [DUCKDB_TYPE.tinyint, 1],
  [DUCKDB_TYPE.smallint, 2],
  [DUCKDB_TYPE.integer, 4],
  [DUCKDB_TYPE.bigint, 8],
  [DUCKDB_TYPE.utinyint, 1],
  [DUCKDB_TYPE.usmallint, 2],
  [DUCKDB_TYPE.uinteger, 4],
  [DUCKDB_TYPE.ubigint, 8],
]);
/** Units of DuckDB's timestamps that do not count microseconds. */
const UNITS: ReadonlyMap<number, string> = new Map([
  [DUCKDB_TYPE.timestampS, "s"],
  [DUCKDB_TYPE.timestampMs, "ms"],
  [DUCKDB_TYPE.timestampNs, "ns"],
]);
const SIGNED: ReadonlySet<number> = new Set([
  ...[DUCKDB_TYPE.tinyint, DUCKDB_TYPE.smallint, DUCKDB_TYPE.integer, DUCKDB_TYPE.bigint],
]);

/** Whether a type has the same integers; some writers store those of types that Parquet lacks. */
function isSameInteger(id: number, type: ArrowType): boolean {
  switch (type.id) {
    case "int":
      return type.bitWidth === 8 * WIDTHS.get(id)! && type.signed === SIGNED.has(id);
    case "duration":
    case "timestamp":
      return id === DUCKDB_TYPE.bigint;
    case "date":
      return type.unit === "ms" && id === DUCKDB_TYPE.bigint;
    case "time":
      return id === (type.bitWidth === 32 ? DUCKDB_TYPE.integer : DUCKDB_TYPE.bigint);
    default:
      return false;
  }
}

function fixed(width: number): RowColumn {
  return { kind: RowKind.fixed, width, outWidth: width };
}

/** DuckDB's times count microseconds. */
function time(unit: string): RowColumn | null {
  if (unit === "us") return fixed(8);
  return unit === "ms" ? { kind: RowKind.thousandth32, width: 8, outWidth: 4 } : null;
}

/** So do its timestamps. */
function timestamp(unit: string): RowColumn | null {
  if (unit === "us") return fixed(8);
  return unit === "ms" ? { kind: RowKind.thousandth64, width: 8, outWidth: 8 } : null;
}

function text(id: number, type: ArrowType): RowColumn | null {
  switch (type.id) {
    case "utf8":
    case "large_utf8":
      if (id !== DUCKDB_TYPE.varchar) return null;
      return { kind: type.id === "utf8" ? RowKind.text32 : RowKind.text64, width: 16, outWidth: 0 };
    case "binary":
    case "large_binary":
      return { kind: type.id === "binary" ? RowKind.text32 : RowKind.text64, width: 16, outWidth: 0 };
    case "fixed_size_binary":
      return id === DUCKDB_TYPE.blob && type.byteWidth > 0
        ? { kind: RowKind.bytes, width: type.byteWidth, outWidth: type.byteWidth }
        : null;
    default:
      return null;
  }
}

/** DuckDB has decimal numbers of up to 4, 9, 18 and 38 digits in integers of 2, 4, 8 and 16 bytes. */
function decimal(found: ArrowType, type: ArrowType): RowColumn | null {
  if (found.id !== "decimal" || type.id !== "decimal" || type.bitWidth !== 128) return null;
  const { precision, scale } = found;
  if (precision !== type.precision || scale !== type.scale) return null;
  if (precision > 18) return fixed(16);
  return { kind: RowKind.decimal, width: precision > 9 ? 8 : precision > 4 ? 4 : 2, outWidth: 16 };
}
