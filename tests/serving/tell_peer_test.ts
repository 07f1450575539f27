/** What clients learn when a dataset fails: a code and no more, by UCX and by Flight, whatever the dataset throws and when. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import {
  connect,
  type Dataset,
  DipcError,
  type DipcErrorCode,
  fromTable,
  serve,
  type ServeOptions,
  type Server,
} from "../../mod.ts";
import { errorOfGrpcStatus, GrpcStatus, grpcStatusOf } from "../../src/grpc/status.ts";
import type { Transport } from "../../src/wire/transport.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { rawDoGet } from "./support/raw_do_get.ts";
import {
  assertSaysNothing,
  CODES,
  failingDataset,
  FOREIGN,
  POINTS,
  QUOTED,
  SECRET,
  textsOf,
} from "./support/secrets.ts";

/** One dataset that fails. */
interface Case {
  readonly name: string;
  readonly code: DipcErrorCode;
  readonly dataset: Dataset;
}

async function good(): Promise<Dataset> {
  return await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
}

/** Every code with and without what led to it, and things that are not an error of dipc, at every point. */
async function failures(): Promise<Case[]> {
  const inner = await good();
  const thrown: [string, DipcErrorCode, () => unknown][] = [
    ["Error", "internal", () => new Error(SECRET, { cause: FOREIGN.cause })],
    ["NotFound", "internal", () => new Deno.errors.NotFound(SECRET)],
    ["text", "internal", () => SECRET],
    ["object", "internal", () => ({ message: SECRET, code: "io" })],
    ["bare object", "internal", () => Object.assign(Object.create(null), { message: SECRET })],
    ["null", "internal", () => null],
    ["undefined", "internal", () => undefined],
  ];
  for (const code of CODES) {
    thrown.push([code, code, () => new DipcError(code, SECRET)]);
    thrown.push([`${code} foreign`, code, () => new DipcError(code, SECRET, FOREIGN)]);
    thrown.push([`${code} quoted`, code, () => new DipcError(code, SECRET, QUOTED)]);
  }
  return thrown.flatMap(([what, code, make]) =>
    POINTS.map((point) => ({ name: `${what} ${point}`, code, dataset: failingDataset(inner, point, make) }))
  );
}

/** How clients fetch: by dissociated streams, or by Flight. */
interface Way {
  readonly route: "ucx" | "flight";
  /** In place of UCX; then there is no Flight beside it. */
  readonly transport?: Transport;
}

/** Reads a stream to its end, which is a failure. */
async function failureOf(server: Server, name: string, { route, transport }: Way): Promise<DipcError> {
  const [uri] = server.datasets.find((each) => each.name === name)!.uris;
  return await assertRejects(
    async () => {
      await using stream = transport === undefined
        ? await connect(server.flight!.location, { route, flight: { path: [name] } })
        : await connect(uri, { transport });
      for await (const batch of stream) batch[Symbol.dispose]();
    },
    DipcError,
    undefined,
    `${name} by ${route}`,
  ) as DipcError;
}

/** The texts of the server's own `error` events, by the name of the dataset. */
function logOf(target: EventTarget): Map<string, DipcError> {
  const log = new Map<string, DipcError>();
  target.addEventListener("error", (event) => {
    const { dataset, error } = (event as CustomEvent<{ dataset?: string; error?: DipcError }>).detail;
    log.set(dataset!, error!);
  });
  return log;
}

/** The status that a failure has by Flight: that of another Flight server if it came from there, else that of its code. */
function statusOf({ name, code }: Pick<Case, "name" | "code">): number {
  return name.includes(" quoted ") ? QUOTED.foreign!.status : grpcStatusOf(new DipcError(code, ""));
}

/** The code that a client of Flight gets: the server's own, unless the failure has the status of another Flight server. */
function byFlight({ name, code }: Pick<Case, "name" | "code">): DipcErrorCode {
  return name.includes(" quoted ") ? errorOfGrpcStatus(QUOTED.foreign!.status, "", "").code : code;
}

/** Waits until the server has told of everything that went wrong. */
async function settled(log: Map<string, DipcError>, size: number): Promise<void> {
  for (let tries = 0; log.size < size && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Fetches failing datasets, and compares what clients and server say. */
async function testWay(cases: readonly Case[], way: Way): Promise<void> {
  const { route, transport } = way;
  const datasets = Object.fromEntries(cases.map(({ name, dataset }) => [name, dataset]));
  const flight: ServeOptions["flight"] = route === "ucx" ? {} : { ucx: "off" };
  await using server = await serve({ datasets, ...(transport === undefined ? { flight } : { transport }) });
  const log = logOf(route === "ucx" ? server : server.flight!);
  for (const { name, code } of cases) {
    const error = await failureOf(server, name, way);
    assertEquals(error.code, route === "ucx" ? code : byFlight({ name, code }), `${name}: ${error.message}`);
    assertSaysNothing(textsOf(error), `${name} by ${route}`);
  }
  await settled(log, cases.length);
  for (const { name, code } of cases) {
    const error = log.get(name);
    assert(error !== undefined, `${name}: no event of the server tells of it`);
    assertEquals(error.code, code, name);
    if (!/^(null|undefined|object|bare object) /.test(name)) assertStringIncludes(error.message, SECRET, name);
  }
  console.log(`${cases.length} failures by ${route}`);
}

Deno.test("a client of dissociated streams learns the code of a dataset's failure, and its server the text", async () => {
  await testWay(await failures(), { route: "ucx", transport: new LoopbackTransport({ seed: 1 }) });
});

Deno.test("a client of Flight learns the code of a dataset's failure, and its server the text", async () => {
  await testWay(await failures(), { route: "flight" });
});

testNeeding([needsUcx], "it is so by UCX itself, for each kind of failure at one point or another", async () => {
  const all = await failures();
  const some = all.filter((_, i) => i % POINTS.length === Math.floor(i / POINTS.length) % POINTS.length);
  await testWay(some, { route: "ucx" });
});

Deno.test("neither headers nor trailers of a failed DoGet have anything of the server's inside", async () => {
  const cases = await failures();
  const datasets = Object.fromEntries(cases.map(({ name, dataset }) => [name, dataset]));
  await using server = await serve({ datasets, flight: { ucx: "off" } });
  for (const { name, code } of cases) {
    const { status, fields } = await rawDoGet(server.flight!.location, name);
    assertEquals(status, statusOf({ name, code }), name);
    assertSaysNothing(decodeURIComponent(fields), name);
  }
});

Deno.test("a dataset that fails when its run is closed, or asked for its schema, tells clients no more", async () => {
  const inner = await good();
  const fail = (): never => {
    throw new DipcError("invalid_data", SECRET);
  };
  const closing: Dataset = {
    schema: inner.schema,
    readOnce: false,
    close() {},
    async open() {
      const run = await inner.open();
      return { next: () => run.next(), close: fail };
    },
  };
  const handed: Dataset = { ...closing, open: () => inner.open(), close: fail };
  const schemaless: Dataset = {
    get schema() {
      return fail();
    },
    readOnce: false,
    close() {},
    open: () => inner.open(),
  };
  const given: Record<string, Dataset> = { handed, schemaless };
  await using server = await serve({
    datasets: { closing },
    flight: { ucx: "off", handlers: { doGet: (ticket) => given[new TextDecoder().decode(ticket)] } },
  });
  for (const name of ["closing", "handed", "schemaless"]) {
    const { status, fields } = await rawDoGet(server.flight!.location, name);
    assertEquals(status, GrpcStatus.invalidArgument, name);
    assertSaysNothing(decodeURIComponent(fields), name);
  }
});
