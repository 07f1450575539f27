/** Calls that a server has not taken are made again; what may have been processed is not, and there is a bound. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient } from "../../flight.ts";
import { connect, fromTable } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { utf8 } from "../support/bytes.ts";
import { endpoint, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";
import { type RawConnection, rawServer } from "../support/http2_raw_server.ts";
import { delay } from "../support/time.ts";

const MAX_CONCURRENT_STREAMS = 3;
const INITIAL_WINDOW_SIZE = 4;

/** The results of an action whose body is `body`. */
async function act(client: FlightClient, body: string): Promise<string[]> {
  const results: string[] = [];
  for await (const result of client.doAction("echo", body)) results.push(new TextDecoder().decode(result));
  return results;
}

const done = (connection: RawConnection, streamId: number): Promise<void> =>
  connection.succeed(streamId, resultBytes(utf8("done")));

Deno.test("calls after the last one that a GOAWAY names are made again on another connection", async () => {
  await using server = rawServer({
    async onRequest(connection, streamId) {
      if (connection.number > 1) return await done(connection, streamId);
      if (connection.received.size < 4) return;
      await connection.goaway(3);
      await done(connection, 1);
      await done(connection, 3);
    },
  });
  await using client = await FlightClient.connect(server.location);
  assertEquals(await Promise.all(["a", "b", "c", "d"].map((body) => act(client, body))), Array(4).fill(["done"]));
  assertEquals([...server.connections[0].received.keys()], [1, 3, 5, 7]);
  assertEquals([...server.connections[1].received.keys()], [1, 3]);
});

Deno.test("a GOAWAY for an error, and a first one without a last id, lose no call either", async () => {
  await using server = rawServer({
    settings: [[MAX_CONCURRENT_STREAMS, 1]],
    async onRequest(connection, streamId) {
      if (connection.number === 1) await connection.goaway(0, 11);
      if (connection.number === 2) {
        await connection.goaway(2 ** 31 - 1);
        await delay(20);
        await connection.goaway(streamId);
      }
      if (connection.number > 1) await done(connection, streamId);
    },
  });
  await using client = await FlightClient.connect(server.location);
  assertEquals(await Promise.all(["a", "b", "c"].map((body) => act(client, body))), Array(3).fill(["done"]));
});

Deno.test("a call that is rejected with REFUSED_STREAM is made again, up to a bound", async () => {
  let rejections = 0;
  let most = 3;
  await using server = rawServer({
    onRequest: (connection, streamId) => rejections++ < most ? connection.refuse(streamId) : done(connection, streamId),
  });
  await using client = await FlightClient.connect(server.location);
  assertEquals(await act(client, "a"), ["done"]);
  assertEquals(rejections, 4);
  most = Infinity;
  rejections = 0;
  const startedMs = performance.now();
  await assertDipcError("unreachable", "can be retried", () => act(client, "b"));
  assertEquals(rejections, 11);
  assertGreater(performance.now() - startedMs, 500);
  assertLess(performance.now() - startedMs, 10_000);
});

Deno.test("a call that may have been taken is not made again", async () => {
  await using server = rawServer({
    async onRequest(connection, streamId) {
      await connection.goaway(streamId);
      connection.close();
    },
  });
  await using client = await FlightClient.connect(server.location);
  await assertDipcError("unreachable", "it was not answered", () => act(client, "a"));
  assertEquals(server.connections.length, 1);
});

/** A server that ends its first connections in some way before it takes an upload; and what has come then. */
async function uploadedTo(
  dataset: Awaited<ReturnType<typeof fromTable>>,
  attempts: number,
  end: (connection: RawConnection, streamId: number) => Promise<void>,
): Promise<Uint8Array> {
  let uploaded: Uint8Array | null = null;
  await using server = rawServer({
    settings: [[INITIAL_WINDOW_SIZE, 40_000]],
    onHeaders: (connection, streamId) => connection.number < attempts ? end(connection, streamId) : undefined,
    async onRequest(connection, streamId, body) {
      if (connection.number < attempts) return;
      uploaded = body;
      await done(connection, streamId);
    },
    onData: (connection, streamId, bytes) =>
      connection.number < attempts ? undefined : connection.credit(streamId, bytes),
  });
  await using client = await FlightClient.connect(server.location);
  await client.put({ path: "x" }, dataset);
  assert(uploaded !== null);
  return uploaded;
}

Deno.test("an upload that was not taken is sent again whole, and with what was written meanwhile", async () => {
  for (const rows of [10, 1000, 60_000]) {
    const dataset = await fromTable(tableFromArrays({ n: Int32Array.from({ length: rows }, (_, i) => i) }));
    const expected = await uploadedTo(dataset, 1, () => Promise.resolve());
    assertEquals(
      await uploadedTo(dataset, 3, async (connection) => {
        await delay(50);
        await connection.goaway(0);
      }),
      expected,
      `${rows} rows`,
    );
  }
});

Deno.test("a call that waits for its turn does not time out, and has its own time once it has been sent", async () => {
  await using server = rawServer({
    settings: [[MAX_CONCURRENT_STREAMS, 1]],
    async onRequest(connection, streamId) {
      await delay(900);
      await done(connection, streamId);
    },
  });
  await using client = await FlightClient.connect(server.location, { timeoutMs: 2500 });
  assertEquals(await Promise.all(["a", "b", "c", "d"].map((body) => act(client, body))), Array(4).fill(["done"]));
});

Deno.test("a call with one answer has its time from when it is sent, and ends with its own deadline", async () => {
  await using server = rawServer({
    settings: [[MAX_CONCURRENT_STREAMS, 1]],
    async onRequest(connection, streamId) {
      await delay(900);
      await connection.succeed(streamId, infoBytes([]));
    },
  });
  await using client = await FlightClient.connect(server.location, { timeoutMs: 2500 });
  await Promise.all([1, 2, 3].map(() => client.getFlightInfo({ path: "x" })));
  const first = client.getFlightInfo({ path: "x" });
  await assertDipcError("timeout", "deadline of 0.2 s", () => client.getFlightInfo({ path: "x" }, { timeoutMs: 200 }));
  await first;
});

Deno.test("a call can be cancelled between two attempts, and the client closed", async () => {
  await using server = rawServer({ onRequest: (connection, streamId) => connection.refuse(streamId) });
  const client = await FlightClient.connect(server.location);
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 150);
  await assertDipcError("cancelled", "", () => client.getFlightInfo({ path: "x" }, { signal: controller.signal }));
  const pending = assertDipcError("closed", "", () => client.getFlightInfo({ path: "x" }));
  await delay(50);
  await client.close();
  await pending;
});

Deno.test("connect reads each row once from a server that ends its connections", async () => {
  const dataset = await fromTable(tableFromArrays({ n: Int32Array.of(1) }));
  let gets = 0;
  await using server = await fakeFlight(async (call) => {
    if (call.method === "GetFlightInfo") {
      await call.message(infoBytes([1, 2, 3, 4, 5, 6].map((i) => endpoint(`t${i}`))));
      return call.finish();
    }
    if (++gets % 2 === 1) return call.stream.close(7);
    await call.data(dataset);
    call.finish();
  });
  await using reader = await connect(`${server.location}/x`);
  assertEquals((await reader.toTable()).numRows, 6);
  assert(gets >= 12);
});
