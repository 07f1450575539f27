/**
 * Results of Flight SQL: from our server to our client and to others', from others' servers to our client, and what one small query
 * after another costs.
 *
 * @module
 */
import { startSail, startSqlite } from "../tests/flight_sql/support/sql_servers.ts";
import { SETUP_DUCKDB_VERSION } from "../ffi/duckdb_location.ts";
import { DUCKDB_JDBC_VERSION } from "../tools/peer_places.ts";
import { type AdbcDrivers, findPeers } from "../tools/peers.ts";
import type { Comparison, Measured } from "./compare.ts";
import { serveFlight } from "./serving.ts";
import type { Workbench } from "./workbench.ts";

/** Rows of five columns that the engine makes as they are read. */
const ROWS = 10_000_000, QUICK_ROWS = 1_000_000;
const fiveColumns = (rows: number): string =>
  `select i as a, i * 7 as b, i * 0.5::double as c, 'text ' || i as d, i % 3 = 0 as e from range(${rows}) r(i)`;

/** Rows of a table that SQLite holds too. */
const TABLE_ROWS = 200_000, QUICK_TABLE_ROWS = 50_000;
const makeTable = (rows: number): string =>
  "create table numbers as with recursive r(i) as (select 1 union all select i + 1 from r " +
  `where i < ${rows}) select i as id, 'text ' || i as name from r`;

const DRIVER = "adbc-driver-flightsql";
const ALONE = { pinned: false };

function driverOf(adbc: AdbcDrivers | null): { packages: string; driver: string } {
  const driver = `${adbc?.packages}/adbc_driver_flightsql/libadbc_driver_flightsql.so`;
  if (adbc !== null && Deno.statSync(driver).isFile) return { packages: adbc.packages, driver };
  throw new Error(`${DRIVER} is missing; deno task setup`);
}

function needed<T>(peer: T | null, name: string): T {
  if (peer === null) throw new Error(`${name} is missing; deno task setup`);
  return peer;
}

function measured(answer: Record<string, unknown>, rows: number, counted = rows): Measured {
  if (answer.rows !== rows) throw new Error(`${answer.rows} rows came of ${rows}`);
  return { value: counted / (answer.seconds as number) };
}

/** The DuckDB of our servers: 2.0 if it is there, as that of Python is. */
function ourDuckDb(): { readonly path: string; readonly version: string } {
  const { duckdb, duckdb2 } = findPeers();
  return duckdb2 === null
    ? { path: needed(duckdb, "libduckdb"), version: SETUP_DUCKDB_VERSION }
    : { path: duckdb2, version: DUCKDB_JDBC_VERSION };
}

/** Our server with a folder for tables; and what ends it. */
async function serveOurs(bench: Workbench): Promise<{ uri: string; close(): Promise<void> }> {
  const { path: library, version } = ourDuckDb();
  console.error(`our server has DuckDB ${version}`);
  const folder = await Deno.makeTempDir({ dir: bench.folder });
  const { location } = await bench.call("server", { do: "serve-sql", folder, library }, ALONE);
  return {
    uri: location as string,
    async close() {
      await bench.call("client", { do: "sql-close" }, ALONE);
      await bench.call("server", { do: "serve-sql", library }, ALONE);
    },
  };
}

const rows: Comparison = {
  ...{
    name: "sql/rows",
    unit: "rows/s",
    peerName: "pyarrow Flight over DuckDB, both ends",
    target: 3,
    needs: "python",
  },
  async prepare(bench, quick) {
    const count = quick ? QUICK_ROWS : ROWS;
    const sql = fiveColumns(count);
    const { uri, close } = await serveOurs(bench);
    const spec = { kind: "duckdb", path: "", setup: "select 1", sql };
    const peer = await serveFlight(bench, spec, ALONE);
    return {
      ours: async () => measured(await bench.call("client", { do: "sql", uri, sql }, ALONE), count),
      // From the request on, as ours.
      peer: async () => {
        const { rows, wholeSeconds } = await bench.fetch("flight-client", { do: "read", ...peer }, ALONE);
        return measured({ rows, seconds: wholeSeconds }, count);
      },
      async close() {
        await close();
        await bench.call("flight-server", { do: "serve", datasets: [] }, ALONE);
      },
    };
  },
};

const adbc: Comparison = {
  ...{ name: "sql/adbc", unit: "rows/s", peerName: `arrow-go, SQLite → ${DRIVER}`, target: 1, needs: "python" },
  async prepare(bench, quick) {
    const { packages, driver } = driverOf(findPeers().adbc);
    const sqlite = await startSqlite(needed(findPeers().sqliteServer, "arrow-go's Flight SQL server"));
    const ours = await serveOurs(bench);
    const count = quick ? QUICK_TABLE_ROWS : TABLE_ROWS;
    for (const uri of [ours.uri, sqlite.location]) {
      await bench.call("client", { do: "sql-change", uri, statements: [makeTable(count)] }, ALONE);
    }
    const read = async (uri: string): Promise<Measured> => {
      const command = { do: "query", driver, uri, sql: "select * from numbers" };
      return measured(await bench.call("adbc", command, { packages, ...ALONE }), count);
    };
    return {
      ours: () => read(ours.uri),
      peer: () => read(sqlite.location),
      async close() {
        await ours.close();
        await sqlite[Symbol.asyncDispose]();
      },
    };
  },
};

const client: Comparison = {
  ...{ name: "sql/client", unit: "rows/s", peerName: `Sail → ${DRIVER}`, target: 1, needs: "python" },
  async prepare(bench, quick) {
    const { packages, driver } = driverOf(findPeers().adbc);
    const { location: uri, ...sail } = await startSail(needed(findPeers().sail, "Sail"));
    const count = 5 * (quick ? QUICK_ROWS : ROWS);
    const sql = `select * from range(${count})`;
    return {
      ours: async () => measured(await bench.call("client", { do: "sql", uri, sql }, ALONE), count),
      peer: async () =>
        measured(await bench.call("adbc", { do: "query", driver, uri, sql }, { packages, ...ALONE }), count),
      async close() {
        await bench.call("client", { do: "sql-close" }, ALONE);
        await sail[Symbol.asyncDispose]();
      },
    };
  },
};

const small: Comparison = {
  ...{ name: "sql/small", unit: "requests/s", peerName: `arrow-go, SQLite → ${DRIVER}`, target: 1.5, needs: "python" },
  async prepare(bench, quick) {
    const { packages, driver } = driverOf(findPeers().adbc);
    const { location: uri, ...sqlite } = await startSqlite(needed(findPeers().sqliteServer, "arrow-go's server"));
    const count = quick ? 200 : 1000;
    const sql = "select id, keyName from intTable where id = ?";
    return {
      ours: async () => measured(await bench.call("client", { do: "sql-small", uri, sql, count }, ALONE), count),
      peer: async () =>
        measured(await bench.call("adbc", { do: "small", driver, uri, sql, count }, { packages, ...ALONE }), count),
      async close() {
        await bench.call("client", { do: "sql-close" }, ALONE);
        await sqlite[Symbol.asyncDispose]();
      },
    };
  },
};

/** In the order in which they run and are printed. */
export const SQL: readonly Comparison[] = [rows, adbc, client, small];
