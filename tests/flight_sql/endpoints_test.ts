/**
 * Results of many endpoints: whole, once, in order, whatever becomes of their locations and tickets.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { toBinary } from "@bufbuild/protobuf";
import { tableFromArrays } from "apache-arrow";
import { FlightSqlClient } from "../../flight_sql.ts";
import { type Dataset, fromBatches } from "../../mod.ts";
import { FlightEndpointSchema } from "../../src/flight/gen/flight_pb.ts";
import { endpointToProto, type FlightEndpoint } from "../../src/flight/model.ts";
import { endpoint, type FakeCall, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";
import { unusedPort } from "../support/ports.ts";
import { delay } from "../support/time.ts";

const ENDPOINTS = 24;
const PARALLEL = 6;
/** How long each endpoint takes, in milliseconds. */
const TAKES_MS = 60;
/** How long the ticket of the last endpoint holds, in milliseconds: not until it is its turn. */
const HOLDS_MS = 150;

/** Batches of one value each: first, first + 1, … */
async function numbers(first: number, batches: number): Promise<Dataset> {
  return await fromBatches(
    Array.from({ length: batches }, (_, i) => tableFromArrays({ n: Int32Array.of(first + i) }).batches[0]),
  );
}

/** A port at which connections are accepted and then nothing happens. */
function hole(): { location: string; connections: number } & Disposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const taken: Deno.Conn[] = [];
  const self = {
    location: `grpc://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    get connections() {
      return taken.length;
    },
    [Symbol.dispose]() {
      listener.close();
      for (const connection of taken) connection.close();
    },
  };
  (async () => {
    for await (const connection of listener) taken.push(connection);
  })().catch(() => {});
  return self;
}

for (const ordered of [true, false]) {
  const order = ordered ? "in order" : "in any order";
  Deno.test(`24 endpoints with two dead locations and a ticket that expires come whole, once, ${order}`, async () => {
    using silent = hole();
    const refusing = `grpc://127.0.0.1:${unusedPort()}`;
    let running = 0;
    let most = 0;
    const tickets: string[] = [];
    const serveData = async (call: FakeCall): Promise<void> => {
      const ticket = await call.ticket();
      tickets.push(ticket);
      const [first, batches, until] = ticket.split(":").map(Number);
      if (until > 0 && Date.now() > until) return call.finish(3, "the ticket has expired");
      most = Math.max(most, ++running);
      // The first ones take longest, so that order is not a matter of luck.
      await delay(TAKES_MS * (1.5 - first / 240));
      await call.data(await numbers(first, batches));
      running--;
      call.finish();
    };
    await using other = await fakeFlight(serveData);
    const endpoints = (): FlightEndpoint[] => {
      const until = Date.now() + HOLDS_MS;
      return Array.from({ length: ENDPOINTS }, (_, i) => {
        const lasts = i < ENDPOINTS - 1;
        return endpoint(`${i * 10}:3:${lasts ? 0 : until}`, {
          // Two in three begin with a location that is dead.
          locations: [...[[], [refusing], [silent.location]][i % 3], other.location],
          expirationTime: lasts ? null : new Date(until),
        });
      });
    };
    await using server = await fakeFlight(async (call) => {
      if (call.method === "GetFlightInfo") {
        await call.message(infoBytes(endpoints(), ordered, await numbers(0, 1)));
      } else if (call.method === "DoAction") {
        // The action is RenewFlightEndpoint.
        const renewed = endpoint(`${(ENDPOINTS - 1) * 10}:3:0`, {
          locations: [other.location],
          expirationTime: new Date(Date.now() + 60_000),
        });
        await call.message(resultBytes(toBinary(FlightEndpointSchema, endpointToProto(renewed))));
      } else {
        return await serveData(call);
      }
      call.finish();
    });
    await using client = await FlightSqlClient.connect(server.location, {
      parallelEndpoints: PARALLEL,
      locationTimeoutMs: 250,
      route: "flight",
    });
    const expected = Array.from({ length: ENDPOINTS }, (_, i) => [i * 10, i * 10 + 1, i * 10 + 2]).flat();
    for (let round = 0; round < 2; round++) {
      tickets.length = 0;
      await using reader = await client.query("select n");
      const found: number[] = [];
      for await (using batch of reader) found.push(batch.getChildAt(0)!.get(0));
      assertEquals(ordered ? found : found.sort((a, b) => a - b), expected);
      assertEquals([...new Set(tickets)].length, ENDPOINTS, "each endpoint is fetched once");
      assertEquals(tickets.length, ENDPOINTS);
      assert(tickets.includes(`${(ENDPOINTS - 1) * 10}:3:0`), "the ticket that expires was renewed");
    }
    assert(most <= PARALLEL, `${most} endpoints at once`);
    assert(most > 1, "endpoints are read side by side");
    // The second result did not wait for it again.
    assertEquals(silent.connections, 1);
  });
}

Deno.test("a location that was dead is tried again if there is no other", async () => {
  const port = unusedPort();
  const location = `grpc://127.0.0.1:${port}`;
  await using server = await fakeFlight(async (call) => {
    if (call.method === "GetFlightInfo") {
      await call.message(infoBytes([endpoint("7:1", { locations: [location] })]));
      call.finish();
    } else {
      call.finish(5, "not here");
    }
  });
  await using client = await FlightSqlClient.connect(server.location, { route: "flight" });
  const failed = await client.query("select n").then(() => "", (error) => error.message);
  assert(failed.includes("Connection refused") && failed.includes("not here"), failed);
  await using back = await fakeFlight(async (call) => {
    await call.data(await numbers(7, 1));
    call.finish();
  }, port);
  await using reader = await client.query("select n");
  assertEquals([...(await reader.toTable()).getChild("n")!], [7]);
  assertEquals(back.calls, ["DoGet"]);
});

Deno.test("of the connections to many locations a few stay for later results", async () => {
  const others = await Promise.all(Array.from({ length: 12 }, (_, i) =>
    fakeFlight(async (call) => {
      await call.data(await numbers(i, 1));
      call.finish();
    })));
  await using _others = new AsyncDisposableStack();
  for (const other of others) _others.use(other);
  await using server = await fakeFlight(async (call) => {
    await call.message(infoBytes(others.map(({ location }) => endpoint("t", { locations: [location] }))));
    call.finish();
  });
  await using client = await FlightSqlClient.connect(server.location, { route: "flight" });
  const connections = (): number => others.reduce((sum, other) => sum + other.connections, 0);
  for (let round = 0; round < 2; round++) {
    assertEquals((await (await client.query("select n")).toTable()).numRows, 12);
    for (let i = 0; i < 200 && connections() > 8; i++) await delay(10);
    assertEquals(connections(), 8);
  }
});
