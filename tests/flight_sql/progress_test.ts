/**
 * How far a query is that its client polls.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { FlightSqlClient } from "../../flight_sql.ts";
import { peerTest } from "../support/peers.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

const ROWS = 1_000_000;

/** Executes a query that takes the longer the more work there is for each row. @returns what the server said, while it ran */
async function progressOf(client: Pick<FlightSqlClient, "query">, work: number, isPrepared: boolean) {
  const said: (number | null)[] = [];
  const rows = await rowsOf(
    client,
    `select count(*) as n from t where list_sum([hash(i + x) % 7 for x in range(${work})]) >= ${isPrepared ? "?" : 0}`,
    { onProgress: (progress) => said.push(progress), ...isPrepared ? { parameters: [0] } : {} },
  );
  assertEquals(rows, [{ n: ROWS }]);
  assertEquals(said.at(-1), 1);
  return said.slice(0, -1);
}

peerTest(["duckdb"], "a query that is polled says how far it is, and never less than before", async () => {
  await using server = await sqlServer({ engine: { threads: 1 } });
  await using client = await server.client();
  await client.update(`create table t as select range as i from range(${ROWS})`);
  for (const isPrepared of [false, true]) {
    await using transaction = isPrepared ? await client.beginTransaction() : null;
    let said: number[] = [];
    // As long as it takes to be seen in the middle twice, on whatever machine.
    for (let work = 8; said.filter((each) => each > 0 && each < 1).length < 2; work *= 2) {
      assert(work < 2 ** 16, `no progress was seen: ${said}`);
      said = (await progressOf(transaction ?? client, work, isPrepared)).filter((each) => each !== null);
      assertEquals(said, said.toSorted((a, b) => a - b));
      assert(said.every((each) => each >= 0 && each <= 1), String(said));
    }
  }
  // A query that is not polled is executed without it.
  const setting = "select current_setting('enable_progress_bar') as bar";
  assertEquals(await rowsOf(client, setting), [{ bar: false }]);
});
