/**
 * Whatever fails between a client, a gateway and an engine: the engine executes what a ticket stands for once, and what it answers is what
 * the client gets.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, serveGateway } from "../../flight.ts";
import { connect, type ConnectOptions, DipcError, fromBatches } from "../../mod.ts";
import { endpoint, type FakeCall, fakeFlight, type FakeServer, infoBytes } from "../support/flight_fake.ts";
import { assertDipcError } from "../support/assert.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { delay } from "../support/time.ts";
import { byFlight } from "./support/gateways.ts";

const ROWS = await fromBatches([0, 1, 2].map((n) => tableFromArrays({ n: Int32Array.of(n) }).batches[0]));
/** Longest wait for a `ucx:` location, in milliseconds; engines here take longer. */
const UCX_MS = 300;

/** An engine whose DoGet executes something. */
interface CountingEngine extends FakeServer {
  /** How often. */
  readonly executions: number;
}

async function engineThat(
  doGet: (call: FakeCall) => void | Promise<void>,
  { expires = false, locations = [] as string[] } = {},
): Promise<CountingEngine> {
  const expirationTime = expires ? new Date(Date.now() + 60_000) : null;
  const server = await fakeFlight(async (call) => {
    if (call.method === "DoGet") return await doGet(call);
    await call.message(infoBytes([endpoint("insert … returning", { expirationTime, locations })], false, ROWS));
    call.finish();
  });
  return Object.defineProperty(server, "executions", {
    get: () => server.calls.filter((method) => method === "DoGet").length,
  }) as CountingEngine;
}

/** What a client gets: how many rows, and the error. */
async function fetched(location: string, options: ConnectOptions = {}) {
  let rows = 0;
  try {
    await using stream = await connect(location, {
      ...options,
      flight: { path: "x", ...options.route === undefined ? { ucxTimeoutMs: UCX_MS } : {} },
    });
    for await (using batch of stream) rows += batch.numRows;
    return { rows, error: null, route: stream.stats.route };
  } catch (error) {
    if (!(error instanceof DipcError)) throw error;
    return { rows, error, route: null };
  }
}

const STATUS = 9, TEXT = "the balance is too low";
/** How an engine fails, and how many rows its client has until then. */
const FAILURES: readonly [what: string, rows: number, fail: (call: FakeCall) => void | Promise<void>][] = [
  ["before the schema", 0, (call) => call.finish(STATUS, TEXT)],
  ["as UNAVAILABLE", 0, (call) => call.finish(14, TEXT)],
  ["as NOT_FOUND", 0, (call) => call.finish(5, TEXT)],
  ["before the first batch", 0, async (call) => {
    await call.data(ROWS, 0);
    call.finish(STATUS, TEXT);
  }],
  ["after two batches", 2, async (call) => {
    await call.data(ROWS, 2);
    call.finish(STATUS, TEXT);
  }],
  ["after longer than UCX is waited for", 0, async (call) => {
    await delay(2 * UCX_MS);
    call.finish(STATUS, TEXT);
  }],
];

for (const expires of [false, true]) {
  const tickets = expires ? "tickets that expire" : "tickets that may be good once";
  Deno.test(`what an engine answers is final by a gateway's every way: ${tickets}`, async () => {
    for (const [what, rows, fail] of FAILURES) {
      for (const route of ["auto", "ucx", "flight"] as const) {
        await using engine = await engineThat(fail, { expires });
        const transport = new LoopbackTransport({ seed: 1 });
        await using gateway = await serveGateway({ engines: engine.location, transport });
        const options = route === "flight" ? { route } : { transport, ...route === "ucx" ? { route } : {} };
        const got = await fetched(gateway.location, options);
        const name = `${what}, ${route}: ${got.error?.message}`;
        const status = what.endsWith("UNAVAILABLE") ? 14 : what.endsWith("NOT_FOUND") ? 5 : STATUS;
        assertEquals(got.error?.foreign, { system: "grpc", status, text: TEXT }, name);
        assertMatch(got.error!.message, new RegExp(`${TEXT}$`), name);
        assertEquals(engine.executions, 1, name);
        // An error may overtake batches.
        assert(got.rows <= rows, name);
      }
    }
  });
}

Deno.test("an engine that takes its time, or has neither rows nor a schema, is asked once", async () => {
  const answers: readonly [rows: number, answer: (call: FakeCall) => void | Promise<void>][] = [
    [3, async (call) => {
      await delay(2 * UCX_MS);
      await call.data(ROWS);
      call.finish();
    }],
    [0, (call) => call.finish()],
  ];
  for (const [rows, answer] of answers) {
    for (const oneFetch of [false, true]) {
      await using engine = await engineThat(answer);
      const transport = new LoopbackTransport({ seed: 1 });
      await using gateway = await serveGateway({ engines: engine.location, transport, oneFetch });
      const got = await fetched(gateway.location, { transport });
      assertEquals([got.rows, got.error, got.route, engine.executions], [rows, null, "ucx", 1]);
    }
  }
});

Deno.test("an engine that is lost once it was asked is not asked again, nor is another location", async () => {
  const lose = async (call: FakeCall): Promise<void> => {
    await call.ticket();
    call.stream.session!.destroy();
  };
  for (const route of ["auto", "ucx", "flight"] as const) {
    await using other = await engineThat((call) => call.data(ROWS).then(() => call.finish()));
    await using worker = await engineThat(lose);
    await using named = await engineThat(lose, { locations: [worker.location, other.location] });
    await using engine = await engineThat(lose);
    for (const [at, ...asked] of [[engine, engine], [named, worker]]) {
      const transport = new LoopbackTransport({ seed: 1 });
      await using gateway = await serveGateway({ engines: at.location, transport });
      const options = route === "flight" ? { route } : { transport, ...route === "ucx" ? { route } : {} };
      const { error } = await fetched(gateway.location, options);
      assertEquals(error === null, false, route);
      assertEquals(asked.map(({ executions }) => executions), [1], `${route}: ${error!.message}`);
    }
    // Without a gateway, too.
    const direct = await fetched(named.location, route === "ucx" ? {} : { route });
    assertEquals([direct.error === null, worker.executions, other.executions], [false, 2, 0], direct.error?.message);
  }
});

Deno.test("locations that are not there, or say nothing, leave the ticket for the next one", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const nowhere = `grpc://127.0.0.1:${closed.addr.port}`;
  closed.close();
  await using worker = await engineThat((call) => call.data(ROWS).then(() => call.finish()));
  const locations = [nowhere, `grpc://127.0.0.1:${silent.addr.port}`, worker.location];
  await using engine = await engineThat((call) => call.finish(2, "not here"), { locations });
  const transport = new LoopbackTransport({ seed: 1 });
  await using gateway = await serveGateway({ engines: engine.location, transport });
  const got = await fetched(gateway.location, { transport });
  assertEquals([got.rows, got.error, got.route, worker.executions, engine.executions], [3, null, "ucx", 1, 0]);
});

Deno.test("a gateway that is lost after the request is an error, before it the other way is taken, once", async () => {
  // Message 0 is the schema, 1 and 2 are the first batch.
  for (const dropAtMessage of [0, 1, 2]) {
    for (const expires of [false, true]) {
      await using engine = await engineThat((call) => call.data(ROWS).then(() => call.finish()), { expires });
      const transport = new LoopbackTransport({ seed: 1, dropAtMessage });
      await using gateway = await serveGateway({ engines: engine.location, transport });
      const { error, rows, route } = await fetched(gateway.location, { transport });
      // An engine that says how long its tickets are good promises that they are good twice.
      assertEquals(
        [error?.code ?? null, rows, route, engine.executions],
        expires ? [null, 3, "flight", 2] : ["connection_lost", 0, null, 1],
      );
    }
  }
  await using engine = await engineThat((call) => call.data(ROWS).then(() => call.finish()));
  await using gateway = await serveGateway({ engines: engine.location, transport: new LoopbackTransport({ seed: 1 }) });
  const elsewhere = new LoopbackTransport({ seed: 1 });
  const got = await fetched(gateway.location, { transport: elsewhere });
  assertEquals([got.rows, got.error, got.route, engine.executions], [3, null, "flight", 1]);
});

Deno.test("a gateway that refuses a ticket by UCX has done nothing, and is asked by Flight", async () => {
  await using engine = await engineThat((call) => call.data(ROWS).then(() => call.finish()));
  const keys = [crypto.getRandomValues(new Uint8Array(32))];
  const transport = new LoopbackTransport({ seed: 1 });
  const start = (network: LoopbackTransport) =>
    serveGateway({ engines: engine.location, transport: network, tickets: { keys } });
  await using first = await start(new LoopbackTransport({ seed: 1 }));
  await using second = await start(transport);
  const token = "t0ken";
  await using client = await FlightClient.connect(first.location, { token });
  const { endpoints: [{ ticket }] } = await client.getFlightInfo({ path: "x" });
  await using other = await FlightClient.connect(second.location, { token });
  const { endpoints: [{ locations }] } = await other.getFlightInfo({ path: "x" });
  // A client that has the ticket from one gateway, and the locations of the other.
  await using asked = await fakeFlight(async (call) => {
    await call.message(infoBytes([endpoint(new TextDecoder().decode(ticket), {
      locations: locations.map((uri) => uri.includes("reuse-connection") ? second.location : uri),
    })]));
    call.finish();
  });
  const got = await fetched(asked.location, { transport });
  assertEquals([got.rows, got.error, got.route, engine.executions], [3, null, "flight", 1]);
});

Deno.test("whoever tries every location of an endpoint gets the same answer, without the engine", async () => {
  for (const expires of [false, true]) {
    await using engine = await engineThat((call) => {
      if (call.headers.authorization !== undefined) return call.data(ROWS).then(() => call.finish());
      call.finish(STATUS, TEXT);
    }, { expires });
    await using gateway = await byFlight(engine.location);
    await using client = await FlightClient.connect(gateway.location);
    const { endpoints: [{ ticket }] } = await client.getFlightInfo({ path: "x" });
    for (const _ of [1, 2, 3]) {
      const error = await assertDipcError("flight", TEXT, () => client.doGet(ticket));
      assertEquals(error.foreign, { system: "grpc", status: STATUS, text: TEXT });
    }
    assertEquals(engine.executions, expires ? 3 : 1);
    // Another client's credentials may be better, and another ticket is another matter.
    const headers = { authorization: "Bearer t0ken" };
    assertEquals((await (await client.doGet(ticket, { headers })).toTable()).numRows, 3);
    const { endpoints: [next] } = await client.getFlightInfo({ path: "x" });
    await assertDipcError("flight", TEXT, () => client.doGet(next.ticket));
    assertEquals(engine.executions, expires ? 5 : 3);
  }
});

Deno.test("an engine that could not be reached is asked when it is there", async () => {
  const location = { port: 0 };
  {
    await using engine = await engineThat(() => {});
    location.port = Number(engine.location.split(":").at(-1));
  }
  const answer = async (call: FakeCall): Promise<void> => {
    if (call.method === "DoGet") await call.data(ROWS);
    else {await call.message(
        infoBytes([endpoint("x", { locations: [`grpc://127.0.0.1:${location.port}`] })], false, ROWS),
      );}
    call.finish();
  };
  await using engine = await fakeFlight(answer);
  await using gateway = await byFlight(engine.location);
  await using client = await FlightClient.connect(gateway.location);
  const { endpoints: [{ ticket }] } = await client.getFlightInfo({ path: "x" });
  await assertDipcError("unreachable", "", () => client.doGet(ticket));
  await using _worker = await fakeFlight(answer, location.port);
  assertEquals((await (await client.doGet(ticket)).toTable()).numRows, 3);
});

testNeeding([needsUcx], "over UCX and in shared memory the engine's answer is final, too", async () => {
  for (const share of [false, true]) {
    for (const [what, rows, fail] of FAILURES) {
      await using engine = await engineThat(fail);
      await using gateway = await serveGateway({ engines: engine.location, share });
      const got = await fetched(gateway.location);
      assertEquals(engine.executions, 1, `${what}: ${got.error?.message}`);
      assert(got.rows <= rows, what);
      assertEquals(got.error?.foreign?.text, TEXT);
    }
  }
});
