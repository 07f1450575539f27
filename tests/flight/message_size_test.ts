/** Messages that clients and servers of gRPC take by default, 4 MiB: batches are cut for them, by Flight alone. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { type Table, tableFromArrays } from "apache-arrow";
import { FlightClient, serveFlight } from "../../flight.ts";
import { connect, type Dataset, fromTable, openPath, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { pythonClient } from "../support/flight_python.ts";
import { LARGE_FILES, writeLargeFiles } from "../support/large_files.ts";
import { testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { needsPython } from "../support/python.ts";

/** What gRPC's libraries take by default, in bytes. */
const DEFAULT_BYTES = 4 * 2 ** 20;

/** A table of one batch with this many bytes of floats. */
const wide = (bytes: number): Table => tableFromArrays({ n: Float64Array.from({ length: bytes / 8 }, (_, i) => i) });

/** What a DoGet sends: the size of its largest message in bytes, and the number of batches. */
async function fetched(location: string, ticket: string): Promise<{ largest: number; batches: number }> {
  await using client = await FlightClient.connect(location);
  const found = { largest: 0, batches: 0 };
  await using reader = await client.doGet(ticket);
  found.largest = reader.schemaHeader.bytes.byteLength;
  const messages = reader.messages();
  for await (const { header, body } of messages) {
    found.largest = Math.max(found.largest, header.bytes.byteLength + header.bodyLength);
    if (header.kind === "batch") found.batches++;
    body?.release();
  }
  return found;
}

Deno.test("maxBatchBytes cuts the batches of a DoGet, and nothing is lost; by default they are as they are", async () => {
  const table = wide(8_000_000);
  for (const maxBatchBytes of [undefined, false, DEFAULT_BYTES, 100_000] as const) {
    await using server = await serve({ datasets: { x: table }, flight: { maxBatchBytes, ucx: "off" } });
    const { location } = server.flight!;
    const { largest, batches } = await fetched(location, "x");
    if (typeof maxBatchBytes === "number") assert(largest <= maxBatchBytes, `${largest}`);
    else assertEquals(batches, 1);
    await using stream = await connect(`${location}/x`);
    assertEquals((await stream.toTable()).getChild("n")!.toArray(), table.getChild("n")!.toArray());
  }
  await assertDipcError("invalid_argument", "maxBatchBytes", () => serveFlight({ maxBatchBytes: 3 }));
});

Deno.test("put cuts batches too", async () => {
  const seen: number[] = [];
  await using server = await serveFlight({
    handlers: {
      async doPut(upload) {
        for await (const { message } of upload) {
          seen.push(message!.header.bytes.byteLength + message!.header.bodyLength);
          message!.body?.release();
        }
      },
    },
  });
  for (const [maxBatchBytes, count] of [[undefined, 1], [DEFAULT_BYTES, 2]] as const) {
    seen.length = 0;
    await using client = await FlightClient.connect(server.location, { maxBatchBytes });
    await client.put({ path: "x" }, await fromTable(wide(8_000_000)));
    assert(seen.length >= count && (count === 1 || Math.max(...seen) <= DEFAULT_BYTES), String(seen));
  }
});

testNeeding(
  [needsPython],
  "a Parquet file, a batch of 8 MB and 40,000 columns come in messages that every client takes",
  async () => {
    using folder = new TemporaryFolder();
    await writeLargeFiles(folder.path);
    const datasets: Record<string, Dataset> = {};
    for (const name of Object.keys(LARGE_FILES)) {
      datasets[name.replace(/\..*/, "")] = await openPath(folder.file(name));
    }
    const chosen = await openPath(folder.file("doubles.parquet"), { batchRows: 50_000 });
    assertEquals([datasets.doubles, datasets.large, chosen].map(({ hasFreeBatches = false }) => hasFreeBatches), [
      ...[true, false, false],
    ]);
    await chosen.close();
    await using byDefault = await serve({ datasets: { doubles: datasets.doubles }, flight: { ucx: "off" } });
    const parquet = await fetched(byDefault.flight!.location, "doubles");
    assert(parquet.largest <= DEFAULT_BYTES, `${parquet.largest}`);
    assertGreater(parquet.batches, 3);

    await using server = await serve({ datasets, flight: { ucx: "off", maxBatchBytes: DEFAULT_BYTES } });
    const { location } = server.flight!;
    for (const name of Object.keys(datasets)) {
      const { largest } = await fetched(location, name);
      assert(largest <= DEFAULT_BYTES, `${name}: ${largest}`);
      await using client = await FlightClient.connect(location);
      const info = await client.getFlightInfo({ path: name });
      assert(info.schema.byteLength < DEFAULT_BYTES, `${name}: ${info.schema.byteLength}`);
    }
    const steps = Object.keys(datasets).map((name) => ["get", [name]] as const);
    const results = await pythonClient({ location, steps });
    assertEquals(results.map(({ value, error, message }) => error ?? message ?? value.rows), [100_000, 1_000_000, 3]);
  },
);
