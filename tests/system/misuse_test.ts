/** Misuse of the library: it is an error with a code, and never looks like an empty or complete result. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type Dataset,
  DipcError,
  type DipcErrorCode,
  fromTable,
  openPath,
  serve,
  type ServeOptions,
} from "../../mod.ts";
import { connect } from "../../mod.ts";
import { FlightClient, type FlightServerOptions, serveFlight } from "../../flight.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";

async function assertCode(code: DipcErrorCode, run: () => Promise<unknown>, about: string): Promise<void> {
  const error = await assertRejects(run, DipcError, undefined, about);
  assertEquals(error.code, code, `${about}: ${error.message}`);
}

/** As a program without types passes it. */
const as = <T>(value: unknown): T => value as T;

Deno.test("arguments of the wrong kind are invalid_argument", async () => {
  for (const uri of [undefined, null, 5, {}, [undefined], ["ucx://127.0.0.1:1/x?want_data=1", 5]]) {
    await assertCode("invalid_argument", () => connect(as<string>(uri)), `connect(${uri})`);
  }
  await assertCode("invalid_argument", () => connect("ucx://127.0.0.1:1/x?want_data=1", as(null)), "options null");
  const options: unknown[] = [
    ...[undefined, null, 5, {}, { datasets: 5 }, { datasets: null }, { datasets: ["trips.arrow"] }, { datasets: {} }],
    ...[5, undefined, null, true, {}, { source: 5, memory: "host" }].map((x) => ({ datasets: { x } })),
    { datasets: { x: tripsTable() }, adress: "0.0.0.0" },
    { datasets: { x: tripsTable() }, flight: { prot: 1 } },
    { datasets: { x: tripsTable() }, flight: { ucx: "off", limits: { maxCals: 1 } } },
    { datasets: { x: tripsTable() }, flight: 8815 },
  ];
  for (const each of options) await assertCode("invalid_argument", () => serve(as<ServeOptions>(each)), `${each}`);
  await assertCode("invalid_argument", () => serveFlight(as<FlightServerOptions>({ prot: 1 })), "serveFlight");
  await assertCode("invalid_argument", () => FlightClient.connect(as<string>(undefined)), "FlightClient.connect");
  await assertCode("invalid_argument", () => openPath(as<string>(undefined)), "openPath");
  await assertCode("invalid_argument", () => fromTable(as(5)), "fromTable");
});

Deno.test("an option with a mistake in its name is named, with those that there are", async () => {
  const error = await assertRejects(() => serve(as<ServeOptions>({ datasets: {}, adress: "::" })), DipcError);
  assertStringIncludes(
    error.message,
    "cannot use the option adress: serve has no such option; it has datasets,address,",
  );
});

/** Ways to read a whole reader. */
type Readable = AsyncIterable<unknown> & {
  messages(): AsyncIterable<unknown>;
  toTable(): Promise<unknown>;
  toReadableStream?(): ReadableStream<unknown>;
};

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

const WAYS: Record<string, (reader: Readable) => Promise<unknown>> = {
  iterate: (reader) => drain(reader),
  messages: (reader) => drain(reader.messages()),
  toTable: (reader) => reader.toTable(),
  // deno-lint-ignore require-await -- what it throws becomes a rejection
  toReadableStream: async (reader) => drain(reader.toReadableStream!()),
};

async function checkReader(name: string, open: () => Promise<Readable & AsyncDisposable>): Promise<void> {
  for (const [first, read] of Object.entries(WAYS)) {
    if (first === "toReadableStream" && name === "doGet") continue;
    const reader = await open();
    await read(reader);
    for (const [second, again] of Object.entries(WAYS)) {
      if (second === "toReadableStream" && name === "doGet") continue;
      await assertCode("closed", () => again(reader), `${name}: ${first}, then ${second}`);
    }
    await reader[Symbol.asyncDispose]();
  }
  const disposed = await open();
  await disposed[Symbol.asyncDispose]();
  for (const [way, read] of Object.entries(WAYS)) {
    if (way === "toReadableStream" && name === "doGet") continue;
    await assertCode("closed", () => read(disposed), `${name}: disposed, then ${way}`);
  }
}

testNeeding([needsUcx], "a stream that was read to its end, or disposed, is not read again", async () => {
  await using server = await serve({ datasets: { trips: tripsTable() }, flight: { port: 0 } });
  const { location } = server.flight!;
  await checkReader("ucx", () => connect(server.datasets[0].uris));
  await checkReader("flight", () => connect(`${location}/trips`, { route: "flight" }));
  await using client = await FlightClient.connect(location);
  await checkReader("doGet", () => client.doGet("trips"));
});

testNeeding([needsUcx], "a stream is read in one way: messages after a batch would lack the first ones", async () => {
  await using server = await serve({ datasets: { trips: tripsTable() } });
  const { uris } = server.datasets[0];
  await using reader = await connect(uris);
  assert(!(await reader.next()).done);
  await assertCode("invalid_argument", () => drain(reader.messages()), "messages");
  assertThrows(() => reader.toReadableStream(), DipcError, "read it in one way");
  assertEquals((await reader.toTable()).numRows, 2000, "the rest");
  assertEquals(await reader.next(), { done: true, value: undefined });
});

testNeeding([needsUcx], "a cancelled stream of Flight throws rather than ends", async () => {
  await using server = await serve({ datasets: { trips: tripsTable() }, flight: { port: 0, ucx: "off" } });
  await using client = await FlightClient.connect(server.flight!.location);
  await using reader = await client.doGet("trips");
  await reader.next();
  await reader.cancel();
  for (const way of ["iterate", "messages", "toTable"]) await assertCode("cancelled", () => WAYS[way](reader), way);
  await assertCode("cancelled", () => reader.next(), "next");
});

testNeeding([needsUcx], "whatever was closed answers with closed", async () => {
  const server = await serve({ datasets: { trips: tripsTable() }, flight: { port: 0, ucx: "off" } });
  const client = await FlightClient.connect(server.flight!.location);
  await client.close();
  const calls: Record<string, () => Promise<unknown>> = {
    listFlights: () => drain(client.listFlights()),
    getFlightInfo: () => client.getFlightInfo({ path: "trips" }),
    getSchema: () => client.getSchema({ path: "trips" }),
    doGet: () => client.doGet("trips"),
    doAction: () => drain(client.doAction("x")),
    listActions: () => drain(client.listActions()),
  };
  for (const [name, call] of Object.entries(calls)) await assertCode("closed", call, name);
  const dataset: Dataset = await fromTable(tripsTable());
  await dataset.close();
  await assertCode("closed", async () => await dataset.open(), "dataset");
  await server.shutdown();
  await server.shutdown(); // idempotent
});

testNeeding([needsUcx], "listeners get the detail of an event with its type", async () => {
  await using server = await serve({ datasets: { trips: tripsTable() }, flight: { port: 0 } });
  const seen: string[] = [];
  const onRequest = ({ detail }: { detail: { connection: number; dataset?: string } }): void => {
    seen.push(`request ${detail.connection} ${detail.dataset}`);
  };
  server.addEventListener("request", onRequest);
  server.addEventListener("end", { handleEvent: ({ detail }) => seen.push(`end ${detail.totals?.batches}`) });
  server.flight!.addEventListener("end", ({ detail }) => seen.push(`${detail.method} ${detail.batches}`));
  await (await connect(server.datasets[0].uris)).toTable();
  server.removeEventListener("request", onRequest);
  const reader = await connect(`${server.flight!.location}/trips`, { route: "flight" });
  reader.addEventListener("route", ({ detail }) => seen.push(`route ${detail.route}`));
  await reader.toTable();
  await server.shutdown();
  assertEquals(seen.sort(), ["DoGet 3", "GetFlightInfo 0", "end 3", "request 1 trips", "route flight"]);
  // @ts-expect-error: there is no such field
  server.addEventListener("error", ({ detail }) => detail.batch);
});
