/** A mapping of a server's memory that streams use one after another: what it saves, what it must not show, and when it goes. */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  type OwnedRecordBatch,
  releaseTransports,
  serve,
  type Server,
} from "../../mod.ts";
import { generated, resident, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { until } from "../support/time.ts";
import { HostileClient } from "./support/hostile_sharing.ts";
import { allBack, sharedDescriptors } from "./support/sharing.ts";

/** Rows of a batch of 64 KiB. */
const ROWS = rowsOf(1 << 16);
const BATCHES = 6;

/** A server of datasets that stream through an arena (`made`), or lie in packed memory (`held`). */
function startServer(maxConnections?: number): Promise<Server> {
  return serve({
    datasets: {
      made: { source: generated(BATCHES, ROWS), share: true },
      held: { source: resident(BATCHES, ROWS), share: true },
    },
    // The blocks of an arena are used again in each stream.
    sharing: { arenaBytes: BATCHES << 16 },
    maxConnections,
  });
}

function uriOf(server: Server, name: string): string {
  return server.datasets.find((each) => each.name === name)!.uris[0];
}

function valuesOf(batch: OwnedRecordBatch): BigInt64Array<ArrayBuffer> {
  return batch.getChildAt(0)!.data[0].values as BigInt64Array<ArrayBuffer>;
}

/** Reads a stream in place and checks every value. @returns the address of its first batch */
async function read(uri: string, options?: ConnectOptions, visit = (_: OwnedRecordBatch) => {}): Promise<bigint> {
  let number = 0, address = 0n;
  await using reader = await connect(uri, options);
  for await (using batch of reader) {
    const values = valuesOf(batch);
    assertEquals([values.length, values[0]], [ROWS, BigInt(number)]);
    for (let row = 1; row < ROWS; row++) if (values[row] !== BigInt(row)) throw new Error(`row ${row}: ${values[row]}`);
    if (number++ === 0) address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(values));
    visit(batch);
  }
  const { batches, bodyBytes, sharedBytes, sharingReason } = reader.stats;
  assertEquals([batches, sharedBytes, sharingReason], [BATCHES, bodyBytes, ""]);
  return address;
}

for (const name of ["made", "held"]) {
  testNeeding([needsUcx], `streams of one dataset (${name}) read one mapping after another`, async () => {
    await releaseTransports();
    await using server = await startServer();
    const none = sharedDescriptors();
    const addresses = [await read(uriOf(server, name))];
    const one = sharedDescriptors();
    assertGreater(one.length, none.length);
    for (let stream = 0; stream < 5; stream++) addresses.push(await read(uriOf(server, name)));
    assertEquals(sharedDescriptors(), one);
    // Packed batches have their places.
    if (name === "held") assertEquals(new Set(addresses).size, 1);
    await allBack(server);
    await releaseTransports();
    await until(sharedDescriptors, (now) => now.length < one.length);
  });

  testNeeding([needsUcx], `a write into a column of one stream (${name}) is not in the next one`, async () => {
    await using server = await startServer();
    for (let stream = 0; stream < 4; stream++) {
      await read(uriOf(server, name), {}, (batch) => void valuesOf(batch).fill(-1n, stream, ROWS - stream * 1000));
    }
  });

  testNeeding([needsUcx], `a batch that is kept (${name}) stays as it is while other streams run`, async () => {
    await using server = await startServer();
    let kept: OwnedRecordBatch | undefined;
    const reader = await connect(uriOf(server, name));
    for await (const batch of reader) {
      if (kept === undefined) kept = batch;
      else batch[Symbol.dispose]();
    }
    valuesOf(kept!)[1] = 99n;
    // The block is taken, so there is room for one batch less.
    for (let stream = 0; stream < 3; stream++) {
      let number = 0;
      for await (using batch of await connect(uriOf(server, name))) {
        assertEquals([...valuesOf(batch).subarray(0, 2)], [BigInt(number++), 1n]);
      }
    }
    assertEquals([...valuesOf(kept!).subarray(0, 3)], [0n, 99n, 2n]);
    kept![Symbol.dispose]();
    await allBack(server);
    await read(uriOf(server, name));
  });
}

testNeeding([needsUcx], "nothing is kept if connections are not, or the stream was not whole", async () => {
  await releaseTransports();
  await using server = await startServer();
  const none = sharedDescriptors();
  await read(uriOf(server, "held"), { keepAliveMs: 0 });
  await until(sharedDescriptors, (now) => now.length <= none.length);
  const controller = new AbortController();
  const error = await read(uriOf(server, "held"), { signal: controller.signal }, () => controller.abort())
    .catch((error) => error);
  assertStringIncludes(String(error), "cancelled");
  await until(sharedDescriptors, (now) => now.length <= none.length);
});

testNeeding(
  [needsUcx],
  "clients without a stream make room for others, and get the memory again when they return",
  async () => {
    await releaseTransports();
    await using server = await startServer(3);
    for (const name of ["made", "held"]) await read(uriOf(server, name));
    {
      const others = Array.from({ length: 3 }, () => new HostileClient(uriOf(server, "held")));
      try {
        for (const other of others) assertEquals(await other.hello(), "");
        await using late = new HostileClient(uriOf(server, "held"));
        assertEquals(await late.hello(), "busy", "those that may begin a stream stay");
      } finally {
        for (const other of others) await other[Symbol.asyncDispose]();
      }
    }
    await allBack(server);
    for (const name of ["made", "held"]) await read(uriOf(server, name));
  },
);

testNeeding([needsUcx], "a mapping goes soon after its server", async () => {
  await releaseTransports();
  const before = sharedDescriptors();
  {
    await using server = await startServer();
    await read(uriOf(server, "held"));
  }
  await until(sharedDescriptors, (now) => now.length <= before.length);
  assert(sharedDescriptors().length <= before.length);
});
