/**
 * Results of SQL by every route: sent by UCX, and read in the server's memory.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { duckDbEngine, FlightSqlClient } from "../../flight_sql.ts";
import { serve } from "../../mod.ts";
import type { FlightPlaneOptions } from "../../src/serving/flight_plane.ts";
import { assertDipcError } from "../support/assert.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { peers } from "../support/peers.ts";

const needs = [needsUcx, { what: "libduckdb", present: peers.duckdb !== null, how: "run deno task setup" }];
const ROWS = 400_000;
const LARGE = `select range as n, range * 2.0 as f from range(${ROWS})`;

testNeeding(needs, "results of SQL are sent by UCX, and read in the server's memory if it is shared", async () => {
  for (const sqlShare of [false, true]) {
    await using engine = await duckDbEngine({ tables: {} });
    await using server = await serve({ datasets: {}, flight: { sql: engine, sqlShare } });
    await using client = await FlightSqlClient.connect(server.flight!.location);
    for (const order of ["", " order by n"]) {
      await using reader = await client.query(LARGE + order);
      let rows = 0, sum = 0;
      for await (using batch of reader) {
        rows += batch.numRows;
        for (const n of batch.getChild("n")!.toArray() as BigInt64Array) sum += Number(n);
      }
      assertEquals([rows, sum], [ROWS, (ROWS - 1) * ROWS / 2]);
      assertEquals([...new Set(reader.stats.endpoints.map(({ route }) => route))], ["ucx"]);
      assertEquals(reader.stats.sharedBytes > 0, sqlShare);
    }
    assertEquals(server.sharing !== null, sqlShare);
  }
});

testNeeding(needs, "a result is fetched by Flight from a server whose metadata has a port of its own", async () => {
  await using engine = await duckDbEngine({ tables: {} });
  await using server = await serve({ datasets: {}, metadataPort: 0, flight: { sql: engine } });
  await using client = await FlightSqlClient.connect(server.flight!.location);
  const table = await (await client.query(LARGE)).toTable();
  assertEquals(table.numRows, ROWS);
});

testNeeding(needs, "sqlShare is refused with what it does not go with", async () => {
  await using engine = await duckDbEngine({ tables: {} });
  const refused = (flight: FlightPlaneOptions, more = {}) =>
    assertDipcError(
      "invalid_argument",
      "flight.sqlShare",
      () => serve({ datasets: {}, flight: { handlers: {}, ...flight }, ...more }),
    );
  await refused({ sqlShare: true });
  await refused({ sqlShare: true, sql: engine, ucx: "off" });
  await refused({ sqlShare: true, sql: engine }, { isolates: 2 });
  await refused({ sqlShare: true, sql: engine }, { metadataPort: 0 });
  const sql = {} as FlightPlaneOptions["sql"];
  const error = await assertDipcError("invalid_argument", "flight.sql", () => serve({ datasets: {}, flight: { sql } }));
  assert(error.message.includes("duckDbEngine"));
});
