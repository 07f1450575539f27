/**
 * `--sql` of `dipc serve`: the datasets as tables that clients of Flight SQL query.
 *
 * @module
 */
import type { DuckDbEngine } from "../duckdb_sql/engine.ts";
import type { DuckDbEngineOptions } from "../duckdb_sql/options.ts";
import type { SqlLimits } from "../flight_sql/server/limits.ts";
import type { Dataset } from "../sources/dataset.ts";
import { statPath } from "../sources/paths.ts";
import { duration, integerOption, type ParsedArgs, size, UsageError } from "./args.ts";
import { requestDuckDbVariables } from "./duckdb_source.ts";
import { SQL_SERVE_VALUES } from "./flight_serving.ts";
import { queryScheme } from "./query_source.ts";

/** What the options say. */
export interface SqlServing {
  /** Folder for the tables of clients; `undefined` if they may not write. */
  readonly write: string | undefined;
  readonly memoryLimit: string | undefined;
  readonly limits: Partial<SqlLimits>;
}

/** A dataset of the command line. */
interface Served {
  readonly name: string;
  readonly path: string;
}

/**
 * Reads the options; `null` without `--sql`.
 *
 * @throws {UsageError} if they do not go together, or not with what is served
 */
export function sqlServingOf({ values, flags }: ParsedArgs, served: readonly Served[]): SqlServing | null {
  if (!flags.has("sql")) {
    const given = SQL_SERVE_VALUES.find((name) => values.has(name));
    if (given !== undefined) throw new UsageError(`cannot use --${given}: it is for SQL; give --sql too`);
    return null;
  }
  if (!values.has("flight-port")) {
    throw new UsageError("cannot use --sql: it is for Flight; give --flight-port PORT too (0: any free one)");
  }
  if (served.some(({ path }) => path === "-")) {
    throw new UsageError(
      'cannot use --sql: standard input ("-") can be read only once; write it to a file first',
    );
  }
  const write = values.get("sql-write");
  if (write !== undefined && !statPath(write).isDirectory) {
    throw new UsageError(`cannot use --sql-write ${write}: it is not a folder`);
  }
  const [memory, timeout, rows] = ["sql-memory", "sql-timeout", "sql-rows"].map((name) => values.get(name));
  const limits: Partial<SqlLimits> = {};
  if (timeout !== undefined) limits.statementTimeoutMs = duration("--sql-timeout", timeout);
  if (rows !== undefined) limits.maxRows = integerOption("--sql-rows", rows, 1, Number.MAX_SAFE_INTEGER);
  return { write, memoryLimit: memory === undefined ? undefined : `${size("--sql-memory", memory)}B`, limits };
}

/**
 * Opens DuckDB with the datasets as tables. It reads Parquet files itself.
 *
 * @throws {DipcError} As `duckDbEngine` does
 */
export async function openSqlEngine(
  { write, memoryLimit }: SqlServing,
  served: readonly Served[],
  datasets: Readonly<Record<string, Dataset>>,
): Promise<DuckDbEngine> {
  requestDuckDbVariables();
  const { duckDbEngine } = await import("../duckdb_sql/open.ts");
  const tables: Record<string, DuckDbEngineOptions["tables"][string]> = Object.create(null);
  for (const { name, path } of served) {
    const isParquet = queryScheme(path) === null && datasets[name].engine !== undefined;
    tables[name] = isParquet ? path : datasets[name];
  }
  return await duckDbEngine({ tables, write, memoryLimit });
}
