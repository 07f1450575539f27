/** Device memory and Flight together: a flight into device memory by either route, and DoGet of what lies in device memory. */
import { assertEquals } from "@std/assert";
import { connect, fromTable, serve } from "../../mod.ts";
import { connectCuda } from "../../cuda.ts";
import { Table } from "apache-arrow";
import { rowsOf } from "../support/datasets.ts";
import { deviceTest } from "./support/device_tests.ts";
import { wideTable } from "../support/wide_table.ts";

const table = (): Table => wideTable(3, 100_000);

for (const route of ["ucx", "flight"] as const) {
  deviceTest(`a flight arrives whole in device memory, by ${route}`, async () => {
    const expected = table();
    await using server = await serve({ datasets: { wide: expected }, flight: {} });
    await using stream = await connectCuda(server.flight!.location, {
      flight: { path: "wide" },
      route,
      memory: "cuda:0",
    });
    const rows: unknown[] = [];
    for await (using batch of stream) {
      using host = await batch.toHost();
      rows.push(...rowsOf(new Table(host)));
    }
    assertEquals(rows, rowsOf(expected));
    const { stats } = stream;
    assertEquals([stats.route, stats.memory, stats.complete, stats.batches], [route, "cuda:0", true, 2]);
    assertEquals(stats.endpoints.length, 1);
  });

  deviceTest(`what lies in device memory is fetched into host memory, by ${route}`, async () => {
    const expected = table();
    const source = await fromTable(expected);
    await using server = await serve({ datasets: { wide: { source, memory: "cuda:0" } }, flight: {} });
    for (let pass = 0; pass < 2; pass++) {
      await using stream = await connect(server.flight!.location, { flight: { path: "wide" }, route });
      const rows: unknown[] = [];
      for await (using batch of stream) rows.push(...rowsOf(new Table(batch)));
      assertEquals(rows, rowsOf(expected));
      assertEquals(stream.stats.route, route);
    }
    await source.close();
  });
}
