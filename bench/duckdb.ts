/**
 * Rows of DuckDB sent to another process, next to DuckDB's Python package under pyarrow's Flight server and client.
 *
 * @module
 */
import { findPeers } from "../tools/peers.ts";
import type { Comparison, Measured } from "./compare.ts";
import { rate, serveFlight, serveNothing, serveOurs } from "./serving.ts";
import type { Fetched } from "./workbench.ts";

/** About 70 bytes a row in Arrow. */
const ROWS = 15_000_000, QUICK_ROWS = 3_000_000;

/** A table of integers and texts, in memory. */
const makeTable = (rows: number): string =>
  `create table rows as select i as a, i * 7 as b, 'text ' || i as c, md5(i::varchar) as d from range(${rows}) r(i)`;

const duckDbRows: Comparison = {
  ...{ name: "duckdb/1GB", unit: "GB/s", peerName: "DuckDB 2.0 reader by pyarrow Flight", target: 3, needs: "python" },
  async prepare(bench, quick) {
    const { duckdb } = findPeers();
    if (duckdb === null) throw new Error("libduckdb is missing; deno task setup");
    const rows = quick ? QUICK_ROWS : ROWS;
    const spec = { kind: "duckdb", path: duckdb, setup: makeTable(rows), sql: "select * from rows" };
    const [{ uri }, peer] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
    // From the request on: Python's package executes a query before it has the schema, ours as it is read.
    const whole = (fetched: Fetched): Measured => {
      if (fetched.rows !== rows) throw new Error(`${fetched.rows} rows came of ${rows}`);
      return rate({ ...fetched, seconds: fetched.wholeSeconds });
    };
    return {
      ours: async () => whole(await bench.fetch("client", { do: "read", uri })),
      peer: async () => whole(await bench.fetch("flight-client", { do: "read", ...peer })),
      close: () => serveNothing(bench),
    };
  },
};

/** In the order in which they run and are printed. */
export const DUCKDB: readonly Comparison[] = [duckDbRows];
