/** Flight behind proxies that end connections, answer themselves and close what is idle: nginx and HAProxy of Debian. */
import { assertEquals, assertGreater } from "@std/assert";
import { type DipcError, FlightClient, type FlightServer, GrpcStatus, serveFlight } from "../../flight.ts";
import { connect, fromTable } from "../../mod.ts";
import { tableFromArrays } from "apache-arrow";
import { assertDipcError } from "../support/assert.ts";
import { utf8 } from "../support/bytes.ts";
import { countConnections } from "../support/connections.ts";
import { endpoint, fakeFlight, infoBytes } from "../support/flight_fake.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, type ProxyOptions, startProxy } from "../support/proxies.ts";
import { delay } from "../support/time.ts";

/** Calls in the test of connections that end; `DIPC_PROXY_CALLS` sets another number. */
const CALLS = Number(Deno.env.get("DIPC_PROXY_CALLS") ?? 2000);
/** Callers that call concurrently. */
const CALLERS = 8;

/** A server whose action `echo` returns its body, and whose only flight has three rows. */
async function backend(): Promise<FlightServer> {
  return await serveFlight({
    handlers: {
      actions: { echo: { run: (body) => [body] }, slow: { run: () => delay(2000) } },
      doGet: () => fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) })),
    },
  });
}

/** Calls `call` so often, by several callers; returns the errors. */
async function repeated(count: number, call: (i: number) => Promise<void>): Promise<string[]> {
  let next = 0;
  const errors: string[] = [];
  await Promise.all(Array.from({ length: CALLERS }, async () => {
    for (let i; (i = next++) < count;) await call(i).catch((error) => errors.push(String(error)));
  }));
  return errors;
}

for (const name of PROXY_NAMES) {
  peerTest(
    ["proxies"],
    `${name} answers every one of many concurrent calls, and nginx ends its connections meanwhile`,
    async ({ proxies }) => {
      await using server = await backend();
      await using proxy = await startProxy(name, proxies, {
        backend: server.port,
        keepaliveRequests: 50,
      });
      await using client = await FlightClient.connect(proxy.location);
      using connections = countConnections();
      const startedMs = performance.now();
      const errors = await repeated(CALLS, async (i) => {
        for await (const result of client.doAction("echo", `${i}`)) assertEquals(result, utf8(`${i}`));
      });
      console.log(
        `${name}: ${CALLS} calls, ${errors.length} errors, ${connections.count} connections, ${
          Math.round(performance.now() - startedMs)
        } ms`,
      );
      assertEquals(errors.slice(0, 3), []);
      // HAProxy has no number of calls after which it ends a connection.
      if (name === "nginx") assertGreater(connections.count, CALLS / 100);
    },
  );

  peerTest(
    ["proxies"],
    `${name} takes one call at a time, and those that wait have their answers too`,
    async ({ proxies }) => {
      await using server = await backend();
      const options = { backend: server.port, keepaliveRequests: 5, maxStreams: 1 };
      await using proxy = await startProxy(name, proxies, options);
      await using client = await FlightClient.connect(proxy.location);
      assertEquals(
        await repeated(100, async () => {
          await using reader = await client.doGet("any");
          assertEquals((await reader.toTable()).numRows, 3);
        }),
        [],
      );
    },
  );
}

for (const name of PROXY_NAMES) {
  peerTest(
    ["proxies"],
    `${name} answers for a server that is not there, is slow, or rejects a length`,
    async ({ proxies }) => {
      const asked = async (options: Partial<ProxyOptions>, call: (client: FlightClient) => Promise<unknown>) => {
        await using proxy = await startProxy(name, proxies, { backend: server.port, ...options });
        await using client = await FlightClient.connect(proxy.location);
        return await call(client).then(() => null, ({ code, foreign, message }: DipcError) => {
          return { code, status: foreign?.status, http: /HTTP status (\d+)/.exec(message)?.[1] };
        });
      };
      await using server = await backend();
      const act = (client: FlightClient) => client.doAction("slow").next();
      assertEquals(await asked({ backend: 1 }, act), {
        ...{ code: "unreachable", status: GrpcStatus.unavailable, http: name === "nginx" ? "502" : "503" },
      });
      assertEquals(await asked({ readTimeout: 1 }, act), {
        ...{ code: "unreachable", status: GrpcStatus.unavailable, http: "504" },
      });
      if (name !== "nginx") return;
      const large = await fromTable(tableFromArrays({ n: new Float64Array(10_000) }));
      assertEquals(await asked({ maxBody: 1000 }, (client) => client.put({ path: "x" }, large)), {
        ...{ code: "flight", status: GrpcStatus.unknown, http: "413" },
      });
    },
  );
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `unusual streams, long answers, statuses and credentials pass ${name}`, async ({ proxies }) => {
    const numbers = await fromTable(tableFromArrays({ n: Float64Array.from({ length: 1_000_000 }, (_, i) => i) }));
    const tickets = ["data", "empty", ...Array.from({ length: 5000 }, () => "empty".padEnd(1000))];
    const seen: (string | undefined)[] = [];
    await using server = await fakeFlight(async (call) => {
      seen.push(call.headers.authorization);
      if (call.method === "DoPut") return call.finish(8, "voll: 表 100%");
      if (call.method === "GetFlightInfo") {
        const isMany = new TextDecoder().decode(await call.request()).includes("many");
        const endpoints = (isMany ? tickets : tickets.slice(0, 2)).map((ticket) =>
          endpoint(ticket, { locations: [proxy.location.replace("127.0.0.1", "localhost")] })
        );
        await call.message(infoBytes(endpoints, true, numbers));
        return call.finish();
      }
      const ticket = await call.ticket();
      if (ticket === "meta") await call.frame({ appMetadata: utf8("rows=3") });
      if (ticket === "data") await call.data(numbers);
      call.finish();
    });
    await using proxy = await startProxy(name, proxies, { backend: Number(new URL(server.location).port) });
    await using stream = await connect(proxy.location, { flight: { path: "few", token: "secret" } });
    assertEquals((await stream.toTable()).numRows, 1_000_000);
    assertEquals([...new Set(seen)], ["Bearer secret"]);
    await using client = await FlightClient.connect(proxy.location);
    assertEquals((await client.getFlightInfo({ path: "many" })).endpoints.length, tickets.length);
    const chunks = await Array.fromAsync(await client.doGet("meta"));
    assertEquals(chunks.map(({ batch, appMetadata }) => [batch, new TextDecoder().decode(appMetadata!)]), [[
      null,
      "rows=3",
    ]]);
    await assertDipcError("limit_exceeded", "voll: 表 100%", () => client.put({ path: "x" }, numbers));
  });

  peerTest(
    ["proxies"],
    `an exchange may be quiet before its first message, behind ${name} too`,
    async ({ proxies }) => {
      await using server = await serveFlight({
        limits: { requestTimeoutMs: 300 },
        handlers: {
          async doExchange(exchange) {
            for await (const { appMetadata } of exchange) await exchange.writeMetadata(appMetadata!);
          },
        },
      });
      await using proxy = await startProxy(name, proxies, { backend: server.port });
      await using client = await FlightClient.connect(proxy.location);
      await using exchange = await client.doExchange({ path: "x" });
      await delay(1000);
      await exchange.writeMetadata(utf8("late"));
      await exchange.doneWriting();
      const chunks = await Array.fromAsync(exchange.reader);
      assertEquals(chunks.map(({ appMetadata }) => new TextDecoder().decode(appMetadata!)), ["late"]);
    },
  );
}

peerTest(["proxies"], "HAProxy closes what is idle, and the next call finds it again", async ({ proxies }) => {
  await using server = await backend();
  const lines = ["timeout http-keep-alive 15ms"];
  await using proxy = await startProxy("haproxy", proxies, { backend: server.port, lines });
  await using client = await FlightClient.connect(proxy.location);
  using connections = countConnections();
  for (let i = 0; i < 40; i++) {
    for await (const result of client.doAction("echo", `${i}`)) assertEquals(result, utf8(`${i}`));
    await delay(5 + i % 20);
  }
  assertGreater(connections.count, 5);
});
