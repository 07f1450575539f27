/** Batches of more than 4 MiB through nginx and HAProxy: cut for clients as they are by default, and uploaded whole. */
import { assertEquals, assertMatch } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, type FlightServer, serveFlight } from "../../flight.ts";
import { fromTable, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { pythonClient } from "../support/flight_python.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";

/** Rows of a batch of 8 MB of doubles. */
const ROWS = 1_000_000;
/** Sum of its values. */
const SUM = ROWS * (ROWS - 1) / 2;
/** What gRPC's libraries take by default, in bytes. */
const DEFAULT_BYTES = 4 * 2 ** 20;
const table = tableFromArrays({ n: Float64Array.from({ length: ROWS }, (_, i) => i) });

/** Reads by arrow-go's client, which refuses messages of more than 4 MiB. */
async function readByGo(client: string, port: number): Promise<Record<string, unknown>> {
  const { stdout } = await new Deno.Command(client, { args: [`127.0.0.1:${port}`, "x"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

for (const name of PROXY_NAMES) {
  peerTest(
    ["proxies", "goPrograms", "python"],
    `default clients and ours read a batch of 8 MB through ${name}, cut for them`,
    async ({ proxies, goPrograms }) => {
      await using server = await serve({
        datasets: { x: table },
        flight: { ucx: "off", maxBatchBytes: DEFAULT_BYTES },
      });
      await using proxy = await startProxy(name, proxies, { backend: server.flight!.port });
      const expected = { rows: ROWS, columns: 1, batches: 2, sum: SUM };
      assertEquals(await readByGo(goPrograms.defaultClient, proxy.port), expected);
      const [{ value }] = await pythonClient({ location: proxy.location, steps: [["get_sum", ["x"]]] });
      assertEquals(value, expected);
      await using client = await FlightClient.connect(proxy.location);
      await using reader = await client.doGet("x");
      const found = await reader.toTable();
      const sum = (found.getChild("n")!.toArray() as Float64Array).reduce((all, value) => all + value);
      assertEquals({ rows: found.numRows, columns: found.numCols, batches: found.batches.length, sum }, expected);
    },
  );
}

/** A server that counts the bytes of uploads' bodies. */
async function counting(): Promise<{ server: FlightServer; sizes: number[] }> {
  const sizes: number[] = [];
  const server = await serveFlight({
    handlers: {
      async doPut(upload) {
        for await (const { message } of upload) {
          if (message?.header.kind === "batch") sizes.push(message.header.bodyLength);
          message?.body?.release();
        }
      },
    },
  });
  return { server, sizes };
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `an upload of 8 MB in one batch, and in several, passes ${name}`, async ({ proxies }) => {
    const { server, sizes } = await counting();
    await using _ = server;
    await using proxy = await startProxy(name, proxies, { backend: server.port, maxBody: 0 });
    for (const [maxBatchBytes, batches] of [[undefined, 1], [DEFAULT_BYTES, 2]] as const) {
      sizes.length = 0;
      await using client = await FlightClient.connect(proxy.location, { maxBatchBytes });
      await client.put({ path: "x" }, await fromTable(table));
      assertEquals([sizes.length, sizes.reduce((all, size) => all + size)], [batches, 8 * ROWS]);
    }
  });
}

peerTest(
  ["proxies"],
  "an upload beyond nginx's default length fails with its 413, and the next call succeeds",
  async (found) => {
    const { server } = await counting();
    await using _ = server;
    // What client_max_body_size is unless it is set: an upload has no length that nginx could know at its start.
    await using proxy = await startProxy("nginx", found.proxies, { backend: server.port, maxBody: 2 ** 20 });
    await using client = await FlightClient.connect(proxy.location);
    const error = await assertDipcError("flight", "HTTP status 413", async () => {
      return await client.put({ path: "x" }, await fromTable(table));
    });
    assertMatch(error.message, /send less in one call, or raise .*client_max_body_size/);
    await client.put({ path: "x" }, await fromTable(tableFromArrays({ n: Float64Array.of(1) })));
  },
);
