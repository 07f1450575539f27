/**
 * pyarrow's Flight client with our server.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { type Dataset, serve, type ServeOptions, type Server } from "../../mod.ts";
import type { FlightHandlers, FlightServerEventDetail } from "../../flight.ts";
import { numbered } from "../../tools/flight_integration/default_server.ts";
import { echo } from "../../tools/flight_integration/echo_server.ts";
import { delay, until } from "../support/time.ts";
import { utf8 } from "../support/bytes.ts";
import { Authority } from "../support/certificates.ts";
import { pythonClient, type PythonClientOptions, type PythonResult } from "../support/flight_python.ts";
import { generated, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { compareByPyarrow, needsPython } from "../support/python.ts";

const MiB = 2 ** 20;
const needs = [needsPython];

type FlightOptions = NonNullable<ServeOptions["flight"]>;

/** Our server, by Flight alone. */
async function serveFlight(datasets: ServeOptions["datasets"], flight: FlightOptions = {}): Promise<Server> {
  return await serve({ datasets, flight: { ucx: "off", ...flight } });
}

/** Runs steps of pyarrow's client and expects each of them to go well. */
async function steps(options: PythonClientOptions): Promise<unknown[]> {
  const results = await pythonClient(options);
  return results.map(({ value, error, message }, i) => {
    if (error !== undefined) throw new Error(`${JSON.stringify(options.steps[i])}: ${error}: ${message}`);
    return value;
  });
}

/** Class of the exception of each step, or `null`. */
function errors(results: readonly PythonResult[]): (string | null)[] {
  return results.map(({ error }) => error ?? null);
}

testNeeding(
  [...needs, needsUcx],
  "pyarrow finds datasets, their schemas and locations, and fetches them whole",
  async () => {
    using folder = new TemporaryFolder();
    const table = tableFromArrays({
      n: Int32Array.of(1, 2, 3),
      text: ["a", "b", "a"],
    });
    const file = folder.file("t.arrow");
    Deno.writeFileSync(file, tableToIPC(table, "file"));
    await using server = await serve({ datasets: { t: file, other: table }, flight: {} });
    const back = folder.file("back.arrows");
    const [all, some, info, byCommand, schema, got] = await steps({
      location: server.flight!.location,
      steps: [
        ["list"],
        ["list", "oth"],
        ["flight_info", ["t"]],
        ["flight_info", { command: "t" }],
        ["schema", ["t"]],
        ["get", ["t"], back],
      ],
      // deno-lint-ignore no-explicit-any
    }) as any[];
    const names = (infos: { path: string[] }[]) => infos.map(({ path }) => path[0]).sort();
    assertEquals([names(all), names(some)], [["other", "t"], ["other"]]);
    assertEquals([info.rows, info.path, info.ordered, byCommand.command], [3, ["t"], true, "t"]);
    assertGreater(info.bytes, 0);
    const [{ locations, expires, ticket }] = info.endpoints;
    assertEquals(locations.length, 2);
    assertMatch(locations[0], /^ucx:\/\/127\.0\.0\.1:/);
    assertEquals([locations[1], expires], [server.flight!.location, true]);
    assert(ticket.length > 40, "the ticket is not the dataset's name");
    assertEquals(schema, [
      "pyarrow.Field<n: int32 not null>",
      "pyarrow.Field<text: dictionary<values=string, indices=int32, ordered=0>>",
    ]);
    assertEquals([info.fields, got.rows], [schema, 3]);
    const [{ equal, reason }] = await compareByPyarrow([{ name: "t", want: file, got: back }]);
    assert(equal, reason);
  },
);

testNeeding(
  needs,
  "pyarrow's DoPut is acknowledged batch by batch, served at once, and replaced by the next",
  async () => {
    using folder = new TemporaryFolder();
    const first = folder.file("first.arrows");
    const second = folder.file("second.arrows");
    Deno.writeFileSync(
      first,
      tableToIPC(tableFromArrays({ n: Int32Array.of(1, 2, 3), text: ["a", "b", "a"] }), "stream"),
    );
    Deno.writeFileSync(second, tableToIPC(tableFromArrays({ other: Float64Array.of(0.5) }), "stream"));
    for (const allowPut of [true, folder.path]) {
      const back = [folder.file("back1.arrows"), folder.file("back2.arrows")];
      await using server = await serveFlight({ own: first }, { allowPut });
      const { location } = server.flight!;
      const [answers, , , nothing] = await steps({
        location,
        steps: [
          ["put", ["up"], first, true],
          ["get", ["up"], back[0]],
          ["put", ["up"], second],
          ["get", ["up"], back[1]],
        ],
      });
      assertEquals([answers, (nothing as { rows: number }).rows], [["0"], 1]);
      const compared = await compareByPyarrow([
        { name: "first", want: first, got: back[0] },
        { name: "second", want: second, got: back[1] },
      ]);
      assertEquals(compared.map(({ reason }) => reason), ["", ""]);
      // What is the server's own stays: ALREADY_EXISTS, for which pyarrow has no class.
      assertEquals(errors(await pythonClient({ location, steps: [["put", ["own"], second], ["get", ["own"]]] })), [
        "ArrowException",
        null,
      ]);
    }
    await using closed = await serveFlight({ own: first });
    const refused = await pythonClient({ location: closed.flight!.location, steps: [["put", ["up"], first]] });
    assertEquals(errors(refused), ["ArrowNotImplementedError"]);
  },
);

testNeeding(needs, "pyarrow's DoExchange, actions and headers reach handlers, and their answers pyarrow", async () => {
  const handlers: FlightHandlers = {
    onCall: ({ headers, responseHeaders }) => {
      const value = headers.get("x-echo");
      if (value !== null) responseHeaders.set("x-echo", value);
    },
    doExchange: echo,
    actions: {
      twice: { description: "its body, twice", run: (body) => [body, body] },
      silent: { run: () => {} },
      fails: {
        run: () => {
          throw new Error("a secret of the server");
        },
      },
    },
  };
  await using server = await serveFlight({ n: tableFromArrays({ n: Int32Array.of(1) }) }, { handlers });
  const results = await pythonClient({
    location: server.flight!.location,
    steps: [
      ["exchange", "echo", [3, 0, 2]],
      ["action", "twice", "hello"],
      ["action", "silent"],
      ["actions"],
      ["header", "x-echo", "there and back"],
      ["flight_info", ["n"]],
      ["received", "x-echo"],
      ["action", "fails"],
      ["action", "missing"],
      ["flight_info", ["missing"]],
    ],
  });
  assertEquals(results.slice(0, 3).map(({ value }) => value), [
    [
      { values: null, app_metadata: "before the schema" },
      { values: [0, 1, 2], app_metadata: null },
      { values: [], app_metadata: "number 1" },
      { values: [0, 1], app_metadata: null },
    ],
    ["hello", "hello"],
    [],
  ]);
  assertEquals(results[3].value.slice(0, 3), ["twice", "silent", "fails"]);
  assertEquals(results[6].value, ["there and back"]);
  assertEquals(errors(results.slice(7)), ["FlightInternalError", "ArrowNotImplementedError", "ArrowKeyError"]);
  assert(!results[7].message!.includes("secret"), results[7].message);
});

testNeeding(needs, "application metadata of a handler's batches reaches pyarrow", async () => {
  const handlers: FlightHandlers = {
    doGet: (ticket) => ticket.byteLength === 1 ? numbered(generated(3, 10)) : undefined,
  };
  await using server = await serveFlight({ n: generated(2, 10) }, { handlers });
  const [numberedGot, plain] = await steps({
    location: server.flight!.location,
    steps: [["get", { hex: "01" }], ["get", ["n"]]],
  }) as { app_metadata: string[]; batches: number }[];
  assertEquals([numberedGot.batches, numberedGot.app_metadata], [3, ["0", "1", "2"]]);
  assertEquals([plain.batches, plain.app_metadata], [2, []]);
});

testNeeding(
  needs,
  "pyarrow reaches a server with TLS by its authority only, and one with mutual TLS by its own certificate",
  async () => {
    const authority = await Authority.create();
    const other = await Authority.create("somebody else");
    const { cert, key } = await authority.issue("server");
    const client = await authority.issue("client");
    const stranger = await other.issue("client");
    const get: PythonClientOptions["steps"] = [["get", ["n"]]];
    {
      await using server = await serveFlight({ n: generated(2, 10) }, { tls: { cert, key } });
      const { location } = server.flight!;
      assertMatch(location, /^grpc\+tls:/);
      await steps({ location, ca: authority.cert, steps: get });
      const refused = await pythonClient({ location, ca: other.cert, steps: get, timeout: 5 });
      assertMatch(errors(refused)[0]!, /^Flight(Unavailable|TimedOut)Error$/);
      const plain = await pythonClient({ location: location.replace("grpc+tls", "grpc"), steps: get, timeout: 5 });
      assertMatch(errors(plain)[0]!, /^Flight(Unavailable|TimedOut)Error$/);
    }
    await using server = await serveFlight({ n: generated(2, 10) }, { tls: { cert, key, clientCa: authority.cert } });
    const { location } = server.flight!;
    await steps({ location, ca: authority.cert, ...client, steps: get });
    for (const own of [{}, stranger]) {
      const refused = await pythonClient({ location, ca: authority.cert, ...own, steps: get, timeout: 5 });
      assertMatch(errors(refused)[0]!, /^Flight(Unavailable|TimedOut)Error$/);
    }
  },
);

testNeeding(needs, "pyarrow authenticates by password, by handshake and by token, and not without", async () => {
  const auth: FlightOptions["auth"] = {
    basic: (user, password) => user === "ada" && password === "count:less",
    bearer: (token) => token === "a-token" ? "bob" : null,
  };
  const handlers: FlightHandlers = {
    actions: { whoami: { run: (_, { user }) => [utf8(user ?? "")] } },
  };
  await using server = await serveFlight({ n: generated(2, 10) }, { auth, handlers });
  const { location } = server.flight!;
  const rest: PythonClientOptions["steps"] = [["action", "whoami"], ["get", ["n"]]];
  for (const step of ["basic", "handshake"]) {
    const [header, user] = await steps({ location, steps: [[step, "ada", "count:less"], ...rest] });
    assertEquals(user, ["ada"]);
    if (step === "basic") assertMatch((header as string[]).join(), /^authorization,Bearer \S+$/);
  }
  assertEquals((await steps({ location, bearer: "a-token", steps: rest }))[0], ["bob"]);
  const refused = [
    ...await pythonClient({ location, steps: [["basic", "ada", "wrong"], ["handshake", "ada", "wrong"], ...rest] }),
    ...await pythonClient({ location, bearer: "wrong", steps: rest }),
  ];
  assertEquals(errors(refused), refused.map(() => "FlightUnauthenticatedError"));
  // A refused call, whose request nobody has read, must not count as under way: that would lock others out.
  await until(() => server.flight!.activeCalls === 0);
});

testNeeding(needs, "batches of 64 MiB and 512 MiB go to pyarrow and come from it", async () => {
  const [small, large] = [rowsOf(64 * MiB), rowsOf(512 * MiB)];
  await using server = await serveFlight({ small: generated(3, small), large: generated(1, large) }, {
    allowPut: true,
  });
  const results = await steps({
    location: server.flight!.location,
    steps: [
      ["get_counting", ["small"]],
      ["get_counting", ["large"]],
      // What it uploads counts up from 0, as the first batch of each dataset does.
      ["put_big", ["up-small"], 1, 64 * MiB],
      ["put_big", ["up-large"], 1, 512 * MiB],
      ["get_counting", ["up-small"]],
      ["get_counting", ["up-large"]],
    ],
    timeout: 60,
  });
  assertEquals([0, 1, 4, 5].map((step) => results[step]), [
    { batches: 3, rows: 3 * small, wrong: 0 },
    { batches: 1, rows: large, wrong: 0 },
    { batches: 1, rows: small, wrong: 0 },
    { batches: 1, rows: large, wrong: 0 },
  ]);
});

/** Waits for the end of a DoGet. */
function endOfGet(server: Server): Promise<FlightServerEventDetail> {
  return new Promise((resolve) => {
    for (const type of ["end", "error"]) {
      server.flight!.addEventListener(type, (event) => {
        const { detail } = event as CustomEvent<FlightServerEventDetail>;
        if (detail.method === "DoGet") resolve(detail);
      });
    }
  });
}

testNeeding(needs, "a stream that pyarrow cancels ends at the server, which goes on", async () => {
  await using server = await serveFlight({ endless: generated(1_000_000, rowsOf(MiB)), n: generated(2, 10) });
  const ended = endOfGet(server);
  const [cancelled, after] = await steps({
    location: server.flight!.location,
    steps: [["get_then_cancel", ["endless"], 3], ["get", ["n"]]],
  }) as { end: string; rows: number }[];
  assertEquals([cancelled.end, after.rows], ["FlightCancelledError", 20]);
  const { batches, error } = await ended;
  assert(batches >= 2 && batches < 1000, `${batches} batches were sent`);
  assertEquals(error?.code, "cancelled");
  assertEquals(server.flight!.activeCalls, 0);
});

testNeeding(needs, "a stream that the server cuts is an error to pyarrow, not an end", async () => {
  await using server = await serveFlight({ endless: generated(1_000_000, rowsOf(MiB)) });
  const ended = endOfGet(server);
  const running = pythonClient({ location: server.flight!.location, steps: [["get", ["endless"]]] });
  await until(() => server.flight!.activeCalls > 0);
  await delay(300); // into the middle of the stream
  await server.shutdown({ timeoutMs: 0 });
  const [result] = await running;
  assertMatch(result.error ?? "none", /^Flight\w+Error$|^ArrowException$/);
  assertEquals((await ended).error?.code, "closed");
});

testNeeding(
  needs,
  "a dataset that fails half-way is an error to pyarrow, without what is the server's own",
  async () => {
    const dataset = generated(3, 10);
    const failing: Dataset = {
      ...dataset,
      open() {
        let left = 2;
        const run = dataset.open() as { next(): unknown; close(): void };
        return {
          next: () => {
            if (left-- === 0) throw new Error("/a/path/of/the/server");
            // deno-lint-ignore no-explicit-any
            return run.next() as any;
          },
          close: () => run.close(),
        };
      },
    };
    await using server = await serveFlight({ failing });
    const [result] = await pythonClient({ location: server.flight!.location, steps: [["get", ["failing"]]] });
    assertEquals(result.error, "FlightInternalError");
    assert(!result.message!.includes("/a/path"), result.message);
  },
);

testNeeding(needs, "a file that pyarrow uploaded is served by a later server from the same folder", async () => {
  using folder = new TemporaryFolder();
  const file = folder.file("n.arrows");
  Deno.writeFileSync(file, tableToIPC(tableFromArrays({ n: Int32Array.of(7, 8) }), "stream"));
  Deno.mkdirSync(folder.file("up"));
  {
    await using server = await serveFlight({}, { allowPut: folder.file("up") });
    await steps({ location: server.flight!.location, steps: [["put", ["kept"], file]] });
  }
  await using server = await serveFlight({ kept: folder.file("up/kept.arrows") });
  const [got] = await steps({ location: server.flight!.location, steps: [["get", ["kept"]]] });
  assertEquals((got as { rows: number }).rows, 2);
});
