/** A server that has no room says so in words, by UCX as by Flight. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect, fromBatches, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { burst, burstServer } from "../support/burst.ts";
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

testNeeding(
  [needsUcx],
  "of a list of URIs the next one is taken if a server is full or not there, and no other error is passed over",
  async () => {
    const datasets = { x: await fromBatches(tripsTable(600).batches) };
    await using full = await serve({ datasets, maxConnections: 1, windowBatches: 4 });
    await using free = await serve({ datasets: { x: tripsTable(1) } });
    const [[fullUri], [freeUri]] = [full.datasets[0].uris, free.datasets[0].uris];
    await using reader = await connect(fullUri);
    const nowhere = fullUri.replace(/:\d+\//, ":1/");
    for (const first of [[fullUri], [nowhere], [nowhere, fullUri]]) {
      await using stream = await connect([...first, freeUri]);
      assertEquals((await stream.toTable()).numRows, 1000);
      assertEquals(stream.stats.endpoints[0].location, freeUri);
    }
    // If none can be used, the first reason counts.
    await assertDipcError("busy", "try again later", () => connect([fullUri, nowhere]));
    await assertDipcError("unreachable", "", () => connect([nowhere, fullUri]));
    await assertDipcError("not_found", "no such dataset", () => connect([freeUri.replace("/x?", "/y?"), freeUri]));
    await reader.cancel();
  },
);

for (const route of ["ucx", "flight"] as const) {
  testNeeding(
    [needsUcx],
    `of 30 clients at once a server with room for 24 serves 24, and 6 hear that it is busy: ${route}`,
    async () => {
      await using server = await burstServer(route, 24);
      const { answers, ends } = await burst(server.uri, route, 30);
      assertEquals([answers, ends], [{ served: 24, busy: 6 }, { whole: 24 }]);
    },
  );
}
