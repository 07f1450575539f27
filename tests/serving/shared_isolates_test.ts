/** Bodies that are read in the memory of a server whose connections are held by several isolates. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { openPath, type OwnedRecordBatch, serve, type Server } from "../../mod.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { encodeFreed } from "../../src/protocol/address_list.ts";
import { generated, resident, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { until } from "../support/time.ts";
import { HostileClient } from "./support/hostile_sharing.ts";
import { connectShared, StartedWorkers, sumOf, wholeOf } from "./support/isolates.ts";

/** Rows of a batch of 64 KiB. */
const ROWS = rowsOf(1 << 16);
const BATCHES = 20;

function startServer(): Promise<Server> {
  return serve({
    isolates: 2,
    datasets: {
      made: { source: generated(BATCHES, ROWS), share: true },
      held: { source: resident(BATCHES, ROWS), share: true },
      sent: resident(BATCHES, ROWS),
    },
    // Room for all that two clients of an isolate are sent: nothing has to travel.
    sharing: { arenaBytes: 8 << 20 },
  });
}

function urisOf(server: Server, name: string): readonly string[] {
  return server.datasets.find((dataset) => dataset.name === name)!.uris;
}

function assertValues(batch: OwnedRecordBatch, number: number): void {
  const values = batch.getChildAt(0)!.data[0].values as BigInt64Array;
  assertEquals([values.length, values[0]], [ROWS, BigInt(number)]);
  for (let row = 1; row < ROWS; row++) if (values[row] !== BigInt(row)) throw new Error(`row ${row}: ${values[row]}`);
}

async function allBack(server: Server): Promise<void> {
  await until(
    () => server.sharing!,
    ({ clients, leasedBytes, arenaBytes }) => clients + leasedBytes + arenaBytes === 0,
  );
}

testNeeding([needsUcx], "datasets in memory and streams are read in place from each of two isolates", async () => {
  await using server = await startServer();
  assert(urisOf(server, "sent").every((uri) => !uri.includes("share=")));
  let readBytes = 0;
  for (const name of ["made", "held"]) {
    const uris = urisOf(server, name);
    assertEquals(new Set(uris.map((uri) => new URL(uri).searchParams.get("share"))).size, 2);
    const read = async (uri: string): Promise<void> => {
      await using reader = await connectShared(uri);
      let number = 0;
      for await (using batch of reader) assertValues(batch, number++);
      const { batches, bodyBytes, sharedBytes, sharingReason } = reader.stats;
      readBytes += sharedBytes;
      assertEquals([batches, sharedBytes, sharingReason], [BATCHES, bodyBytes, ""], name);
    };
    await Promise.all([...uris, ...uris].map(read));
  }
  await allBack(server);
  await until(() => server.stats.completed === 8);
  assertGreater(readBytes, 0);
  assertEquals(server.stats.sharedBytes, readBytes);
  // Every client counts that has something, whichever isolate it is of.
  await using stream = await connectShared(urisOf(server, "made"));
  {
    using held = (await stream.next()).value as OwnedRecordBatch;
    await until(() => server.sharing!, ({ clients, leasedBytes }) => clients === 1 && leasedBytes >= ROWS * 8);
    assertValues(held, 0);
  }
  await stream.cancel();
  await allBack(server);
});

testNeeding([needsUcx], "an Arrow file that each isolate opens is read in place, too", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("trips.arrow");
  Deno.writeFileSync(path, tripsBytes("file", 5));
  await using server = await serve({
    isolates: 2,
    datasets: { path: { source: path, share: true }, mapped: { source: await openPath(path), share: true } },
    sharing: { minBodyBytes: 0 },
  });
  for (const { uris } of server.datasets) {
    for (const uri of uris) {
      await using reader = await connectShared(uri);
      assertEquals(await sumOf(reader), wholeOf(5));
      assertEquals(reader.stats.sharedBytes, reader.stats.bodyBytes);
    }
  }
  await until(() => server.stats.completed === 4);
});

testNeeding([needsUcx], "a client of an isolate that gives back what it does not have is disconnected", async () => {
  // As many batches as never fit into the window.
  await using server = await serve({
    ...{ isolates: 2, windowBatches: 2 },
    datasets: { t: { source: generated(500, ROWS), share: true } },
  });
  await using client = new HostileClient(server.datasets[0].uris[1]);
  assertEquals(await client.hello(), "");
  await client.read(3);
  client.socket.send(encodeFreed([client.lent[0] + 8n]));
  const error = await client.rest();
  assertEquals((error as { code?: string } | null)?.code, "protocol");
});

testNeeding(
  [needsUcx],
  "when an isolate fails, batches of its clients stay, and the next one shares under the same URI",
  async () => {
    using workers = new StartedWorkers();
    await using server = await startServer();
    const errors: string[] = [];
    server.addEventListener("error", ({ detail }) => void errors.push(detail.error!.code));
    const uris = [...urisOf(server, "made")];
    await using stream = await connectShared(uris[0]);
    const held = (await stream.next()).value as OwnedRecordBatch;
    const failed = workers.all.length;
    const index = new URL(uris[0]).port === String(server.port) ? 0 : 1;
    workers.crash(index);
    await until(() => workers.all.length > failed);
    assertValues(held, 0);
    held[Symbol.dispose]();
    await until(async () => {
      try {
        await using again = await connectShared(uris[0]);
        let number = 0;
        for await (using batch of again) assertValues(batch, number++);
        return again.stats.sharingReason;
      } catch {
        return null; // it is being replaced
      }
    }, (reason) => reason === "");
    assertEquals(urisOf(server, "made").toSorted(), uris.toSorted());
    assert(errors.includes("internal"), errors.join());
    await allBack(server);
  },
);
