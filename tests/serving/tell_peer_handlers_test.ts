/** What clients learn when a handler of a Flight server fails: its own text for them, and nothing of dipc's texts. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import {
  FlightClient,
  type FlightHandlers,
  type FlightInfo,
  type FlightServerEventDetail,
  serveFlight,
} from "../../flight.ts";
import { arrowFile, connect, type Dataset, DipcError, fromTable, openPath, serve } from "../../mod.ts";
import { GrpcStatus, grpcStatusOf } from "../../src/grpc/status.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import { needsUcx } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { assertSaysNothing, failingDataset, SECRET, textsOf } from "./support/secrets.ts";

/** Nobody listens there, and no server of these tests has that address. */
const NOWHERE = "127.0.0.9:1";
const NOTHING = new Uint8Array(0);
const INFO: FlightInfo = {
  schema: NOTHING,
  descriptor: null,
  endpoints: [],
  totalRecords: -1n,
  totalBytes: -1n,
  ordered: true,
  appMetadata: NOTHING,
};

async function numbers(): Promise<Dataset> {
  return await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
}

async function caught(work: () => unknown, what: string): Promise<DipcError> {
  return await assertRejects(async () => void await work(), DipcError, undefined, what) as DipcError;
}

type Call = (client: FlightClient) => Promise<unknown>;

/** How a client comes to each handler. */
const CALLS: Record<Exclude<keyof FlightHandlers, "actions"> | "actions" | "results" | "basic" | "bearer", Call> = {
  onCall: (client) => Array.fromAsync(client.listActions()),
  handshake: (client) => Array.fromAsync(client.handshake([])),
  listFlights: (client) => Array.fromAsync(client.listFlights()),
  getFlightInfo: (client) => client.getFlightInfo({ path: "x" }),
  pollFlightInfo: (client) => client.pollFlightInfo({ path: "x" }),
  getSchema: (client) => client.getSchema({ path: "x" }),
  doGet: async (client) => {
    await using reader = await client.doGet("x");
    for await (const { batch } of reader) batch?.[Symbol.dispose]();
  },
  doPut: async (client) => await client.put({ path: "x" }, await numbers()),
  doExchange: async (client) => {
    await using exchange = await client.doExchange({ command: "x" });
    await exchange.doneWriting();
    for await (const { batch } of exchange.reader) batch?.[Symbol.dispose]();
  },
  actions: (client) => Array.fromAsync(client.doAction("own")),
  results: (client) => Array.fromAsync(client.doAction("results")),
  doAction: (client) => Array.fromAsync(client.doAction("other")),
  listActions: (client) => Array.fromAsync(client.listActions()),
  cancelFlightInfo: (client) => client.cancelFlightInfo(INFO),
  renewFlightEndpoint: (client) =>
    client.renewFlightEndpoint({ ticket: NOTHING, locations: [], expirationTime: null, appMetadata: NOTHING }),
  checkSessionOption: (client) => client.setSessionOptions({ x: 1n }),
  _changeSession: (client) => client.setSessionOptions({ x: 1n }),
  basic: (client) => client.authenticateBasic("ada", "x"),
  bearer: (client) => client.getFlightInfo({ path: "x" }),
};

/** Handlers of which one throws. */
class Failing {
  /** The one that throws. */
  name = "";
  /** What it throws. */
  error: unknown = null;

  readonly #fail = (name: string): void => {
    if (name === this.name) throw this.error;
  };

  readonly handlers: FlightHandlers = {
    onCall: () => this.#fail("onCall"),
    // deno-lint-ignore require-yield
    handshake: async function* (this: Failing) {
      await this.#fail("handshake");
    }.bind(this),
    // deno-lint-ignore require-yield
    listFlights: function* (this: Failing) {
      this.#fail("listFlights");
    }.bind(this),
    getFlightInfo: () => void this.#fail("getFlightInfo") as undefined,
    pollFlightInfo: () => void this.#fail("pollFlightInfo") as undefined,
    getSchema: () => void this.#fail("getSchema") as undefined,
    doGet: () => void this.#fail("doGet") as undefined,
    doPut: () => this.#fail("doPut"),
    doExchange: () => this.#fail("doExchange"),
    actions: {
      own: { run: () => this.#fail("actions") },
      results: {
        run: async function* (this: Failing) {
          yield NOTHING;
          await this.#fail("results");
        }.bind(this),
      },
    },
    doAction: () => void this.#fail("doAction") as undefined,
    listActions: () => {
      this.#fail("listActions");
      return [];
    },
    cancelFlightInfo: () => void this.#fail("cancelFlightInfo") as undefined,
    renewFlightEndpoint: () => void this.#fail("renewFlightEndpoint") as undefined,
    checkSessionOption: () => {
      this.#fail("checkSessionOption");
      return null;
    },
    _changeSession: async (changes) => {
      await this.#fail("_changeSession");
      return { changes, errors: new Map() };
    },
  };

  readonly auth = {
    basic: () => {
      this.#fail("basic");
      return true;
    },
    bearer: () => {
      this.#fail("bearer");
      return "ada";
    },
  };
}

/** Lets every handler throw the error in turn; returns what its client received. */
async function throughAll(error: unknown, check: (found: DipcError, handler: string) => void): Promise<void> {
  const failing = new Failing();
  failing.error = error;
  await using open = await serveFlight({ handlers: failing.handlers });
  // A handshake of its own would leave no room for that of basic authentication.
  const handlers = { ...failing.handlers, handshake: undefined };
  await using guarded = await serveFlight({ handlers, auth: failing.auth });
  const log: DipcError[] = [];
  for (const server of [open, guarded]) {
    server.addEventListener(
      "error",
      (event) => log.push((event as CustomEvent<FlightServerEventDetail>).detail.error!),
    );
  }
  for (const [name, call] of Object.entries(CALLS)) {
    failing.name = name;
    const server = name === "basic" || name === "bearer" ? guarded : open;
    await using client = await FlightClient.connect(server.location, name === "bearer" ? { token: "x" } : {});
    const before = log.length;
    check(await caught(() => call(client), name), name);
    for (let tries = 0; log.length === before && tries < 100; tries++) await new Promise((r) => setTimeout(r, 5));
    assert(log.length > before, `${name}: no event of the server tells of it`);
    if (error instanceof DipcError) assertEquals(log.at(-1)!.message, error.message, name);
  }
}

/** Errors of dipc itself, as handlers meet them, with what their texts name. */
async function ownErrors(): Promise<Map<string, DipcError>> {
  using folder = new TemporaryFolder();
  const file = folder.file("private.arrow");
  Deno.writeTextFileSync(file, "ARROW1 and no more");
  const quoting = await serveFlight({
    handlers: {
      getFlightInfo: () => {
        throw new DipcError("not_found", SECRET);
      },
    },
  });
  const loopback = new LoopbackTransport({ seed: 1 });
  const inner = await numbers();
  const far = await serve({
    datasets: { private: failingDataset(inner, "next", () => new Error()) },
    transport: loopback,
  });
  const [uri] = far.datasets[0].uris;
  const asking = async (location: string, options = {}) => {
    await using client = await FlightClient.connect(location, options);
    await client.getFlightInfo({ path: "private" });
  };
  const reading = async (ticket?: string) => {
    await using reader = await connect(uri, { transport: loopback, ticket });
    for await (const batch of reader) batch[Symbol.dispose]();
  };
  const works: Record<string, () => unknown> = {
    "a file that is missing": () => openPath("/srv/private.arrow"),
    "a folder in place of a file": () => openPath(folder.path),
    "a damaged file": () => arrowFile(file),
    "a served file that is missing": () => serve({ datasets: { a: "/srv/private.arrow" }, flight: { ucx: "off" } }),
    "a URI that is none": () => connect("ucx://10.1.2.3:99999/private?want_data=1"),
    "a URI that lacks its tag": () => connect("ucx://10.1.2.3:4711/private"),
    "a location that is none": () => FlightClient.connect("grpc://10.1.2.3:99999/private"),
    "a location without TLS": () => FlightClient.connect("grpc://10.1.2.3:4711", { tls: {} }),
    "a Flight server that is away": () => asking(`grpc://${NOWHERE}`),
    "the text of a Flight server": () => asking(quoting.location),
    "a library that is missing": () =>
      connect(`ucx://${NOWHERE}/private?want_data=1`, { library: "/srv/private/libucp.so" }),
    "the text of a server": () => reading("secret"),
    "a stream that ends early": () => reading(),
  };
  if (needsUcx.present) works["a server that is away"] = () => connect(`ucx://${NOWHERE}/private?want_data=1`);
  const errors = new Map<string, DipcError>();
  for (const [name, work] of Object.entries(works)) errors.set(name, await caught(work, name));
  await quoting.shutdown();
  await far.shutdown();
  return errors;
}

Deno.test("errors of dipc that a handler meets reach its client as a status, without their texts", async () => {
  for (const [what, error] of await ownErrors()) {
    await throughAll(error, (found, handler) => {
      const where = `${what}, ${handler}`;
      assertEquals(found.foreign?.status, grpcStatusOf(error), where);
      assertSaysNothing(textsOf(found), where, [NOWHERE, error.message]);
      assertStringIncludes(found.message, "its own log says why", where);
    });
  }
});

Deno.test("what is not an error of dipc reaches a handler's client as INTERNAL, without its text", async () => {
  const bare = Object.assign(Object.create(null), { message: SECRET });
  for (const thrown of [new Error(SECRET), new Deno.errors.NotFound(SECRET), SECRET, bare, null, undefined]) {
    await throughAll(thrown, (found, handler) => {
      assertEquals(found.foreign?.status, GrpcStatus.internal, handler);
      assertSaysNothing(textsOf(found), handler);
    });
  }
});

Deno.test("what a handler says to its client arrives", async () => {
  const text = "no such table";
  await throughAll(new DipcError("not_found", text), (found, handler) => {
    assertEquals([found.code, found.foreign?.text], ["not_found", text], handler);
  });
  const foreign = { system: "grpc", status: GrpcStatus.failedPrecondition, text: "not before noon" };
  await throughAll(new DipcError("flight", SECRET, { foreign }), (found, handler) => {
    assertEquals([found.foreign?.status, found.foreign?.text], [foreign.status, foreign.text], handler);
    assertSaysNothing(textsOf(found), handler);
  });
});
