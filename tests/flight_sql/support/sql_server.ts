/**
 * Servers of Flight SQL with DuckDB behind them, for tests.
 *
 * @module
 */
import { type Table, tableFromArrays } from "apache-arrow";
import { openDuckDb } from "../../../duckdb.ts";
import {
  type DuckDbEngine,
  duckDbEngine,
  type DuckDbEngineOptions,
  FlightSqlClient,
  type FlightSqlOptions,
} from "../../../flight_sql.ts";
import { fromTable, serve, type Server } from "../../../mod.ts";
import type { FlightPlaneOptions } from "../../../src/serving/flight_plane.ts";
import { arrowBytes } from "../../support/datasets.ts";
import { TemporaryFolder } from "../../support/paths.ts";

/** A server, with a folder that clients may write tables to. */
export interface SqlServer extends AsyncDisposable {
  readonly server: Server;
  readonly location: string;
  readonly engine: DuckDbEngine;
  /** Connects. */
  client(options?: FlightSqlOptions): Promise<FlightSqlClient>;
}

/** Options of {@linkcode sqlServer}. */
export interface SqlServerOptions {
  readonly tables?: DuckDbEngineOptions["tables"];
  /** Default: clients may write. */
  readonly isReadOnly?: boolean;
  readonly flight?: FlightPlaneOptions;
  readonly engine?: Partial<DuckDbEngineOptions>;
}

/** Starts a server. By default clients may write, and there is no UCX. */
export async function sqlServer(options: SqlServerOptions = {}): Promise<SqlServer> {
  const { tables = {}, isReadOnly = false, flight = {}, engine: more = {} } = options;
  const folder = new TemporaryFolder();
  const write = isReadOnly ? undefined : folder.path;
  const engine = await duckDbEngine({ tables, write, ...more });
  const server = await serve({ datasets: {}, flight: { ucx: "off", ...flight, sql: engine } });
  const { location } = server.flight!;
  return {
    server,
    location,
    engine,
    client: (options = {}) => FlightSqlClient.connect(location, options),
    async [Symbol.asyncDispose]() {
      await server.shutdown({ timeoutMs: 0 });
      await engine.close();
      folder[Symbol.dispose]();
    },
  };
}

/** The rows of a query as objects; 64-bit integers as numbers. */
export async function rowsOf(
  client: Pick<FlightSqlClient, "query">,
  sql: string,
  options: Parameters<FlightSqlClient["query"]>[1] = {},
): Promise<Record<string, unknown>[]> {
  return plainRows(await (await client.query(sql, options)).toTable());
}

/** The rows of a table as objects; 64-bit integers as numbers. */
export function plainRows(table: Table): Record<string, unknown>[] {
  return table.toArray().map((row) =>
    Object.fromEntries(
      Object.entries(row.toJSON()).map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]),
    )
  );
}

/** Files with the same 30,000 rows, as Parquet and as Arrow: `n` from 0 on, and `city`. */
export async function sampleFiles(folder: TemporaryFolder): Promise<{ parquet: string; arrow: string }> {
  const parquet = `${folder.path}/trips.parquet`, arrow = `${folder.path}/flights.arrow`;
  await using database = await openDuckDb();
  await using connection = await database.connect();
  const rows = "select range::integer as n, 'city ' || range % 7 as city from range(30000)";
  await connection.execute(`copy (${rows}) to '${parquet}'`);
  const batches = await Array.fromAsync(await connection.query(rows, { batchRows: 5000 }), (batch) => ({
    n: batch.getChild("n")!.toArray().slice() as Int32Array,
    city: [...batch.getChild("city")!] as string[],
  }));
  const tables = batches.map(({ n, city }) => tableFromArrays({ n, city }));
  const dataset = await fromTable(tables[0].concat(...tables.slice(1)));
  await Deno.writeFile(arrow, await arrowBytes(dataset, "file"));
  await dataset.close();
  return { parquet, arrow };
}
