/**
 * Rows of PostgreSQL by its ADBC driver, next to the same driver under Python's driver manager.
 *
 * @module
 */
import { startPostgres } from "../tests/support/postgres.ts";
import { findPeers } from "../tools/peers.ts";
import type { Comparison, Measured } from "./compare.ts";

const ROWS = 1_000_000, QUICK_ROWS = 300_000;

/** Makes a table of 8 columns. */
const makeTable = (rows: number): string =>
  `create unlogged table rows as select i::int as a, i::bigint * 1000 as b, i * 0.25::float8 as c, (i % 3 = 0) as d,
    'text ' || i as e, md5(i::text) as f, date '2000-01-01' + i % 10000 as g, timestamp '2000-01-01' + i * interval '1 s' as h
    from generate_series(1, ${rows}) t(i)`;

const postgresRows: Comparison = {
  ...{
    name: "postgres/rows",
    unit: "rows/s",
    peerName: "pyarrow fetch_record_batch by ADBC",
    target: 0.95,
    needs: "python",
  },
  async prepare(bench, quick) {
    const { adbc, postgres } = findPeers();
    if (adbc === null || postgres === null) {
      throw new Error("PostgreSQL or its ADBC driver is missing; deno task setup");
    }
    const rows = quick ? QUICK_ROWS : ROWS;
    const server = await startPostgres(postgres);
    try {
      await server.psql(`${makeTable(rows)}; analyze rows`);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    const command = { do: "adbc", driver: adbc.postgresql, uri: server.uri, sql: "select * from rows" };
    const measured = (answer: Record<string, unknown>): Measured => {
      if (answer.rows !== rows) throw new Error(`${answer.rows} rows came of ${rows}`);
      return { value: rows / (answer.seconds as number) };
    };
    return {
      ours: async () => measured(await bench.call("client", command)),
      peer: async () => measured(await bench.call("adbc", command, { packages: adbc.packages })),
      close: async () => {
        await bench.call("client", { do: "adbc-close" });
        await server[Symbol.asyncDispose]();
      },
    };
  },
};

/** In the order in which they run and are printed. */
export const ADBC: readonly Comparison[] = [postgresRows];
