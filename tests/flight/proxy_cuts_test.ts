/** Streams that nginx or HAProxy cuts in their middle are an error to the reader, and never an end. */
import { assertEquals } from "@std/assert";
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { type DipcError, FlightClient, serveFlight } from "../../flight.ts";
import { fromBatches } from "../../mod.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";
import { delay } from "../support/time.ts";

/** How long the server pauses between two batches; the proxies wait 1 s. In milliseconds. */
const PAUSE_MS = 2500;
const table = tableFromArrays({ n: Int32Array.of(1, 2, 3) });

/** Two batches with a pause between them. */
async function* pausing(): AsyncGenerator<RecordBatch> {
  yield table.batches[0];
  await delay(PAUSE_MS);
  yield table.batches[0];
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `a DoGet that ${name} ends for its silence is an error to its reader`, async ({ proxies }) => {
    await using server = await serveFlight({ handlers: { doGet: () => fromBatches(pausing, table.schema) } });
    await using proxy = await startProxy(name, proxies, { backend: server.port, readTimeout: 1 });
    await using client = await FlightClient.connect(proxy.location);
    let rows = 0;
    const read = async (): Promise<string> => {
      await using reader = await client.doGet("x");
      for await (const { batch } of reader) rows += batch?.numRows ?? 0;
      return "an end";
    };
    const end = await read().catch((error: DipcError) => error.code);
    assertEquals([end, rows], ["connection_lost", 3]);
  });
}
