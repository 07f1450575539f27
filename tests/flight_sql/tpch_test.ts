/**
 * The queries of TPC-H through a server, by Flight and by UCX: the same as DuckDB's own answers.
 *
 * `DIPC_TPCH_SCALE` says how many gigabytes of tables there are.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { duckDbEngine, FlightSqlClient } from "../../flight_sql.ts";
import { serve } from "../../mod.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { peers } from "../support/peers.ts";
import { needsPackages, programOf, runPython } from "../support/python.ts";
import { printTable } from "../support/table.ts";

const SCALE = Deno.env.get("DIPC_TPCH_SCALE") ?? "0.01";
const TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
const ROUTES = ["flight", "ucx"] as const;

const queries = (await Deno.readTextFile(`${ROOT}/tests/flight_sql/support/tpch.sql`)).replace(/^--.*$/gm, "")
  .split(";").map((query) => query.trim()).filter((query) => query !== "");

const needs = [needsUcx, needsPackages("duckdb", "pyarrow"), {
  what: "libduckdb",
  present: peers.duckdb !== null && programOf("tpchgen-cli") !== null,
  how: "run deno task setup",
}];

testNeeding(needs, "TPC-H: 22 queries by Flight and by UCX, equal to DuckDB's own answers", async () => {
  using folder = new TemporaryFolder();
  const args = ["parquet", "-s", SCALE, `--output-dir=${folder.path}`];
  const { success } = await new Deno.Command(programOf("tpchgen-cli")!, { args, stderr: "null" }).output();
  assertEquals(success, true);
  const tables = Object.fromEntries(TABLES.map((name) => [name, `${folder.path}/${name}.parquet`]));
  await using engine = await duckDbEngine({ tables });
  // No result is small, so that each can be fetched by UCX.
  const sqlLimits = { smallResultBytes: 0 };
  await using server = await serve({ datasets: {}, flight: { sql: engine, sqlLimits } });
  const routes: number[][] = [];
  for (const route of ROUTES) {
    await using client = await FlightSqlClient.connect(server.flight!.location, { route });
    const times: number[] = [];
    for (const [i, query] of queries.entries()) {
      const beganMs = performance.now();
      await using reader = await client.query(query);
      await Deno.writeFile(`${folder.path}/${i}.${route}`, reader.toReadableStream());
      times.push(performance.now() - beganMs);
      assertEquals([...new Set(reader.stats.endpoints.map(({ route }) => route))], [route], `query ${i + 1}`);
    }
    routes.push(times);
  }
  const results = queries.map((query, i) => ({ query, paths: ROUTES.map((route) => `${folder.path}/${i}.${route}`) }));
  const answers = await runPython("tpch.py", [folder.path], results) as { rows: number; differences: string[] }[];
  const heading = ["query", "rows", ...ROUTES.flatMap((route) => [route, `${route}, ms`])];
  printTable(
    `TPC-H, scale ${SCALE}`,
    heading,
    answers.map(({ rows, differences }, i) => [
      ...[String(i + 1), String(rows)],
      ...differences.flatMap((difference, k) => [difference === "" ? "equal" : "differs", routes[k][i].toFixed(0)]),
    ]),
  );
  assertEquals(answers.map(({ differences }) => differences), queries.map(() => ["", ""]));
  assertEquals(queries.length, 22);
});
