/** An upload that announces more than the server keeps is refused before it is sent. */
import { assertEquals, assertLess } from "@std/assert";
import { FlightClient } from "../../flight.ts";
import { type Dataset, fromTable, serve } from "../../mod.ts";
import { tableFromArrays } from "apache-arrow";
import { assertDipcError } from "../support/assert.ts";

const MIB = 2 ** 20;

/** So many batches of 1 MiB; `taken` counts those that were read. */
async function batches(count: number, taken: { batches: number }): Promise<Dataset> {
  const one = await fromTable(tableFromArrays({ n: new Float64Array(MIB / 8) }));
  return {
    schema: one.schema,
    readOnce: false,
    bodyBytes: count * one.bodyBytes!,
    largestBodyBytes: one.bodyBytes,
    open() {
      let left = count;
      return {
        async next() {
          if (left-- <= 0) return null;
          taken.batches++;
          return await (await one.open()).next();
        },
        close() {},
      };
    },
    close: () => one.close(),
  };
}

for (
  const [limit, limits, text] of [
    ["maxUploadBytes", { maxUploadBytes: 40 * MIB }, "larger than 41943040 bytes"],
    ["maxTotalUploadBytes", { maxTotalUploadBytes: 40 * MIB }, "no room for it"],
  ] as const
) {
  Deno.test(`an upload of more than ${limit} is refused before it is sent, and leaves room for others`, async () => {
    await using server = await serve({ datasets: {}, flight: { ucx: "off", allowPut: true, limits } });
    await using client = await FlightClient.connect(server.flight!.location);
    const taken = { batches: 0 };
    const large = await batches(80, taken);
    await assertDipcError("limit_exceeded", text, () => client.put({ path: "x" }, large));
    assertLess(taken.batches, 30, "what fits into windows and queues, and no more");
    await large.close();
    const small = await batches(39, taken);
    await client.put({ path: "x" }, small);
    await small.close();
    assertEquals(server.datasets[0].batches, 39);
    // What is not true does not count.
    const lying = { ...await batches(80, taken), bodyBytes: 1 };
    await assertDipcError("limit_exceeded", text, () => client.put({ path: "x" }, lying));
    await lying.close();
  });
}
