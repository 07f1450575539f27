/** One fetch for several clients: all get everything, once from the engine, and no more is kept than may be. */
import { assert, assertEquals, assertGreater, assertLess, assertRejects } from "@std/assert";
import { connect, type ConnectOptions, DipcError, type DissociatedStreamReader } from "../../mod.ts";
import {
  FlightClient,
  type Gateway,
  type GatewayOptions,
  GrpcStatus,
  serveFlight,
  serveGateway,
} from "../../flight.ts";
import { PeerError } from "../../src/tell_peer.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { endpoint } from "../support/flight_fake.ts";
import { generated } from "../support/generated.ts";
import { type PythonServer, type PythonServerState, startPythonServer } from "../support/flight_python.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";
import { delay, until } from "../support/time.ts";

const MiB = 2 ** 20;
const NOTHING = new Uint8Array(0);
const WAYS: readonly ConnectOptions[] = [{ route: "flight" }, { route: "ucx", share: false }, { route: "ucx" }];

function start(engine: { location: string }, oneFetch: GatewayOptions["oneFetch"]): Promise<Gateway> {
  return serveGateway({ engines: engine.location, share: true, oneFetch });
}

async function stateOf({ location }: PythonServer): Promise<PythonServerState> {
  await using client = await FlightClient.connect(location);
  for await (const body of client.doAction("state")) return JSON.parse(new TextDecoder().decode(body));
  throw new Error("the engine has no state");
}

/** Reads so many batches, or all, and checks that they come in order. @returns how many there were */
async function read(stream: DissociatedStreamReader, most = Infinity, from = 0): Promise<number> {
  let taken = 0;
  while (taken < most) {
    const { done, value } = await stream.next();
    if (done) break;
    using batch = value;
    assertEquals((batch.getChildAt(0)!.toArray() as BigInt64Array)[0], BigInt(from + taken));
    taken++;
  }
  return taken;
}

const open = (gateway: Gateway, way: number, path = "g"): Promise<DissociatedStreamReader> =>
  connect(gateway.location, { ...WAYS[way], flight: { path } });

testNeeding(
  [needsPython, needsUcx],
  "clients by each way share one fetch, and each gets all of it in order",
  async () => {
    await using engine = await startPythonServer({ generated: { g: { batches: 100, bytes: MiB, numbered: true } } });
    await using gateway = await start(engine, true);
    {
      const streams = await Promise.all([0, 1, 2, 0, 1, 2].map((way) => open(gateway, way)));
      assertEquals(await Promise.all(streams.map((stream) => read(stream))), Array(6).fill(100));
      for (const stream of streams) await stream[Symbol.asyncDispose]();
    }
    assertEquals((await stateOf(engine)).gets, 1);
    await until(() => gateway.engineCalls === 0 && gateway.sharing!.arenaBytes === 0);
    // Nothing is kept by default.
    assertEquals(await read(await open(gateway, 0)), 100);
    assertEquals((await stateOf(engine)).gets, 2);
  },
);

testNeeding([needsPython, needsUcx], "a whole result stays for a while, and is read without the engine", async () => {
  await using engine = await startPythonServer({ generated: { g: { batches: 10, bytes: MiB, numbered: true } } });
  await using gateway = await start(engine, { keepMs: 60_000 });
  for (const way of [2, 0, 1, 2]) {
    await using stream = await open(gateway, way);
    assertEquals(await read(stream), 10);
  }
  assertEquals((await stateOf(engine)).gets, 1);
  assertGreater(gateway.sharing!.arenaBytes, 10 * MiB - 1);
  await using brief = await start(engine, { keepMs: 1 });
  for (const way of [0, 1]) {
    await using stream = await open(brief, way);
    assertEquals(await read(stream), 10);
    // What is older than that is fetched anew.
    await delay(20);
  }
  assertEquals((await stateOf(engine)).gets, 3);
  await until(() => brief.sharing!.arenaBytes === 0);
});

testNeeding([needsPython, needsUcx], "the fastest waits for the slowest, who holds nobody up by leaving", async () => {
  await using engine = await startPythonServer({ generated: { g: { batches: 200, bytes: MiB, numbered: true } } });
  await using gateway = await start(engine, { maxBytes: 8 * MiB });
  const [slow, fast] = [await open(gateway, 0), await open(gateway, 2)];
  assertEquals([await read(slow, 1), await read(fast, 1)], [1, 1]);
  let taken = 1;
  const rest = read(fast, Infinity, 1).then((more) => taken += more);
  let yielded = 0;
  await until(async () => {
    const last = yielded;
    await delay(100);
    yielded = (await stateOf(engine)).yielded;
    return last === yielded;
  });
  // What is kept, and the windows of the three connections.
  assertLess(yielded, 60);
  // Who comes too late for the beginning has a fetch of its own.
  await using late = await open(gateway, 1);
  assertEquals(await read(late), 200);
  assertEquals((await stateOf(engine)).gets, 2);
  await slow[Symbol.asyncDispose]();
  await rest;
  assertEquals(taken, 200);
  await fast[Symbol.asyncDispose]();
  await until(() => gateway.engineCalls === 0 && gateway.sharing!.arenaBytes === 0);
});

testNeeding(
  [needsPython, needsUcx],
  "a fetch goes on while one client reads it, and ends at the engine with the last",
  async () => {
    await using engine = await startPythonServer({ generated: { g: { batches: -1, bytes: MiB, numbered: true } } });
    await using gateway = await start(engine, true);
    const streams = await Promise.all([0, 1, 2].map((way) => open(gateway, way)));
    for (const [index, stream] of streams.entries()) {
      await Promise.all(streams.slice(index).map((each) => read(each, 5, 5 * index)));
      assertEquals((await stateOf(engine)).ended, 0);
      await stream[Symbol.asyncDispose]();
    }
    await until(async () => (await stateOf(engine)).ended === 1);
    await until(() => gateway.engineCalls === 0 && gateway.sharing!.arenaBytes === 0);
    assertEquals((await stateOf(engine)).gets, 1);
  },
);

testNeeding(
  [needsUcx],
  "clients with other credentials share nothing, and an engine's error reaches all who share",
  async () => {
    const blocks = hostPool().stats.blocksOut;
    const gets: string[] = [];
    let release = (): void => {};
    await using engine = await serveFlight({
      handlers: {
        getFlightInfo: (descriptor) => ({
          ...{ descriptor, schema: NOTHING, endpoints: [endpoint("own")], totalRecords: -1n, totalBytes: -1n },
          ...{ ordered: false, appMetadata: NOTHING },
        }),
        doGet(_, { headers, trailers }) {
          gets.push(headers.get("authorization") ?? "");
          const dataset = generated(3, 8192);
          if (headers.get("authorization") !== "Bearer bad") return dataset;
          trailers.set("x-why", "asked for it");
          const held = new Promise<void>((resolve) => release = resolve);
          return {
            ...{ schema: dataset.schema, readOnce: true, close: () => dataset.close() },
            async open() {
              const run = await dataset.open();
              let count = 0;
              return {
                close: () => run.close(),
                async next() {
                  if (count++ < 2) return await run.next();
                  await held;
                  throw new PeerError("flight", "", {
                    foreign: { system: "grpc", status: GrpcStatus.aborted, text: "not today" },
                  });
                },
              };
            },
          };
        },
      },
    });
    await using gateway = await start(engine, { keepMs: 60_000 });
    const of = (token: string, way: number): Promise<DissociatedStreamReader> =>
      connect(gateway.location, { ...WAYS[way], flight: { path: "t", token } });
    for (const [token, way] of [["a", 0], ["b", 1], ["a", 2], ["b", 0]] as const) {
      await using stream = await of(token, way);
      assertEquals(await read(stream), 3);
    }
    assertEquals(gets, ["Bearer a", "Bearer b"]);
    const failing = await Promise.all([0, 1, 2].map((way) => of("bad", way)));
    for (const stream of failing) assertEquals(await read(stream, 2), 2);
    release();
    const errors = await Promise.all(failing.map((stream) => assertRejects(() => read(stream, 1, 2), DipcError)));
    assertEquals(gets.length, 3);
    // The engine's status and text are for the client by each way.
    for (const { message } of errors) assert(message.includes("not today"), message);
    assertEquals(errors.map(({ foreign }) => foreign?.status ?? null), Array(3).fill(GrpcStatus.aborted));
    for (const stream of failing) await stream[Symbol.asyncDispose]();
    await until(() => gateway.engineCalls === 0);
    await gateway.shutdown();
    await until(() => hostPool().stats.blocksOut === blocks);
    assert(gateway.sharing!.arenaBytes === 0);
  },
);
