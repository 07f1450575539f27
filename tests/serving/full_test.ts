/** A server that has no room says so in words, by UCX as by Flight. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect, fromBatches, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";

testNeeding([needsUcx], "a client for whom a UCX server has no connection left hears that it is busy", async () => {
  const datasets = { x: await fromBatches(tripsTable(600).batches) };
  await using server = await serve({ datasets, maxConnections: 2, windowBatches: 4 });
  const [uri] = server.datasets[0].uris;
  const readers = [await connect(uri), await connect(uri)];
  for (let i = 0; i < 3; i++) {
    const error = await assertDipcError("busy", "try again later", () => connect(uri));
    assertStringIncludes(error.message, "2 connections");
  }
  assertEquals(server.stats.completed, 0);
  for (const reader of readers) {
    let rows = 0;
    for await (using batch of reader) rows += batch.numRows;
    assertEquals(rows, 600_000);
  }
  // There is room again.
  for await (using _batch of await connect(uri));
});
