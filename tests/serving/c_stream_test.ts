/**
 * A stream of another library of this process, served: once, released in every case.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { CStruct, exportStream } from "../../c_data.ts";
import { connect, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";

const table = tableFromArrays({ n: Int32Array.from({ length: 1000 }, (_, i) => i) });

testNeeding(
  [needsUcx],
  "a C stream is served once, and released also if nobody reads it or a client leaves",
  async () => {
    let closed = 0;
    async function* batches(): AsyncGenerator<RecordBatch> {
      try {
        for (;;) yield table.batches[0];
      } finally {
        closed++;
      }
    }
    using once = new CStruct("ArrowArrayStream"),
      left = new CStruct("ArrowArrayStream"),
      unread = new CStruct("ArrowArrayStream");
    await exportStream(table, once.address);
    for (const stream of [left, unread]) await exportStream(batches(), stream.address);
    {
      await using server = await serve({
        datasets: {
          once: { cStream: once.address },
          left: { cStream: left.address },
          unread: { cStream: unread.address },
        },
      });
      assertEquals([once, left, unread].map(({ isReleased }) => isReleased), [true, true, true]);
      const [first, second] = server.datasets.map(({ uris }) => uris[0]);
      const read = await (await connect(first)).toTable();
      assertEquals([read.numRows, read.get(999)!.n], [1000, 999]);
      await assertDipcError("busy", "only once", async () => (await connect(first)).toTable());
      for await (using batch of await connect(second)) {
        assertEquals(batch.numRows, 1000);
        break;
      }
    }
    await settled();
    assertEquals(closed, 2);
    await assertDipcError(
      "invalid_argument",
      "not a Dataset",
      () => serve({ datasets: { x: { cStream: 1 as unknown as bigint } } }),
    );
    await assertDipcError(
      "invalid_argument",
      "released or moved before",
      () => serve({ datasets: { x: { cStream: once.address } } }),
    );
  },
);
