/** A server with authentication: what is refused, by gRPC and by UCX, and with which code. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { DipcError, type FlightAuth, FlightClient, type FlightInfo, GrpcStatus } from "../../flight.ts";
import { connect, type Dataset, fromTable, serve, type Server } from "../../mod.ts";
import { grpcStatusName } from "../../src/grpc/status.ts";
import { delay, until } from "../support/time.ts";
import { utf8 } from "../support/bytes.ts";
import { assertDipcError } from "../support/assert.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { printTable } from "../support/table.ts";
import { rowsOf } from "./support/rows.ts";

const ROWS = 3;
const SECRET = new Uint8Array(32).fill(7);
const table = tableFromArrays({ n: Int32Array.from({ length: ROWS }, (_, i) => i) });

const AUTH: FlightAuth = {
  basic: (user, password) => user === "ada" && password === "right",
  bearer: (token) => token === "outside" ? "ci" : null,
  keys: [SECRET],
};

/** `ok`, or the code of what was thrown, with gRPC's name of the status if there is one. */
async function outcomeOf(fetch: () => Promise<number>): Promise<string> {
  try {
    const rows = await fetch();
    return rows === ROWS ? "ok" : `${rows} rows`;
  } catch (error) {
    if (!(error instanceof DipcError)) throw error;
    const { code, foreign } = error;
    return foreign?.system === "grpc" ? `${code}, ${grpcStatusName(foreign.status)}` : code;
  }
}

/** Fetches by DoGet. */
function byFlight(server: Server, ticket: string | Uint8Array, options: { token?: string } = { token: "outside" }) {
  return outcomeOf(async () => {
    await using client = await FlightClient.connect(server.flight!.location, options);
    return await rowsOf(client, ticket);
  });
}

/** Fetches by UCX; what the URIs name is replaced by the ticket. */
function byUcx(server: Server, ticket?: string | Uint8Array) {
  return outcomeOf(async () => {
    await using reader = await connect(server.datasets[0].uris, { ticket });
    let rows = 0;
    for await (using batch of reader) rows += batch.numRows;
    return rows;
  });
}

async function infoOf(server: Server, name = "a", token = "outside"): Promise<FlightInfo> {
  await using client = await FlightClient.connect(server.flight!.location, { token });
  return await client.getFlightInfo({ path: name });
}

async function ticketOf(server: Server, name = "a"): Promise<Uint8Array> {
  return (await infoOf(server, name)).endpoints[0].ticket;
}

/** The same ticket with another name in it, the signature as it was. */
function renamed(ticket: Uint8Array, from: string, to: string): Uint8Array {
  const content = Uint8Array.fromBase64(new TextDecoder().decode(ticket.subarray(6)), { alphabet: "base64url" });
  const at = 8 + 1 + 8 + 16;
  assertEquals(new TextDecoder().decode(content.subarray(at, at + from.length)), from);
  content.set(utf8(to), at);
  return utf8("dipc1." + content.toBase64({ alphabet: "base64url", omitPadding: true }));
}

const REFUSED = "permission_denied";
const DENIED = "permission_denied, PERMISSION_DENIED";
const UNKNOWN = "permission_denied, UNAUTHENTICATED";

testNeeding(
  [needsUcx],
  "with authentication nothing is served without a good token and a good ticket, by either route",
  async () => {
    let now = Date.now();
    const flight = { auth: AUTH, tickets: { keys: [SECRET], lifetimeMs: 60_000, now: () => now } };
    await using server = await serve({ datasets: { a: table, b: table }, flight });
    await using once = await serve({
      datasets: { a: table },
      flight: { ...flight, tickets: { ...flight.tickets, once: true } },
    });
    await using elsewhere = await serve({ datasets: { c: table }, flight });
    await using stranger = await serve({ datasets: { a: table }, flight: { auth: AUTH } });
    // Its tokens are good here, too, but not for long.
    await using hasty = await serve({
      datasets: { a: table },
      flight: { ucx: "off", auth: { ...AUTH, tokenLifetimeMs: 1 } },
    });

    const tokenOf = async (from: Server) => {
      await using client = await FlightClient.connect(from.flight!.location);
      return await client.authenticateBasic("ada", "right");
    };
    const token = (await tokenOf(server)).replace(/^Bearer /, "");
    const expiredToken = (await tokenOf(hasty)).replace(/^Bearer /, "");
    await delay(5); // until the token of 1 ms has expired
    const ticket = await ticketOf(server);
    const longAgo = await ticketOf(server);
    const cancelled = await infoOf(server);
    {
      await using client = await FlightClient.connect(server.flight!.location, { token });
      assertEquals(await client.cancelFlightInfo(cancelled), "cancelled");
    }
    const altered = ticket.slice();
    altered[20] ^= 1;
    const used = [await ticketOf(once), await ticketOf(once)];
    assertEquals([await byFlight(once, used[0]), await byUcx(once, used[1])], ["ok", "ok"]);

    const rows: string[][] = [];
    const check = async (name: string, expected: [string, string], found: [Promise<string>, Promise<string>]) => {
      const [grpc, ucx] = await Promise.all(found);
      rows.push([name, grpc, ucx]);
      assertEquals([grpc, ucx], expected, name);
    };
    const same = <T>(value: T): [T, T] => [value, value];
    const nowhere = Promise.resolve("-");
    await check("token of this server, ticket", same("ok"), [
      byFlight(server, ticket, { token }),
      byUcx(server, ticket),
    ]);
    await check("token of another authority, ticket", same("ok"), [byFlight(server, ticket), byUcx(server, ticket)]);
    await check("no token", [UNKNOWN, "-"], [byFlight(server, ticket, {}), nowhere]);
    await check("wrong token", [UNKNOWN, "-"], [byFlight(server, ticket, { token: "guess" }), nowhere]);
    const forged = token.slice(0, -1) + (token.endsWith("A") ? "B" : "A");
    await check("altered token", [UNKNOWN, "-"], [byFlight(server, ticket, { token: forged }), nowhere]);
    await check("expired token", [UNKNOWN, "-"], [byFlight(server, ticket, { token: expiredToken }), nowhere]);
    await check("no ticket, the dataset's name", [DENIED, REFUSED], [byFlight(server, "a"), byUcx(server)]);
    await check("a token as ticket", [DENIED, REFUSED], [byFlight(server, token), byUcx(server, token)]);
    await check("empty ticket", [DENIED, REFUSED], [byFlight(server, ""), byUcx(server, "")]);
    await check("altered ticket", [DENIED, REFUSED], [byFlight(server, altered), byUcx(server, altered)]);
    const other = renamed(ticket, "a", "b");
    await check("ticket turned to another dataset", [DENIED, REFUSED], [byFlight(server, other), byUcx(server, other)]);
    const foreign = await ticketOf(elsewhere, "c");
    await check("ticket for a dataset of another server, same key", ["not_found, NOT_FOUND", "not_found"], [
      byFlight(server, foreign),
      byUcx(server, foreign),
    ]);
    const strange = await ticketOf(stranger);
    await check("ticket of another server, other key", [DENIED, REFUSED], [
      byFlight(server, strange),
      byUcx(server, strange),
    ]);
    const [{ ticket: gone }] = cancelled.endpoints;
    await check("cancelled ticket", [DENIED, REFUSED], [byFlight(server, gone), byUcx(server, gone)]);
    for (const [i, route] of ["gRPC", "UCX"].entries()) {
      const again = used[i];
      await check(`one-time ticket used by ${route}`, [DENIED, REFUSED], [byFlight(once, again), byUcx(once, again)]);
    }
    now += 60_000;
    await check("expired ticket", [DENIED, REFUSED], [byFlight(server, longAgo), byUcx(server, longAgo)]);
    printTable("A server with authentication", ["case", "gRPC (DoGet)", "UCX"], rows);
    await until(() => server.stats.activeConnections === 0);
    assertEquals(server.flight!.activeCalls, 0);
  },
);

Deno.test("with authentication every call needs a token, and answers nothing before", async () => {
  const touched: string[] = [];
  await using server = await serve({
    datasets: { a: table },
    flight: {
      ucx: "off",
      auth: AUTH,
      allowPut: true,
      handlers: {
        onCall: ({ method }) => void touched.push(method),
        async doExchange(exchange) {
          for await (const _ of exchange);
        },
        actions: { own: { run: () => void touched.push("own") } },
      },
    },
  });
  const numbers = await fromTable(table);
  const calls: Record<string, (client: FlightClient) => Promise<unknown>> = {
    ListFlights: (client) => Array.fromAsync(client.listFlights()),
    GetFlightInfo: (client) => client.getFlightInfo({ path: "a" }),
    PollFlightInfo: (client) => client.pollFlightInfo({ path: "a" }),
    GetSchema: (client) => client.getSchema({ path: "a" }),
    DoGet: (client) => client.doGet("a"),
    DoPut: (client) => client.put({ path: "new" }, numbers),
    DoExchange: async (client) => {
      await using exchange = await client.doExchange({ command: "x" });
      await exchange.doneWriting();
      for await (const _ of exchange.reader);
    },
    DoAction: (client) => Array.fromAsync(client.doAction("own")),
    ListActions: (client) => Array.fromAsync(client.listActions()),
    SetSessionOptions: (client) => client.setSessionOptions({ a: "b" }),
  };
  const wrong: Record<string, string>[] = [
    {},
    { authorization: "Basic YWRhOndyb25n" },
    { authorization: "Digest x" },
    { authorization: "" },
  ];
  for (const headers of wrong) {
    await using client = await FlightClient.connect(server.flight!.location, { headers });
    for (const [name, call] of Object.entries(calls)) {
      const error = await assertDipcError(REFUSED, "", () => call(client), name);
      assertEquals(error.foreign?.status, GrpcStatus.unauthenticated);
    }
  }
  for (const password of ["wrong", "", "right "]) {
    await using client = await FlightClient.connect(server.flight!.location);
    const error = await assertDipcError(REFUSED, "", () => client.authenticateBasic("ada", password));
    assertEquals(error.foreign?.status, GrpcStatus.unauthenticated);
  }
  assertEquals(touched.filter((method) => method !== "Handshake"), []);
  assertEquals(server.datasets.map(({ name }) => name), ["a"]);
});

testNeeding(
  [needsUcx],
  "a one-time ticket is spent once per half at two servers, and then no route takes it",
  async () => {
    await using server = await serve({
      datasets: { a: table },
      metadataPort: 0,
      flight: { auth: AUTH, tickets: { once: true } },
    });
    assertEquals(server.datasets[0].uris.length, 2);
    const ticket = await ticketOf(server);
    assertEquals(await byUcx(server, ticket), "ok");
    assertEquals([await byUcx(server, ticket), await byFlight(server, ticket)], [REFUSED, DENIED]);
  },
);

/** A dataset whose first run fails before its first message. */
async function failsOnce(): Promise<Dataset> {
  const inner = await fromTable(table);
  let runs = 0;
  const { schema, readOnce } = inner;
  return {
    schema,
    readOnce,
    close: () => inner.close(),
    open: async (options) => {
      const run = await inner.open(options);
      if (runs++ > 0) return run;
      return {
        next: () => Promise.reject(new DipcError("io", "cannot read /secret/folder/a.arrow")),
        close: () => run.close(),
      };
    },
  };
}

testNeeding([needsUcx], "a one-time ticket survives attempts that are refused or fail", async () => {
  for (const route of ["gRPC", "UCX"] as const) {
    const dataset = await failsOnce();
    await using server = await serve({ datasets: { a: dataset }, flight: { auth: AUTH, tickets: { once: true } } });
    const ticket = await ticketOf(server);
    assertEquals(await byFlight(server, ticket, { token: "guess" }), UNKNOWN);
    const failed = route === "gRPC" ? await byFlight(server, ticket) : await byUcx(server, ticket);
    assert(failed !== "ok" && !failed.startsWith(REFUSED), failed);
    assertEquals(route === "gRPC" ? await byUcx(server, ticket) : await byFlight(server, ticket), "ok", route);
    assertEquals([await byUcx(server, ticket), await byFlight(server, ticket)], [REFUSED, DENIED]);
    await dataset.close();
  }
});

testNeeding([needsUcx], "of many who use a one-time ticket at the same time exactly one gets the data", async () => {
  await using server = await serve({ datasets: { a: table }, flight: { auth: AUTH, tickets: { once: true } } });
  const ticket = await ticketOf(server);
  const outcomes = await Promise.all(
    Array.from({ length: 12 }, (_, i) => i % 2 === 0 ? byFlight(server, ticket) : byUcx(server, ticket)),
  );
  assertEquals(outcomes.filter((outcome) => outcome === "ok").length, 1, outcomes.join());
  assertEquals(outcomes.filter((outcome) => outcome.startsWith(REFUSED)).length, 11, outcomes.join());
});

Deno.test("renewing needs a ticket that is still valid, and keeps it good for one use", async () => {
  let now = Date.now();
  const tickets = { once: true, lifetimeMs: 60_000, now: () => now };
  await using server = await serve({ datasets: { a: table }, flight: { ucx: "off", auth: AUTH, tickets } });
  await using client = await FlightClient.connect(server.flight!.location, { token: "outside" });
  const { endpoints: [endpoint] } = await client.getFlightInfo({ path: "a" });
  now += 50_000;
  const renewed = await client.renewFlightEndpoint(endpoint);
  now += 20_000;
  assertEquals(await byFlight(server, endpoint.ticket), DENIED);
  assertEquals([await byFlight(server, renewed.ticket), await byFlight(server, renewed.ticket)], ["ok", DENIED]);
  const error = await assertRejects(() => client.renewFlightEndpoint(endpoint), DipcError);
  assertEquals(error.foreign?.status, GrpcStatus.permissionDenied);
});
