/** Calls of the Flight client that end early, wait, or fail half-way; cookies and middleware around them. */
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { DipcError, fromTable, repeat } from "../mod.ts";
import { FlightClient } from "../flight.ts";
import { encodeFrame, frameOfMessage } from "../src/flight/data.ts";
import { type FakeCall, fakeFlight, infoBytes, resultBytes } from "./support/flight_fake.ts";

const MiB = 2 ** 20;
const data = await fromTable(tableFromArrays({ n: new Float64Array(MiB / 8) }));

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends batches of 1 MiB for as long as they are taken, and counts them. */
async function endless(call: FakeCall, sent: { bytes: number; aborted: boolean }): Promise<void> {
  let gone = false;
  call.stream.on("aborted", () => sent.aborted = gone = true);
  call.stream.on("close", () => gone = true);
  await call.frame({ header: data.schema.bytes });
  const run = await data.open();
  const message = (await run.next())!;
  const pieces = encodeFrame(frameOfMessage(message));
  while (!gone) {
    for (const piece of pieces) {
      if (gone) break;
      await call.raw(piece);
      sent.bytes += piece.byteLength;
    }
  }
}

Deno.test("a reader that stops takes no more than a few MiB, and leaving it ends the call", async () => {
  const sent = { bytes: 0, aborted: false };
  await using server = await fakeFlight((call) => endless(call, sent));
  await using client = await FlightClient.connect(server.location);
  {
    await using reader = await client.doGet("x");
    const { value } = await reader.next();
    assertEquals(value?.batch?.numRows, MiB / 8);
    await delay(500);
    const held = sent.bytes;
    assertLess(held, 16 * MiB);
    await delay(200);
    assertEquals(sent.bytes, held);
  }
  for (let i = 0; !sent.aborted && i < 100; i++) await delay(20);
  assert(sent.aborted);
});

Deno.test("other calls go on where one of several streams is left", async () => {
  const sent = { bytes: 0, aborted: false };
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoGet" && await call.ticket() === "endless") return await endless(call, sent);
    if (call.method === "DoGet") await call.data(repeat(data, 50));
    else await call.message(infoBytes([]));
    call.finish();
  });
  await using client = await FlightClient.connect(server.location);
  await using whole = await client.doGet("whole");
  await whole.next();
  {
    await using left = await client.doGet("endless");
    await left.next();
  }
  let batches = 1;
  for await (const _ of whole) batches++;
  assertEquals(batches, 50);
  await client.getFlightInfo({ path: "x" });
});

Deno.test("an upload that the server refuses half-way fails with the server's status, and gives its memory back", async () => {
  await using server = await fakeFlight(async (call) => {
    await delay(50);
    call.finish(7, "not you");
  });
  await using client = await FlightClient.connect(server.location);
  const error = await assertRejects(() => client.put({ path: "x" }, repeat(data, 1000)), DipcError, "not you");
  assertEquals([error.code, error.foreign?.status], ["permission_denied", 7]);
  await using writer = await client.doPut({ path: "x" }, data);
  await assertRejects(
    async () => {
      for await (const _ of writer.results());
    },
    DipcError,
    "not you",
  );
  let released = 0;
  const run = await data.open();
  const message = (await run.next())!;
  const inner = message.body!;
  const { space, byteLength, address } = inner;
  const body = { space, byteLength, address, bytes: () => inner.bytes(), release: () => released++ };
  await assertRejects(() => writer.write({ header: message.header, body }), DipcError, "not you");
  assertEquals(released, 1);
});

Deno.test("deadlines and signals end calls, and the server is told the deadline", async () => {
  const timeouts: (string | undefined)[] = [];
  await using server = await fakeFlight((call) => {
    timeouts.push(call.headers["grpc-timeout"] as string | undefined);
    return new Promise(() => {});
  });
  await using client = await FlightClient.connect(server.location, { timeoutMs: 10_000 });
  const late = await assertRejects(() => client.getFlightInfo({ path: "x" }, { timeoutMs: 100 }), DipcError);
  assertEquals(late.code, "timeout");
  for (
    const call of [
      (signal: AbortSignal) => client.getFlightInfo({ path: "x" }, { signal }),
      (signal: AbortSignal) => client.doGet("x", { signal }),
      async (signal: AbortSignal) => {
        for await (const _ of client.listFlights("", { signal }));
      },
    ]
  ) {
    const stop = new AbortController();
    const pending = assertRejects(() => call(stop.signal), DipcError);
    await delay(50);
    stop.abort(new Error("enough"));
    const error = await pending;
    assertEquals([error.code, (error.cause as Error).message], ["cancelled", "enough"]);
    assertEquals((await assertRejects(() => call(stop.signal), DipcError)).code, "cancelled");
  }
  assertEquals(timeouts, ["100m", "10000m", undefined, undefined]);
});

Deno.test("cookies come back, middleware sees headers and ends in order, and a hook that throws fails the call", async () => {
  const cookies: (string | undefined)[] = [];
  await using server = await fakeFlight(async (call) => {
    cookies.push(call.headers.cookie);
    call.respond({ "set-cookie": ["id=1; Path=/", "b=2"], "x-name": call.method });
    if (call.method === "DoAction") await call.message(resultBytes(new Uint8Array(0)));
    else await call.message(infoBytes([]));
    call.finish();
  });
  const seen: string[] = [];
  const middleware = ["outer", "inner"].map((name) => ({
    onCall: ({ method }: { method: string }) => void seen.push(`${name} call ${method}`),
    onHeaders: (_: unknown, headers: Headers) => void seen.push(`${name} headers ${headers.get("x-name")}`),
    onEnd: (_: unknown, trailers: Headers, error?: unknown) =>
      void seen.push(`${name} end ${trailers.get("grpc-status")} ${error ?? "well"}`),
  }));
  await using client = await FlightClient.connect(server.location, { middleware });
  await client.getFlightInfo({ path: "x" });
  assertEquals(seen, [
    "outer call GetFlightInfo",
    "inner call GetFlightInfo",
    "inner headers GetFlightInfo",
    "outer headers GetFlightInfo",
    "inner end 0 well",
    "outer end 0 well",
  ]);
  for await (const _ of client.doAction("x"));
  assertEquals(cookies, [undefined, "id=1; b=2"]);
  await using plain = await FlightClient.connect(server.location, { cookies: false });
  await plain.getFlightInfo({ path: "x" });
  await plain.getFlightInfo({ path: "x" });
  assertEquals(cookies.slice(2), [undefined, undefined]);
  await using broken = await FlightClient.connect(server.location, {
    middleware: [{
      onHeaders() {
        throw new Error("hook");
      },
    }],
  });
  await assertRejects(() => broken.getFlightInfo({ path: "x" }), Error, "hook");
});

Deno.test("a client finds a server again that was restarted, and is of no use once it is closed", async () => {
  const answer = async (call: FakeCall) => {
    await call.message(infoBytes([]));
    call.finish();
  };
  const first = await fakeFlight(answer);
  const client = await FlightClient.connect(first.location);
  await client.getFlightInfo({ path: "x" });
  await first[Symbol.asyncDispose]();
  for (let i = 0; i < 2; i++) {
    const error = await assertRejects(() => client.getFlightInfo({ path: "x" }), DipcError);
    assert(["unreachable", "connection_lost"].includes(error.code), error.code);
  }
  await client.close();
  await client.close();
  assertEquals((await assertRejects(() => client.getFlightInfo({ path: "x" }), DipcError)).code, "closed");
});
