/** Streams whose source stands still, shutdowns meanwhile, and reads that overlap. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { connect, DipcError, fromBatches, releaseTransports, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import type { Transport } from "../../src/wire/transport.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";

const table = tableFromArrays({ n: Int32Array.of(1, 2, 3) });

/** One batch, then nothing forever. */
async function* stuck(): AsyncGenerator<RecordBatch> {
  yield table.batches[0];
  await new Promise<never>(() => {});
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T | "late"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), ms));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

testNeeding([needsUcx], "a source that never goes on holds neither its connection nor the shutdown", async () => {
  const server = await serve({ datasets: { live: stuck() } });
  const reader = await connect(server.datasets[0].uris);
  assertEquals((await reader.next()).value?.numRows, 3);
  const ended = new Promise((resolve) => server.addEventListener("error", resolve, { once: true }));
  await reader.cancel();
  assert(await within(5_000, ended) !== "late", "the connection was still open after 5 s");
  assertEquals(server.stats.activeConnections, 0);
  assertEquals(await within(5_000, server.shutdown({ timeoutMs: 500 })), undefined);
  await releaseTransports();
});

testNeeding([needsUcx], "a client learns that the server shuts down, not that the client cancelled", async () => {
  const server = await serve({ datasets: { live: stuck() } });
  const reader = await connect(server.datasets[0].uris);
  await reader.next();
  const pending = assertDipcError("closed", "shutting down", () => reader.next());
  await server.shutdown({ timeoutMs: 0 });
  await pending;
  await releaseTransports();
});

testNeeding([needsUcx], "a second read at the same time fails, and the first and the stream go on", async () => {
  await using server = await serve({ datasets: { table, live: stuck() } });
  await using reader = await connect(server.datasets[1].uris);
  await reader.next();
  const first = reader.next();
  await assertDipcError("invalid_argument", "an earlier read", () => reader.next());
  await reader.cancel();
  await assertRejects(() => first, DipcError, "cancelled");

  await using whole = await connect(server.datasets[0].uris);
  const both = await Promise.allSettled([whole.next(), whole.next()]);
  assert(both.some((result) => result.status === "fulfilled"), JSON.stringify(both.map(({ status }) => status)));
  while (!(await whole.next()).done);
  assertEquals(whole.stats.complete, true);
});

testNeeding([needsUcx], "what cannot be served is refused at once", async () => {
  await assertDipcError("invalid_argument", "", () => serve({ datasets: { table }, windowBatches: 100_000 }));
  await assertDipcError("invalid_argument", "", () => serve({ datasets: { live: stuck() }, metadataPort: 0 }));
});

Deno.test("a worker's earlier streams do not count against the next one", async () => {
  const loopback = new LoopbackTransport({ seed: 1, faults: { delay: 0.9, reorderFrame: 0.9, reorderTagged: 0.9 } });
  const batches = Array.from({ length: 50 }, () => table.batches[0]);
  const dataset = await fromBatches(batches);
  await using server = await serve({ datasets: { dataset }, transport: loopback });
  const used: Transport = {
    connect: async (...where) => {
      const channel = await loopback.connect(...where);
      return new Proxy(channel, {
        get(target, name) {
          if (name === "activity") return target.activity + 1e9;
          const value = Reflect.get(target, name, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
    listen: (options) => loopback.listen(options),
    close: () => loopback.close(),
  };
  for (let stream = 0; stream < 20; stream++) {
    await using reader = await connect(server.datasets[0].uris, { transport: used });
    let rows = 0;
    for await (using batch of reader) rows += batch.numRows;
    assertEquals(rows, 150);
  }
});
