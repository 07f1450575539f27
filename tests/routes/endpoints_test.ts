/**
 * `connect` and what a FlightInfo can say: endpoints, locations, order, expiration; and the route that the data takes.
 */
import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { Dictionary, Int32, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { toBinary } from "@bufbuild/protobuf";
import {
  connect,
  type ConnectOptions,
  type Dataset,
  type EndpointStats,
  fromBatches,
  fromTable,
  serve,
} from "../../mod.ts";
import { FlightEndpointSchema } from "../../src/flight/gen/flight_pb.ts";
import { endpointToProto, type FlightEndpoint } from "../../src/flight/model.ts";
import { assertSoon, delay } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import { endpoint, type FakeCall, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";

const REUSE = "arrow-flight-reuse-connection://?";
/** Nobody listens there. */
const CLOSED = "grpc://127.0.0.1:9";

/** Batches of one value each: first, first + 1, … */
async function numbers(first: number, batches: number): Promise<Dataset> {
  return await fromBatches(
    Array.from({ length: batches }, (_, i) => tableFromArrays({ n: Int32Array.of(first + i) }).batches[0]),
  );
}

/** Answers GetFlightInfo; a DoGet of "10:3" gives the values 10, 11, 12. */
async function answer(call: FakeCall, endpoints: readonly FlightEndpoint[], ordered = false): Promise<void> {
  if (call.method === "GetFlightInfo") {
    await call.message(infoBytes(endpoints, ordered, await numbers(0, 1)));
    return call.finish();
  }
  if (call.method !== "DoGet") return call.finish(12);
  const [first, batches] = (await call.ticket()).split(":").map(Number);
  await call.data(await numbers(first, batches));
  call.finish();
}

async function values(stream: Awaited<ReturnType<typeof connect>>): Promise<number[]> {
  const found: number[] = [];
  for await (using batch of stream) found.push(batch.getChildAt(0)!.get(0));
  return found;
}

Deno.test("every endpoint is read, and no location, an unknown one and the reused connection mean the same server", async () => {
  const endpoints = [
    endpoint("0:2"),
    endpoint("10:2", { locations: [REUSE] }),
    endpoint("20:2", { locations: ["strange://somewhere", REUSE] }),
  ];
  await using server = await fakeFlight((call) => answer(call, endpoints));
  await using stream = await connect(server.location, { flight: { path: "x" } });
  assertEquals((await values(stream)).sort((a, b) => a - b), [0, 1, 10, 11, 20, 21]);
  assertEquals(stream.stats.route, "flight");
  assertEquals(stream.stats.routeReason, "the server offers no ucx: location");
  assertEquals(stream.stats.endpoints.map(({ route, location, batches }) => [route, location, batches]), [
    ["flight", server.location, 2],
    ["flight", server.location, 2],
    ["flight", server.location, 2],
  ]);
  assertEquals(server.calls.filter((method) => method === "DoGet").length, 3);
});

Deno.test("the locations of an endpoint are tried in turn, and the error is that of the first, or what a server answered", async () => {
  await using other = await fakeFlight((call) => answer(call, []));
  await using server = await fakeFlight((call) =>
    answer(call, [endpoint("5:2", { locations: [CLOSED, other.location, REUSE] })])
  );
  await using stream = await connect(server.location, { flight: { path: "x" } });
  assertEquals(await values(stream), [5, 6]);
  assertEquals([server.calls, other.calls], [["GetFlightInfo"], ["DoGet"]]);

  await using nowhere = await fakeFlight((call) => {
    if (call.method === "DoGet") return call.finish(5, "no such ticket");
    return answer(call, [endpoint("5:2", { locations: [CLOSED] })]);
  });
  // What a server answers is more than that another one is not there.
  const text = new RegExp(`NOT_FOUND: no such ticket \\(before that ${CLOSED}: unreachable: `);
  const answered = await assertDipcError("not_found", text, () => connect(nowhere.location, { flight: { path: "x" } }));
  assertEquals(answered.foreign, { system: "grpc", status: 5, text: "no such ticket" });

  const route = "flight";
  await using stopped = await fakeFlight((call) => {
    if (call.method === "DoGet") return call.stream.session!.destroy();
    return answer(call, [endpoint("5:2", { locations: [CLOSED] })]);
  });
  const { message } = await assertDipcError(
    "unreachable",
    "",
    () => connect(stopped.location, { flight: { path: "x" }, route }),
  );
  assertStringIncludes(message, `then ${stopped.location}: `);
});

Deno.test("the server that was asked is tried last, if none of the locations that it named can be reached", async () => {
  await using server = await fakeFlight((call) => answer(call, [endpoint("5:2", { locations: [CLOSED] })]));
  await using stream = await connect(server.location, { flight: { path: "x" } });
  assertEquals(await values(stream), [5, 6]);
  assertEquals(stream.stats.endpoints![0].location, server.location);

  await using other = await fakeFlight((call) => call.finish(7, "not for you"));
  await using asked = await fakeFlight((call) =>
    answer(call, [endpoint("5:2", { locations: [CLOSED, other.location] })])
  );
  await assertDipcError("permission_denied", "not for you", () => connect(asked.location, { flight: { path: "x" } }));
  assertEquals(asked.calls, ["GetFlightInfo"]);
});

Deno.test("a location that swallows what is sent to it costs the time that it is given", async () => {
  using hole = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const silent = `grpc://127.0.0.1:${(hole.addr as Deno.NetAddr).port}`;
  await using server = await fakeFlight((call) => answer(call, [endpoint("5:2", { locations: [silent] })]));
  const startedMs = performance.now();
  await using stream = await connect(server.location, { flight: { path: "x", locationTimeoutMs: 300 } });
  assertEquals(await values(stream), [5, 6]);
  assertGreater(performance.now() - startedMs, 250);
  // It is given 5 s by default.
  assertSoon("abandoned", startedMs, 4500);
});

Deno.test("a location that thinks about its first message has the time of every wait", async () => {
  await using slow = await fakeFlight(async (call) => {
    await delay(700);
    await answer(call, []);
  });
  await using server = await fakeFlight((call) => answer(call, [endpoint("5:2", { locations: [slow.location] })]));
  await using stream = await connect(server.location, { flight: { path: "x", locationTimeoutMs: 300 } });
  assertEquals(await values(stream), [5, 6]);
  assertEquals(slow.calls, ["DoGet"]);
});

Deno.test("localhost and 127.0.0.1 of the server that was asked are one place, and have its connection and credentials", async () => {
  const seen: (string | undefined)[] = [];
  await using server = await fakeFlight((call) => {
    seen.push(call.headers.authorization);
    return answer(call, [endpoint("5:2", { locations: [server.location.replace("127.0.0.1", "localhost")] })]);
  });
  await using stream = await connect(server.location, { flight: { path: "x", token: "secret" } });
  assertEquals(await values(stream), [5, 6]);
  assertEquals(seen, ["Bearer secret", "Bearer secret"]);
});

Deno.test("a location that refuses a call without credentials is named with the reason, and with how to send them", async () => {
  await using other = await fakeFlight((call) => call.finish(16, "who are you"));
  const elsewhere = other.location.replace("127.0.0.1", "localhost");
  await using server = await fakeFlight((call) => answer(call, [endpoint("1:1", { locations: [elsewhere] })]));
  const text = /who are you; the credentials were held back from grpc:\/\/localhost:\d+, .*flight\.trustLocations/;
  const flight = { path: "x", token: "secret" };
  const error = await assertDipcError("permission_denied", text, () => connect(server.location, { flight }));
  assertEquals(error.foreign?.status, 16);
  await assertDipcError("permission_denied", /who are you$/, () => connect(server.location, { flight: { path: "x" } }));
});

Deno.test("cookies go where credentials go", async () => {
  const seen: (string | undefined)[] = [];
  await using other = await fakeFlight((call) => {
    seen.push(call.headers.cookie);
    return answer(call, []);
  });
  await using server = await fakeFlight((call) => {
    call.respond({ "set-cookie": "session=1" });
    return answer(call, [endpoint("1:1", { locations: [elsewhere] })]);
  });
  let elsewhere = other.location;
  for (const [host, trustLocations] of [["127.0.0.1", false], ["localhost", false], ["localhost", true]] as const) {
    elsewhere = other.location.replace("127.0.0.1", host);
    await using stream = await connect(server.location, { flight: { path: "x", trustLocations } });
    assertEquals(await values(stream), [1]);
  }
  assertEquals(seen, ["session=1", undefined, "session=1"]);
});

Deno.test("ordered endpoints come in order, whichever answers first", async () => {
  const endpoints = [0, 10, 20, 30, 40].map((first) => endpoint(`${first}:3`));
  await using server = await fakeFlight(async (call) => {
    // The first is the last to answer.
    if (call.method === "DoGet" && (await call.ticket()).startsWith("0:")) await delay(200);
    await answer(call, endpoints, true);
  });
  await using stream = await connect(server.location, { flight: { path: "x" } });
  assertEquals(await values(stream), [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42]);
});

Deno.test("endpoints are read side by side, so many at a time and no more", async () => {
  let running = 0, most = 0;
  const release = Promise.withResolvers<void>();
  const endpoints = [0, 10, 20, 30, 40, 50].map((first) => endpoint(`${first}:1`));
  await using server = await fakeFlight(async (call) => {
    if (call.method !== "DoGet") return await answer(call, endpoints);
    most = Math.max(most, ++running);
    const first = Number((await call.ticket()).split(":")[0]);
    await call.data(await numbers(first, 1), first === 0 ? 0 : 1);
    // The first endpoint holds back its batch until all others have come.
    if (first === 0) {
      await release.promise;
      const message = await (await (await numbers(0, 1)).open()).next();
      await call.frame({ header: message!.header.bytes, body: message!.body!.bytes() });
    }
    running--;
    call.finish();
  });
  await using stream = await connect(server.location, { flight: { path: "x", parallelEndpoints: 2 } });
  const found: number[] = [];
  for await (using batch of stream) {
    found.push(batch.getChildAt(0)!.get(0));
    if (found.length === 5) release.resolve();
  }
  assertEquals(found, [10, 20, 30, 40, 50, 0]);
  assertEquals(most, 2);
});

Deno.test("endpoints with dictionaries of their own are not mixed", async () => {
  const words = (list: string[]) =>
    fromTable(new Table({ w: vectorFromArray(list, new Dictionary(new Utf8(), new Int32(), 0)) }));
  const parts: Record<string, string[]> = { a: ["x", "y", "x"], b: ["p", "q", "r"], c: ["y", "x", "q"] };
  await using server = await fakeFlight(async (call) => {
    if (call.method !== "DoGet") return await answer(call, Object.keys(parts).map((name) => endpoint(name)));
    await call.data(await words(parts[await call.ticket()]));
    call.finish();
  });
  await using stream = await connect(server.location, { flight: { path: "x" } });
  const found: string[] = [];
  for await (using batch of stream) found.push(...batch.getChildAt(0)!);
  assertEquals(found, Object.values(parts).flat());
});

Deno.test("endpoints with different schemas are refused, and a flight without endpoints is an empty stream", async () => {
  await using server = await fakeFlight(async (call) => {
    if (call.method !== "DoGet") return await answer(call, [endpoint("1"), endpoint("2")]);
    const table = await call.ticket() === "1" ? { n: Int32Array.of(1) } : { n: Float64Array.of(1) };
    await call.data(await fromTable(tableFromArrays(table)));
    call.finish();
  });
  await using stream = await connect(server.location, { flight: { path: "x" } });
  await assertDipcError("invalid_data", "different schemas", () => values(stream));

  await using bare = await fakeFlight((call) => answer(call, []));
  await using empty = await connect(bare.location, { flight: { path: "x" } });
  assertEquals([empty.schema.fields.map(String), await values(empty)], [["n: Int32"], []]);
  assertEquals([empty.stats.route, empty.stats.routeReason], ["flight", "the flight has no endpoints"]);
});

Deno.test("an endpoint that waits its turn is renewed before it expires, and read with the renewed ticket", async () => {
  const soon = () => new Date(Date.now() + 500);
  const tickets: string[] = [];
  const held = Promise.withResolvers<void>();
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoAction") {
      const renewed = endpoint("7:1", { expirationTime: new Date(Date.now() + 60_000) });
      await call.message(resultBytes(toBinary(FlightEndpointSchema, endpointToProto(renewed))));
      call.finish();
      return held.resolve();
    }
    if (call.method === "DoGet") {
      const ticket = await call.ticket();
      tickets.push(ticket);
      if (ticket === "1:1") await held.promise;
    }
    await answer(call, [endpoint("1:1"), endpoint("2:1", { expirationTime: soon() })], true);
  });
  await using stream = await connect(server.location, { flight: { path: "x", parallelEndpoints: 1 } });
  assertEquals(await values(stream), [1, 7]);
  assertEquals(tickets, ["1:1", "7:1"]);
});

Deno.test("credentials go to the server that was asked, and not to a host that it names", async () => {
  const seen: [string, string | undefined, string | undefined][] = [];
  const note = (call: FakeCall): void => {
    const { authorization, "x-key": key } = call.headers;
    seen.push([call.method, authorization, key as string | undefined]);
  };
  await using other = await fakeFlight((call) => {
    note(call);
    return answer(call, []);
  });
  const elsewhere = other.location.replace("127.0.0.1", "localhost");
  await using server = await fakeFlight((call) => {
    note(call);
    return answer(call, [endpoint("1:1", { locations: [elsewhere] })]);
  });
  const options = { path: "x", token: "secret", headers: { "x-key": "k" } };
  for (const trustLocations of [false, true]) {
    seen.length = 0;
    await using stream = await connect(server.location, { flight: { ...options, trustLocations } });
    assertEquals(await values(stream), [1]);
    assertEquals(seen, [
      ["GetFlightInfo", "Bearer secret", "k"],
      ["DoGet", ...(trustLocations ? ["Bearer secret", "k"] as const : [undefined, undefined] as const)],
    ]);
  }
});

/** A server by the dissociated protocol inside this process, and a Flight server that names it. */
async function withRoads(
  dataset: Dataset,
  run: (location: string, transport: LoopbackTransport, calls: string[]) => Promise<void>,
  faults: Partial<ConstructorParameters<typeof LoopbackTransport>[0]> = {},
  flight: (call: FakeCall) => Promise<void> = (call) => call.data(dataset).then(() => call.finish()),
): Promise<void> {
  const transport = new LoopbackTransport({ seed: 1, ...faults });
  await using ours = await serve({ datasets: { numbers: dataset }, transport });
  // As a server of datasets has it: they may be requested again.
  const expirationTime = new Date(Date.now() + 60_000);
  const named = [endpoint("numbers", { locations: [...ours.datasets[0].uris, REUSE], expirationTime })];
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoGet") await flight(call);
    else await answer(call, named);
  });
  await run(server.location, transport, server.calls);
}

Deno.test("UCX is used if it answers; flight and ucx can be requested", async () => {
  await withRoads(await numbers(0, 3), async (location, transport, calls) => {
    for (const [route, taken] of [["auto", "ucx"], ["ucx", "ucx"], ["flight", "flight"]] as const) {
      calls.length = 0;
      const events: EndpointStats[] = [];
      await using stream = await connect(location, {
        flight: { path: "x" },
        route,
        ...(route === "flight" ? {} : { transport }),
      });
      stream.addEventListener("route", (event) => events.push((event as CustomEvent<EndpointStats>).detail));
      assertEquals(await values(stream), [0, 1, 2]);
      assertEquals(stream.stats.route, taken);
      assertEquals(events.map(({ route }) => route), [taken]);
      assertEquals(calls, taken === "ucx" ? ["GetFlightInfo"] : ["GetFlightInfo", "DoGet"]);
      assertEquals(
        stream.stats.routeReason,
        taken === "ucx" ? "the server offers UCX, and it answered" : 'requested by route: "flight"',
      );
    }
  });
});

Deno.test("UCX that fails before the first batch gives way to DoGet, and no batch comes twice", async () => {
  // Message 0 is the schema, 1 the first batch's metadata or body.
  for (const dropAtMessage of [0, 1, 2]) {
    await withRoads(await numbers(0, 3), async (location, transport, calls) => {
      await using stream = await connect(location, { flight: { path: "x" }, transport });
      assertEquals(await values(stream), [0, 1, 2]);
      assertEquals([stream.stats.route, calls], ["flight", ["GetFlightInfo", "DoGet"]], `dropped at ${dropAtMessage}`);
      assertStringIncludes(stream.stats.routeReason, "UCX failed: connection_lost");
    }, { dropAtMessage });
  }
});

Deno.test("UCX that fails after the first batch is an error, and nothing is fetched again", async () => {
  const read = Promise.withResolvers<void>();
  async function* breaking() {
    for (const n of [0, 1, 2]) yield tableFromArrays({ n: Int32Array.of(n) }).batches[0];
    await read.promise;
    throw new Error("the source broke");
  }
  await withRoads(await fromBatches(breaking()), async (location, transport, calls) => {
    await using stream = await connect(location, { flight: { path: "x" }, transport });
    const found: number[] = [];
    const error = await assertDipcError("io", "", async () => {
      for await (using batch of stream) {
        found.push(batch.getChildAt(0)!.get(0));
        if (found.length === 3) read.resolve();
      }
    });
    assertEquals([found, error.batches, calls], [[0, 1, 2], 3, ["GetFlightInfo"]]);
    assertEquals([stream.stats.route, stream.stats.complete], ["ucx", false]);
  });
});

Deno.test("route ucx never falls back, and says what there was", async () => {
  await withRoads(await numbers(0, 3), async (location, transport, calls) => {
    await assertDipcError(
      "connection_lost",
      "",
      () => connect(location, { flight: { path: "x" }, route: "ucx", transport }),
    );
    assertEquals(calls, ["GetFlightInfo"]);
  }, { dropAtMessage: 0 });
  await using server = await fakeFlight((call) => answer(call, [endpoint("0:1")]));
  await assertDipcError(
    "unreachable",
    "the server offers no ucx: location",
    () => connect(server.location, { flight: { path: "x" }, route: "ucx" }),
  );
});

Deno.test("a ucx: server that stays silent is abandoned in time, and DoGet is used", async () => {
  // It accepts connections and never answers.
  await using silent = await fakeFlight(() => new Promise(() => {}));
  const port = silent.location.replace(/^.*:/, "");
  const locations = [`ucx://127.0.0.1:${port}/x?want_data=1&dipc=1`];
  await using server = await fakeFlight((call) => answer(call, [endpoint("3:2", { locations })]));
  const started = performance.now();
  const silence = { connect: () => new Promise<never>(() => {}) } as unknown as LoopbackTransport;
  await using stream = await connect(server.location, { flight: { path: "x" }, transport: patient(silence) });
  assertSoon("abandoned", started);
  assertEquals(await values(stream), [3, 4]);
  assertStringIncludes(
    stream.stats.routeReason,
    "UCX failed: timeout: cannot start the stream: no answer within 1.5 s",
  );
});

/** A transport whose connecting ends only with its signal, as UCX's does if a firewall drops everything. */
function patient(transport: LoopbackTransport): LoopbackTransport {
  return new Proxy(transport, {
    get: (target, name) =>
      name !== "connect"
        ? Reflect.get(target, name)
        : (_a: unknown, _b: unknown, { signal }: { signal: AbortSignal }) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  });
}

Deno.test("what does not go together is refused before anything is sent", async () => {
  for (
    const options of [
      { flight: { path: "a", command: "b" } },
      { flight: { path: "a" }, ticket: "b" },
      { ticket: "b", route: "ucx" },
      { flight: { path: "a" }, route: "both" },
      { flight: { path: "a" }, bodyUri: "ucx://h:1/x?want_data=1" },
      { flight: { path: "a", parallelEndpoints: 0 } },
      { flight: { path: "a", ucxTimeoutMs: 100 }, route: "ucx" },
      { flight: { path: "a" }, route: "flight", library: "libucp.so.0" },
      { flight: { path: "a", tokens: "b" } },
      { path: "a" },
      {},
    ]
  ) {
    await assertDipcError(
      "invalid_argument",
      "",
      () => connect(CLOSED, options as ConnectOptions),
      JSON.stringify(options),
    );
  }
});
