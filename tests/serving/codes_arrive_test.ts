/** What goes wrong for a client has one code: the client gets it and the server reports it, by UCX and by Flight alike. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient } from "../../flight.ts";
import {
  connect,
  type Dataset,
  DipcError,
  type DipcErrorCode,
  fromTable,
  serve,
  type ServeOptions,
  type Server,
} from "../../mod.ts";
import { LocalError } from "../../src/errors.ts";
import { Authority } from "../support/certificates.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { repeat } from "../support/repeat.ts";
import { delay, until } from "../support/time.ts";

/** What a server has reported. */
interface Reported {
  readonly connection: number;
  readonly dataset?: string;
  readonly error: DipcError;
}

/** Starts a server whose events of both sides are kept. */
async function listenedTo(options: ServeOptions): Promise<{ server: Server; log: Reported[] }> {
  const server = await serve(options);
  const log: Reported[] = [];
  const keep = (event: Event): void => void log.push((event as CustomEvent<Reported>).detail);
  server.addEventListener("error", keep);
  server.flight?.addEventListener("error", keep);
  return { server, log };
}

/** What a client gets must have the code, and the server must have reported it with a connection. */
async function assertArrives(code: DipcErrorCode, log: Reported[], attempt: () => Promise<unknown>): Promise<Reported> {
  const error = await attempt().then(() => null, (thrown) => thrown);
  assert(error instanceof DipcError, `${error}`);
  assertEquals(error.code, code, error.message);
  const found = await until(() => log.find((each) => each.error.code === code), (it) => it !== undefined);
  assert(found !== undefined, `not reported: ${code}; but ${log.map((each) => each.error.message)}`);
  assert(found.connection > 0, "no connection is named");
  return found;
}

const table = tableFromArrays({ n: new Float64Array(100_000) });

async function readByUcx(uri: string, pauseMs = 0): Promise<void> {
  await using stream = await connect(uri, { timeoutMs: 5000 });
  await delay(pauseMs);
  for await (const batch of stream) batch[Symbol.dispose]();
}

async function readByFlight(location: string, { pauseMs = 0, token }: { pauseMs?: number; token?: string } = {}) {
  await using client = await FlightClient.connect(location, { token, timeoutMs: 5000 });
  await using reader = await client.doGet("a");
  await delay(pauseMs);
  for await (const { batch } of reader) batch?.[Symbol.dispose]();
}

testNeeding([needsUcx], "a URI with the want_data of an earlier start", async () => {
  const { server, log } = await listenedTo({ datasets: { a: table }, metadataPort: 0 });
  await using _ = server;
  const stale = server.datasets[0].uris.map((uri) => uri.replace(/want_data=\d+/, "want_data=77"));
  await assertArrives("protocol", log, async () => {
    await using stream = await connect(stale, { timeoutMs: 5000 });
    await stream.toTable();
  });
  const { server: one, log: log1 } = await listenedTo({ datasets: { a: table } });
  await using __ = one;
  const [uri] = one.datasets[0].uris;
  const { error } = await assertArrives(
    "protocol",
    log1,
    () => readByUcx(uri.replace(/want_data=\d+/, "want_data=77")),
  );
  assertStringIncludes(error.message, "check that the URI is the one that this server printed");
  await readByUcx(uri);
});

testNeeding([needsUcx], "a server that is full, and one that has no room for another call", async () => {
  const flight = { limits: { maxConnections: 2, maxCalls: 1 } };
  const endless = repeat(await fromTable(table), Infinity);
  const { server, log } = await listenedTo({ datasets: { a: endless }, maxConnections: 1, flight });
  await using _ = server;
  {
    await using _held = await connect(server.datasets[0].uris);
    await assertArrives("busy", log, () => readByUcx(server.datasets[0].uris[0]));
  }
  log.length = 0;
  const { location } = server.flight!;
  await using one = await FlightClient.connect(location);
  await using _running = await one.doGet("a");
  await assertArrives("busy", log, () => readByFlight(location));
  log.length = 0;
  await using two = await FlightClient.connect(location);
  await two.doAction("healthcheck").next().catch(() => {});
  await assertArrives("busy", log, () => readByFlight(location));
});

testNeeding([needsUcx], "a client that takes nothing for too long", async () => {
  const datasets = { a: repeat(await fromTable(table), 300) };
  const options = { idleTimeoutMs: 600, flight: { limits: { idleTimeoutMs: 600 } } };
  const { server, log } = await listenedTo({ datasets, ...options });
  await using _ = server;
  const byUcx = await assertArrives("timeout", log, () => readByUcx(server.datasets[0].uris[0], 2500));
  assertEquals(byUcx.dataset, "a");
  log.length = 0;
  const byFlight = await assertArrives("timeout", log, () => readByFlight(server.flight!.location, { pauseMs: 2500 }));
  assertEquals(byFlight.dataset, "a");
});

testNeeding([needsUcx], "a ticket, a token and a certificate that are not accepted", async () => {
  const flight = { auth: { bearer: (token: string) => token === "good" ? "ada" : null } };
  const { server, log } = await listenedTo({ datasets: { a: table }, flight });
  await using _ = server;
  await assertArrives("permission_denied", log, () => readByUcx(server.datasets[0].uris[0]));
  for (const token of ["bad", "good"]) {
    log.length = 0;
    await assertArrives("permission_denied", log, () => readByFlight(server.flight!.location, { token }));
  }
  const authority = await Authority.create();
  const { cert, key } = await authority.issue("server");
  const tls = { cert, key, clientCa: authority.cert };
  const secured = await listenedTo({ datasets: { a: table }, flight: { ucx: "off", tls } });
  await using __ = secured.server;
  const stranger = await (await Authority.create("another")).issue("ada");
  for (const own of [{}, stranger]) {
    secured.log.length = 0;
    const error = await (async () => {
      await using client = await FlightClient.connect(secured.server.flight!.location, {
        tls: { ca: authority.cert, ...own },
        timeoutMs: 5000,
      });
      await client.doGet("a");
    })().catch((thrown) => thrown);
    const found = await until(() => secured.log[0], (it) => it !== undefined);
    assertEquals([error.code, found?.error.code], ["permission_denied", "permission_denied"], error.message);
  }
});

testNeeding([needsUcx], "what a dataset throws, with every code that the server keeps to itself", async () => {
  const inner = await fromTable(table);
  const codes: DipcErrorCode[] = ["io", "out_of_memory", "connection_lost", "cancelled", "closed", "busy", "internal"];
  for (const code of codes) {
    const a: Dataset = {
      ...{ schema: inner.schema, readOnce: false },
      open: () => Promise.reject(new LocalError(code, `cannot read /secret: ${code}`)),
      close() {},
    };
    const { server, log } = await listenedTo({ datasets: { a }, flight: {} });
    await using _ = server;
    for (const attempt of [() => readByUcx(server.datasets[0].uris[0]), () => readByFlight(server.flight!.location)]) {
      log.length = 0;
      const { dataset, error } = await assertArrives(code, log, attempt);
      assertEquals(dataset, "a");
      assertStringIncludes(error.message, "/secret");
    }
  }
});
