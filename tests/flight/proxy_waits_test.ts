/** Waits behind nginx and HAProxy: for a turn on a connection that takes one call at a time, and for a client that thinks. */
import { assertEquals, assertGreater } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, serveFlight } from "../../flight.ts";
import { fromTable } from "../../mod.ts";
import { utf8 } from "../support/bytes.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";
import { delay } from "../support/time.ts";
import { EMPTY_MESSAGE, impatientServer, METADATA_MESSAGE, statusOf } from "./support/quiet_calls.ts";

/** Longest wait of the client for an answer, and how long each answer takes, in milliseconds. */
const TIMEOUT_MS = 1500, ANSWER_MS = 400;
/** Actions, and as many DoGets: in all they take longer than the client waits for one. */
const CALLS = 3;
const numbersTable = () => fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `calls that wait for their turn at ${name} do not time out meanwhile`, async ({ proxies }) => {
    await using server = await serveFlight({
      handlers: {
        actions: {
          slow: {
            async run(body) {
              await delay(ANSWER_MS);
              return [body];
            },
          },
        },
        async doGet() {
          await delay(ANSWER_MS);
          return await numbersTable();
        },
      },
    });
    await using proxy = await startProxy(name, proxies, { backend: server.port, maxStreams: 1 });
    await using client = await FlightClient.connect(proxy.location, { timeoutMs: TIMEOUT_MS });
    const startedMs = performance.now();
    const act = async (i: number): Promise<string> =>
      (await Array.fromAsync(client.doAction("slow", `${i}`))).map((result) => new TextDecoder().decode(result)).join();
    const get = async (): Promise<number> => {
      await using reader = await client.doGet("x");
      return (await reader.toTable()).numRows;
    };
    const numbers = Array.from({ length: CALLS }, (_, i) => i);
    assertEquals(await Promise.all([...numbers.map(act), ...numbers.map(get)]), [
      ...numbers.map(String),
      ...numbers.map(() => 3),
    ]);
    // They came one after another: otherwise none would have waited.
    assertGreater(performance.now() - startedMs, TIMEOUT_MS);
  });

  peerTest(["proxies"], `calls may be quiet before their first message, behind ${name} too`, async ({ proxies }) => {
    await using server = await impatientServer();
    await using proxy = await startProxy(name, proxies, { backend: server.port });
    const statuses = ["DoPut", "DoExchange", "Handshake"].map((method) => {
      const message = method === "Handshake" ? EMPTY_MESSAGE : METADATA_MESSAGE;
      return statusOf(proxy.port, method, [[700, message], [700, message], [700, new Uint8Array()]]);
    });
    assertEquals(await Promise.all(statuses), ["0", "0", "0"]);
  });

  peerTest(["proxies"], `an upload may be quiet before its first batch, behind ${name} too`, async ({ proxies }) => {
    const rows: number[] = [];
    await using server = await serveFlight({
      limits: { requestTimeoutMs: 300 },
      handlers: {
        async doPut(upload) {
          for await (const { message, appMetadata } of upload) {
            if (message?.header.kind === "batch") rows.push(message.header.bodyLength);
            if (appMetadata !== null) await upload.acknowledge(appMetadata);
            message?.body?.release();
          }
        },
      },
    });
    await using proxy = await startProxy(name, proxies, { backend: server.port });
    await using client = await FlightClient.connect(proxy.location);
    const table = await numbersTable();
    await using writer = await client.doPut({ path: "x" }, table);
    const run = await table.open();
    for (const label of ["first", "second"]) {
      await delay(700);
      if (label === "first") await writer.write((await run.next())!, utf8(label));
      else await writer.writeMetadata(utf8(label));
    }
    await run.close();
    const answers = await writer.finish();
    assertEquals([rows.length, answers.map((answer) => new TextDecoder().decode(answer))], [1, ["first", "second"]]);
  });
}
