/**
 * TPC-H at Sail, a distributed engine that knows nothing of UCX, here with two workers: every query through a gateway, by each way, as
 * DuckDB answers it. `DIPC_TPCH_SCALE=0.1` for more than the usual hundredth.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { FlightSqlClient } from "../../flight_sql.ts";
import { serveGateway } from "../../flight.ts";
import { PEER_ADVICE } from "../../tools/peers.ts";
import { startSail } from "../flight_sql/support/sql_servers.ts";
import { type Need, needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peers } from "../support/peers.ts";
import { needsPackages } from "../support/python.ts";
import { printTable } from "../support/table.ts";
import { compareTpch, makeTpch, needsTpch, tpchQueries } from "../support/tpch.ts";

const needsSail: Need = { what: "Sail", present: peers.sail !== null, how: PEER_ADVICE.sail };
const SCALE = Number(Deno.env.get("DIPC_TPCH_SCALE") || 0.01);
const WORKERS = 2;
const WAYS = [
  ["Flight", { route: "flight" }],
  ["UCX", { route: "ucx", share: false }],
  ["shared memory", { route: "ucx" }],
] as const;

testNeeding(
  [needsUcx, needsTpch, needsPackages("duckdb"), needsSail],
  `the 22 queries of TPC-H at Sail with ${WORKERS} workers arrive through a gateway as DuckDB answers them`,
  async () => {
    using data = new TemporaryFolder();
    using folder = new TemporaryFolder();
    const tables = await makeTpch(data.path, SCALE);
    await using sail = await startSail(peers.sail!, WORKERS);
    await using gateway = await serveGateway({ engines: sail.location, share: true });
    await using client = await FlightSqlClient.connect(gateway.location);
    for (const [name, path] of Object.entries(tables)) {
      // Sail takes statements of every kind as queries.
      await (await client.query(`create or replace temp view ${name} as select * from parquet.\`${path}\``)).toTable();
    }
    const queries: Record<string, { sql: string; answers: Record<string, string> }> = {};
    for (const [name, sql] of tpchQueries(peers.sail!.packages)) {
      const answers: Record<string, string> = {};
      for (const [way, options] of WAYS) {
        await using client = await FlightSqlClient.connect(gateway.location, options);
        await using stream = await client.query(sql);
        answers[way] = folder.file(`${name} ${way}.arrows`);
        await Deno.writeFile(answers[way], stream.toReadableStream());
      }
      queries[name] = { sql, answers };
    }
    const compared = await compareTpch(tables, queries);
    const rows = Object.entries(compared).map(([name, { rows, ways }]) => [name, String(rows), ...Object.values(ways)]);
    printTable(`TPC-H, scale ${SCALE}, Sail → gateway`, ["query", "rows", ...WAYS.map(([way]) => way)], rows);
    assertEquals(rows.filter(([, , ...ways]) => ways.some((found) => found !== "equal")), []);
  },
);
