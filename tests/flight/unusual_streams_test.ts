/** Streams that other servers and clients send: empty ones without a schema, metadata alone, a descriptor in a frame of its own. */
import { assertEquals } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, serveFlight } from "../../flight.ts";
import { connect, fromTable, serve } from "../../mod.ts";
import { encodeFrame } from "../../src/flight/data.ts";
import { assertDipcError } from "../support/assert.ts";
import { join, utf8 } from "../support/bytes.ts";
import { endpoint, type FakeCall, fakeFlight, infoBytes } from "../support/flight_fake.ts";
import { dipc } from "../support/processes.ts";
import { answerOf, assertRefusesCompression, METHODS, TAKING_HANDLERS } from "./support/raw_calls.ts";

const numbers = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
const text = (bytes: Uint8Array | null): string | null => bytes && new TextDecoder().decode(bytes);

/** A flight `x` of endpoints with these tickets: `empty` has no message, `meta` only metadata, `data` three rows. */
async function answer(call: FakeCall, tickets: string[], hasSchema = true): Promise<void> {
  if (call.method === "GetFlightInfo") {
    const schema = hasSchema ? numbers : undefined;
    await call.message(infoBytes(tickets.map((ticket) => endpoint(ticket)), true, schema));
    return call.finish();
  }
  const ticket = await call.ticket();
  if (ticket === "meta") await call.frame({ appMetadata: utf8("rows=3") });
  if (ticket === "both") await call.frame({ appMetadata: utf8("early") });
  if (ticket === "data" || ticket === "both") await call.data(numbers);
  call.finish();
}

Deno.test("an empty DoGet is the schema of its FlightInfo without rows, beside others too", async () => {
  for (const [tickets, rows] of [[["empty"], 0], [["empty", "data"], 3], [["data", "empty", "meta"], 3]] as const) {
    await using server = await fakeFlight((call) => answer(call, [...tickets]));
    await using stream = await connect(server.location, { flight: { path: "x" } });
    const table = await stream.toTable();
    assertEquals([table.numRows, table.schema.fields.map(({ name }) => name)], [rows, ["n"]], String(tickets));
  }
});

Deno.test("a stream without a schema whose flight has none either is an error that names the server", async () => {
  await using server = await fakeFlight((call) => answer(call, ["empty"], false));
  await assertDipcError("protocol", server.location, () => connect(server.location, { flight: { path: "x" } }));
  await assertDipcError("protocol", server.location, () => connect(server.location, { ticket: "empty" }));
});

Deno.test("no endpoint and no schema is an empty answer, as of a statement that creates a table", async () => {
  await using server = await fakeFlight((call) => answer(call, [], false));
  await using stream = await connect(server.location, { flight: { command: "CREATE TABLE t" } });
  const table = await stream.toTable();
  assertEquals([table.numRows, table.numCols], [0, 0]);
});

Deno.test("application metadata reaches the caller: alone, and before the schema", async () => {
  await using server = await fakeFlight((call) => answer(call, []));
  await using client = await FlightClient.connect(server.location);
  const read = async (ticket: string) => {
    const found: [number | null, string | null][] = [];
    const reader = await client.doGet(ticket);
    for await (const { batch, appMetadata } of reader) found.push([batch?.numRows ?? null, text(appMetadata)]);
    return { found, reader };
  };
  const { found, reader } = await read("meta");
  assertEquals(found, [[null, "rows=3"]]);
  assertDipcError("invalid_argument", "the stream has none", () => reader.schemaHeader);
  assertEquals((await read("empty")).found, []);
  assertEquals((await read("both")).found, [[null, "early"], [3, null]]);
  assertEquals((await (await client.doGet("meta")).toTable()).numRows, 0);
  const messages: string[] = [];
  for await (const { header, body } of (await client.doGet("both")).messages()) {
    messages.push(header.kind);
    body?.release();
  }
  assertEquals(messages, ["schema", "batch"]);
});

Deno.test("metadata without end before the schema has a bound", async () => {
  await using server = await fakeFlight(async (call) => {
    while (!call.stream.destroyed) await call.frame({ appMetadata: new Uint8Array(10_000) });
  });
  await using client = await FlightClient.connect(server.location, { limits: { maxMetadataBytes: 100_000 } });
  await assertDipcError("limit_exceeded", "before its schema", () => client.doGet("x"));
});

Deno.test("an upload whose descriptor comes in a frame of its own is accepted, as is metadata before its schema", async () => {
  const served = await serve({ datasets: {}, flight: { allowPut: true, ucx: "off" } });
  await using _ = served;
  const run = await numbers.open();
  const message = (await run.next())!;
  const [head, body] = encodeFrame({ header: message.header.bytes, body: message.body!.bytes() });
  const schema = encodeFrame({ header: numbers.schema.bytes })[0];
  const port = served.flight!.port;
  for (const [name, between] of [["own", []], ["meta", [encodeFrame({ appMetadata: utf8("x") })[0]]]] as const) {
    const descriptor = encodeFrame({ descriptor: { path: name } })[0];
    const { "grpc-status": status } = await answerOf(port, "DoPut", [descriptor, ...between, schema, join(head, body)]);
    assertEquals(status, "0", name);
    await using stream = await connect(`${served.flight!.location}/${name}`, { route: "flight" });
    assertEquals((await stream.toTable()).numRows, 3);
  }
  message.body!.release();
  await run.close();
});

Deno.test("a compressed request gets UNIMPLEMENTED and the encoding that the server accepts, in every call", async () => {
  await using server = await serveFlight({ handlers: TAKING_HANDLERS });
  for (const method of METHODS) await assertRefusesCompression(server.port, method);
});

Deno.test("connections that come and go without a byte cause no error of a server, with TLS neither", async () => {
  const { Authority } = await import("../support/certificates.ts");
  const { delay } = await import("../support/time.ts");
  const certificate = await (await Authority.create()).issue("server");
  for (const tls of [undefined, certificate]) {
    await using server = await serveFlight({ tls });
    const errors: unknown[] = [];
    server.addEventListener("error", (event) => errors.push((event as CustomEvent).detail.error));
    for (let i = 0; i < 20; i++) {
      const probe = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
      if (i % 2 > 0) await delay(10);
      probe.close();
    }
    await delay(300);
    assertEquals(errors.map(String), []);
    const garbage = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await garbage.write(utf8("GET / HTTP/1.1\r\n\r\n"));
    await delay(100);
    garbage.close();
    await delay(200);
    assertEquals(errors.length, 1);
  }
});

Deno.test("dipc ls says that a total is not known, if a server sets none", async () => {
  await using server = await serveFlight({
    handlers: {
      listFlights: () =>
        [[0n, 0n], [-1n, -1n], [5n, 0n], [0n, 7n]].map(([totalRecords, totalBytes]) => ({
          ...{ schema: new Uint8Array(), descriptor: { path: ["x"] }, endpoints: [endpoint("t")] },
          ...{ totalRecords, totalBytes, ordered: false, appMetadata: new Uint8Array() },
        })),
    },
  });
  const { stdout } = await dipc(["ls", server.location]);
  assertEquals(stdout.trim().split("\n").map((line) => line.split("  ").slice(1, 3)), [
    ["rows not known", "bytes not known"],
    ["rows not known", "bytes not known"],
    ["5 rows", "0 B"],
    ["0 rows", "7 B"],
  ]);
  const { flights } = JSON.parse((await dipc(["ls", server.location, "--json"])).stdout);
  assertEquals(flights.map(({ rows, bytes }: { rows?: number; bytes?: number }) => [rows, bytes]), [
    [undefined, undefined],
    [undefined, undefined],
    [5, 0],
    [0, 7],
  ]);
});
