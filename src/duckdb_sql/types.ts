/**
 * DuckDB's types of columns as XDBC describes them.
 *
 * @module
 */
import type { EngineTypeInfo } from "../flight_sql/engine.ts";

/** Numbers of `XdbcDataType` of Flight SQL's definition. */
const XDBC = {
  ...{ bit: -7, tinyint: -6, bigint: -5, varbinary: -3, numeric: 2, decimal: 3, integer: 4, smallint: 5, real: 7 },
  ...{ double: 8, interval: 10, varchar: 12, date: 91, time: 92, timestamp: 93 },
} as const;

function whole(name: string, dataType: number, columnSize: number, isUnsigned: boolean): EngineTypeInfo {
  return { name, dataType, columnSize, isUnsigned, maximumScale: 0, radix: 10 };
}

/** The types, as they are named when a table is made. */
export const DUCKDB_SQL_TYPES: readonly EngineTypeInfo[] = [
  { name: "BOOLEAN", dataType: XDBC.bit, columnSize: 1 },
  whole("TINYINT", XDBC.tinyint, 3, false),
  whole("UTINYINT", XDBC.tinyint, 3, true),
  whole("BIGINT", XDBC.bigint, 19, false),
  whole("UBIGINT", XDBC.bigint, 20, true),
  { name: "BLOB", dataType: XDBC.varbinary, quote: "'" },
  whole("HUGEINT", XDBC.numeric, 39, false),
  whole("UHUGEINT", XDBC.numeric, 39, true),
  {
    name: "DECIMAL",
    dataType: XDBC.decimal,
    columnSize: 38,
    createParams: ["precision", "scale"],
    isUnsigned: false,
    maximumScale: 38,
    radix: 10,
  },
  whole("INTEGER", XDBC.integer, 10, false),
  whole("UINTEGER", XDBC.integer, 10, true),
  whole("SMALLINT", XDBC.smallint, 5, false),
  whole("USMALLINT", XDBC.smallint, 5, true),
  { name: "FLOAT", dataType: XDBC.real, columnSize: 24, isUnsigned: false, radix: 2 },
  { name: "DOUBLE", dataType: XDBC.double, columnSize: 53, isUnsigned: false, radix: 2 },
  { name: "INTERVAL", dataType: XDBC.interval, quote: "'" },
  { name: "VARCHAR", dataType: XDBC.varchar, quote: "'" },
  { name: "UUID", dataType: XDBC.varchar, columnSize: 36, quote: "'" },
  { name: "DATE", dataType: XDBC.date, columnSize: 10, quote: "'", datetimeSubcode: 1 },
  { name: "TIME", dataType: XDBC.time, columnSize: 15, quote: "'", maximumScale: 6, datetimeSubcode: 2 },
  { name: "TIMESTAMP", dataType: XDBC.timestamp, columnSize: 26, quote: "'", maximumScale: 6, datetimeSubcode: 3 },
  {
    name: "TIMESTAMP WITH TIME ZONE",
    dataType: XDBC.timestamp,
    columnSize: 32,
    quote: "'",
    maximumScale: 6,
    datetimeSubcode: 3,
  },
];
