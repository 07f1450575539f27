/**
 * `dipc serve --sql`: files as tables, and options that do not go together.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { FlightSqlClient } from "../../flight_sql.ts";
import { rowsOf, sampleFiles } from "../flight_sql/support/sql_server.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { dipc, serve } from "../support/processes.ts";

peerTest(
  ["duckdb"],
  "dipc serve --sql makes tables of Parquet and Arrow files, which clients may add to in a folder",
  async () => {
    using folder = new TemporaryFolder();
    const { parquet, arrow } = await sampleFiles(folder);
    const flags = ["--flight-port", "0", "--no-ucx", "--sql"];
    const write = ["--sql-write", folder.path, "--sql-memory", "1G", "--sql-rows", "40000", "--sql-timeout", "1m"];
    await using server = await serve([parquet, arrow, ...flags, ...write]);
    await using client = await FlightSqlClient.connect(server.info.flight!);
    const join = "select count(*) as n from trips join flights using (n)";
    assertEquals(await rowsOf(client, join), [{ n: 30_000 }]);
    assertEquals(await client.update("create table cities as select distinct city from trips"), 0);
    assertEquals(await rowsOf(client, "select count(*) as n from cities"), [{ n: 7 }]);
    assertEquals((await client.tables()).map(({ name }) => name).sort(), ["cities", "flights", "trips"]);
  },
);

peerTest(["duckdb"], "options of --sql that do not go together are refused", async () => {
  using folder = new TemporaryFolder();
  const { parquet } = await sampleFiles(folder);
  const cases: readonly [args: string[], text: RegExp][] = [
    [[parquet, "--sql"], /cannot use --sql: it is for Flight; give --flight-port PORT too/],
    [
      [parquet, "--flight-port", "0", "--sql-write", folder.path],
      /cannot use --sql-write: it is for SQL; give --sql too/,
    ],
    [[parquet, "--flight-port", "0", "--sql", "--sql-write", parquet], /cannot use --sql-write .*: it is not a folder/],
    [[parquet, "--flight-port", "0", "--sql", "--sql-rows", "none"], /--sql-rows/],
    [["x=-", "--flight-port", "0", "--sql"], /standard input \("-"\) can be read only once/],
  ];
  for (const [args, text] of cases) {
    const { code, stderr } = await dipc(["serve", ...args]);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, text);
  }
});
