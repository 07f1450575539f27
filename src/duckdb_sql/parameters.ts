/**
 * Binds values of Arrow columns to the parameters of a statement.
 *
 * @module
 */
import { DataType, type Decimal, type TimeUnit, Vector } from "apache-arrow";
import type { DuckDbLibrary } from "../duckdb/library.ts";
import { destroyBy, duckDbError } from "../duckdb/library.ts";
import { DipcError } from "../errors.ts";
import type { EngineParameters } from "../flight_sql/engine.ts";
import type { Prepared } from "../duckdb/prepared.ts";

/** Microseconds of each unit of time, by its number; nanoseconds are apart. */
const MICROSECONDS: Readonly<Record<number, bigint>> = { 0: 1_000_000n, 1: 1000n, 2: 1n };
const NANOSECOND: TimeUnit = 3;
const DAY_MS = 86_400_000n;
/** Least and greatest integers, and microseconds of a day. */
const INT32 = [-(2n ** 31n), 2n ** 31n - 1n] as const;
const INT64 = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const DAY = [0n, 1000n * DAY_MS] as const;
/** Most digits of a decimal of DuckDB. */
const MAX_PRECISION = 38;

/** Binds one value. @returns DuckDB's status */
type Bind = (row: number) => number;

/**
 * Binds a row to all parameters of a statement. Within `run` of the connection.
 *
 * @param parameters The row; `null` for none
 * @throws {DipcError} `invalid_argument` for another number of values, or for a type that no parameter has
 */
export function bindParameters(library: DuckDbLibrary, prepared: Prepared, parameters: EngineParameters | null): void {
  const given = parameters?.batch.numCols ?? 0;
  if (given !== prepared.parameterCount) {
    throw new DipcError(
      "invalid_argument",
      `cannot bind the parameters: the statement has ${prepared.parameterCount}, ${given} are given; give one for each`,
    );
  }
  for (let i = 0; i < given; i++) {
    const { vector, row } = placeOf(parameters!.batch.getChildAt(i)!, parameters!.row);
    const parameter = BigInt(i + 1);
    const { symbols } = library;
    const status = vector.isValid(row)
      ? binderOf(library, prepared.statement, parameter, vector)(row)
      : symbols.duckdb_bind_null(prepared.statement, parameter);
    if (status !== 0) {
      throw duckDbError("bind the parameters", `Invalid Input Error: parameter ${i + 1} is not accepted`);
    }
  }
}

/** The place of a value. One of a dictionary is in there, and may be null there, too. */
function placeOf(vector: Vector, row: number): { readonly vector: Vector; readonly row: number } {
  if (!DataType.isDictionary(vector.type) || !vector.isValid(row)) return { vector, row };
  const { values, dictionary } = vector.data[0];
  let index = Number(values[row]);
  for (const data of dictionary!.data) {
    if (index < data.length) return { vector: new Vector([data]), row: index };
    index -= data.length;
  }
  throw new DipcError("invalid_argument", "cannot bind the parameters: a dictionary has fewer values than are used");
}

function binderOf({ symbols }: DuckDbLibrary, statement: bigint, index: bigint, vector: Vector): Bind {
  const type: DataType = vector.type;
  const raw = (row: number): bigint => BigInt(vector.data[0].values[row]);
  const within = (value: bigint, [least, most]: readonly [bigint, bigint]): bigint => {
    if (value >= least && value <= most) return value;
    throw new DipcError(
      "invalid_argument",
      `cannot bind parameter ${index}: its value, of type ${type}, is beyond what DuckDB has; send one that is nearer to 0`,
    );
  };
  if (DataType.isBool(type)) return (row) => symbols.duckdb_bind_boolean(statement, index, vector.get(row));
  if (DataType.isInt(type)) {
    return type.isSigned
      ? (row) => symbols.duckdb_bind_int64(statement, index, BigInt(vector.get(row)))
      : (row) => symbols.duckdb_bind_uint64(statement, index, BigInt(vector.get(row)));
  }
  if (DataType.isFloat(type)) {
    return type.precision === 1
      ? (row) => symbols.duckdb_bind_float(statement, index, vector.get(row))
      : (row) => symbols.duckdb_bind_double(statement, index, Number(vector.get(row)));
  }
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) {
    return (row) => {
      const bytes = new TextEncoder().encode(vector.get(row));
      return symbols.duckdb_bind_varchar_length(statement, index, bytes, BigInt(bytes.byteLength));
    };
  }
  if (DataType.isBinary(type) || DataType.isLargeBinary(type) || DataType.isFixedSizeBinary(type)) {
    return (row) => {
      const bytes = Uint8Array.from(vector.get(row) as Uint8Array);
      return symbols.duckdb_bind_blob(statement, index, bytes, BigInt(bytes.byteLength));
    };
  }
  if (DataType.isDecimal(type) && type.bitWidth === 128 && type.precision <= MAX_PRECISION) {
    return (row) => symbols.duckdb_bind_decimal(statement, index, decimalBytes(type, vector.get(row)));
  }
  if (DataType.isDate(type)) {
    return (row) => {
      const days = type.unit === 0 ? raw(row) : daysOf(raw(row));
      return symbols.duckdb_bind_date(statement, index, Number(within(days, INT32)));
    };
  }
  if (DataType.isTime(type)) {
    return (row) => symbols.duckdb_bind_time(statement, index, within(microseconds(raw(row), type.unit), DAY));
  }
  if (DataType.isTimestamp(type)) {
    if (type.timezone) {
      return (row) =>
        symbols.duckdb_bind_timestamp_tz(statement, index, within(microseconds(raw(row), type.unit), INT64));
    }
    if (type.unit !== NANOSECOND) {
      return (row) => symbols.duckdb_bind_timestamp(statement, index, within(microseconds(raw(row), type.unit), INT64));
    }
    return (row) => {
      const value = symbols.duckdb_create_timestamp_ns(raw(row));
      const status = symbols.duckdb_bind_value(statement, index, value);
      destroyBy(symbols.duckdb_destroy_value, value);
      return status;
    };
  }
  if (DataType.isDuration(type)) {
    return (row) => {
      const bytes = new Uint8Array(16);
      new DataView(bytes.buffer).setBigInt64(8, within(microseconds(raw(row), type.unit), INT64), true);
      return symbols.duckdb_bind_interval(statement, index, bytes);
    };
  }
  if (DataType.isNull(type)) return () => symbols.duckdb_bind_null(statement, index);
  throw new DipcError(
    "invalid_argument",
    `cannot bind parameter ${index}: it is of type ${type}, which no parameter has; send a number, a text, bytes or a time`,
  );
}

/** Days of milliseconds, also before 1970. */
function daysOf(milliseconds: bigint): bigint {
  const rest = milliseconds % DAY_MS;
  return (milliseconds - (rest < 0n ? rest + DAY_MS : rest)) / DAY_MS;
}

function microseconds(value: bigint, unit: TimeUnit): bigint {
  return unit === NANOSECOND ? value / 1000n : value * MICROSECONDS[unit];
}

/** A `duckdb_decimal`. */
function decimalBytes({ precision, scale }: Decimal, words: Uint32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(24);
  bytes[0] = precision;
  bytes[1] = scale;
  bytes.set(new Uint8Array(words.buffer, words.byteOffset, 16), 8);
  return bytes;
}
