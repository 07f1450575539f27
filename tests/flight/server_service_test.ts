/** What a Flight server does beside its calls: certificates, shutting down, limits, uploads, and what it keeps to itself. */
import { assert, assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import { create, toBinary } from "@bufbuild/protobuf";
import { tableFromArrays } from "apache-arrow";
import {
  type Dataset,
  DipcError,
  FlightClient,
  type FlightServerLimits,
  GrpcStatus,
  serveFlight,
} from "../../flight.ts";
import { connect, fromTable, serve, type Server } from "../../mod.ts";
import { repeat } from "../support/repeat.ts";
import type { FlightServerEventDetail } from "../../flight.ts";
import { ActionSchema } from "../../src/flight/gen/flight_pb.ts";
import { Flag, frame, FrameType } from "../../src/http2/frames.ts";
import { collect } from "../../src/memory/collector.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { delay, until } from "../support/time.ts";
import { Authority } from "../support/certificates.ts";
import { join } from "../support/bytes.ts";
import { RawClient, request, requestBlock } from "../support/http2_raw.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { rowsOf } from "./support/rows.ts";

const table = (rows: number) => tableFromArrays({ n: Int32Array.from({ length: rows }, (_, i) => i) });

/** Batches of 1 MiB. */
async function large(times: number): Promise<Dataset> {
  const values = Float64Array.from({ length: 131_072 }, (_, i) => i);
  return repeat(await fromTable(tableFromArrays({ n: values })), times);
}

async function failureOf(work: () => Promise<unknown>): Promise<DipcError> {
  return await assertRejects(work, DipcError);
}

async function statusOf(work: () => Promise<unknown>): Promise<number | undefined> {
  const { foreign } = await failureOf(work);
  return foreign?.system === "grpc" ? foreign.status as number : undefined;
}

/** A server of uploads, by Flight alone. */
async function uploadServer(allowPut: boolean | string, limits?: Partial<FlightServerLimits>): Promise<Server> {
  return await serve({ datasets: { own: table(1) }, flight: { ucx: "off", allowPut, limits } });
}

/** Errors that a server tells of on its own side. */
function errorsOf(server: Server): DipcError[] {
  const errors: DipcError[] = [];
  server.flight!.addEventListener("error", (event) => {
    errors.push((event as CustomEvent<FlightServerEventDetail>).detail.error!);
  });
  return errors;
}

Deno.test("TLS: clients that know the authority are served, others and those without TLS are not", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.issue("server");
  await using server = await serve({ datasets: { a: table(3) }, flight: { ucx: "off", tls: { cert, key } } });
  const { location, port } = server.flight!;
  assertMatch(location, /^grpc\+tls:/);
  await using client = await FlightClient.connect(location, { tls: { ca: authority.cert } });
  assertEquals(await rowsOf(client, "a"), 3);
  const stranger = await Authority.create("another authority");
  for (const tls of [undefined, { ca: stranger.cert }]) {
    await failureOf(async () => {
      await using client = await FlightClient.connect(location, { tls, timeoutMs: 4000 });
      await client.getFlightInfo({ path: "a" });
    });
  }
  await failureOf(async () => {
    await using client = await FlightClient.connect(`grpc://127.0.0.1:${port}`, { timeoutMs: 4000 });
    await client.getFlightInfo({ path: "a" });
  });
  assertEquals(await rowsOf(client, "a"), 3);
});

Deno.test("mTLS: only certificates of the authority are let in, and handlers see whose", async () => {
  const authority = await Authority.create();
  const stranger = await Authority.create("another authority");
  const { cert, key } = await authority.issue("server");
  const subjects: unknown[] = [];
  await using server = await serveFlight({
    tls: { cert, key, clientCa: authority.cert },
    handlers: {
      onCall: ({ certificateSubject }) => void subjects.push(certificateSubject),
      actions: { hello: { run: () => [] } },
    },
  });
  const call = async (own?: { cert: string; key: string }) => {
    const tls = { ca: authority.cert, ...own };
    await using client = await FlightClient.connect(server.location, { tls, timeoutMs: 4000 });
    await Array.fromAsync(client.doAction("hello"));
  };
  await call(await authority.issue("ada"));
  assertEquals(subjects, ["ada"]);
  const refused = [undefined, await stranger.issue("ada"), await authority.issue("ada", { expired: true })];
  for (const own of refused) await failureOf(() => call(own));
  assertEquals(subjects, ["ada"]);
});

Deno.test("with certificates of clients a dataset's name is not a ticket, unless that is requested", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.issue("server");
  const tls = { cert, key, clientCa: authority.cert };
  const own = { ca: authority.cert, ...await authority.issue("ada") };
  for (const requireTickets of [undefined, false]) {
    await using server = await serve({ datasets: { a: table(3) }, flight: { ucx: "off", tls, requireTickets } });
    await using client = await FlightClient.connect(server.flight!.location, { tls: own });
    const { endpoints } = await client.getFlightInfo({ path: "a" });
    assertEquals(await rowsOf(client, endpoints[0].ticket), 3);
    if (requireTickets === false) assertEquals(await rowsOf(client, "a"), 3);
    else assertEquals(await statusOf(() => rowsOf(client, "a")), GrpcStatus.permissionDenied);
  }
});

Deno.test("shutting down lets a running DoGet finish, and takes no new calls", async () => {
  const dataset = await large(24);
  const server = await serve({ datasets: { a: dataset }, flight: { ucx: "off" } });
  await using client = await FlightClient.connect(server.flight!.location);
  await using reader = await client.doGet("a");
  let batches = 0;
  let closing: Promise<void> | undefined;
  for await (const { batch } of reader) {
    batch?.[Symbol.dispose]();
    if (++batches !== 1) continue;
    closing = server.shutdown({ timeoutMs: 20_000 });
    await delay(50); // until the shutdown has begun
    await failureOf(async () => {
      await using other = await FlightClient.connect(server.flight!.location, { timeoutMs: 3000 });
      await other.getFlightInfo({ path: "a" });
    });
  }
  assertEquals(batches, 24);
  await closing;
  assertEquals(server.flight!.activeCalls, 0);
});

Deno.test("shutting down ends a DoGet that does not finish in time, and the client hears of it", async () => {
  const server = await serve({ datasets: { a: await large(Infinity) }, flight: { ucx: "off" } });
  await using client = await FlightClient.connect(server.flight!.location);
  await using reader = await client.doGet("a");
  let closing: Promise<void> | undefined;
  const error = await failureOf(async () => {
    for await (const { batch } of reader) {
      batch?.[Symbol.dispose]();
      closing ??= server.shutdown({ timeoutMs: 100 });
    }
  });
  assertEquals(error.code, "closed", `${error}`);
  await closing;
  assertEquals(server.flight!.activeCalls, 0);
});

Deno.test("shutting down at once does not wait for a client that takes nothing of an answer that is complete", async () => {
  const server = await serveFlight({ handlers: { actions: { echo: { run: (body) => [body] } } } });
  const client = await RawClient.connect(Number(new URL(server.location).port), 0);
  const block = requestBlock("/arrow.flight.protocol.FlightService/DoAction");
  const action = toBinary(ActionSchema, create(ActionSchema, { type: "echo", body: new Uint8Array(100) }));
  const message = join(new Uint8Array([0, 0, 0, 0, action.byteLength]), action);
  await client.send(request(1, Flag.endHeaders, block), frame(FrameType.data, Flag.endStream, 1, message));
  // The headers of the answer come, its body does not.
  let hasHeaders = false;
  while (!hasHeaders) hasHeaders = (await client.read())!.some(({ type }) => type === FrameType.headers);
  assertEquals(server.activeCalls, 1);
  // A client may take nothing for five minutes, which the test would not outlive.
  await server.shutdown({ timeoutMs: 0 });
  assertEquals(server.activeCalls, 0);
  client.close();
});

Deno.test("the text of a failure reaches the client whole, blanks at its ends and cuts at a blank too", async () => {
  await using server = await serveFlight({
    handlers: {
      actions: {
        fail: {
          run: (body) => {
            throw new DipcError("not_found", new TextDecoder().decode(body));
          },
        },
      },
    },
  });
  await using client = await FlightClient.connect(server.location);
  for (const text of [" no such table: ", "%", "100 %41", "ä % ö ", `${"x".repeat(1023)} tail`]) {
    const { foreign } = await failureOf(() => Array.fromAsync(client.doAction("fail", text)));
    assertEquals(foreign?.text, text.slice(0, 1024));
  }
});

Deno.test("calls beyond maxCalls are refused, and let in again once there is room", async () => {
  await using server = await serve({
    datasets: { a: await large(Infinity) },
    flight: { ucx: "off", limits: { maxCalls: 2 } },
  });
  const { location } = server.flight!;
  await using one = await FlightClient.connect(location);
  await using two = await FlightClient.connect(location);
  await using three = await FlightClient.connect(location);
  const readers = [await one.doGet("a"), await two.doGet("a")];
  assertEquals(await statusOf(() => three.getSchema({ path: "a" })), GrpcStatus.resourceExhausted);
  for (const reader of readers) await reader[Symbol.asyncDispose]();
  await until(() => server.flight!.activeCalls === 0);
  assertGreater((await three.getSchema({ path: "a" })).byteLength, 0);
});

Deno.test("a client's calls beyond maxCalls wait for their turn", async () => {
  await using server = await serve({ datasets: { a: table(1) }, flight: { ucx: "off", limits: { maxCalls: 4 } } });
  await using client = await FlightClient.connect(server.flight!.location);
  const answers = await Promise.all(Array.from({ length: 200 }, () => client.getFlightInfo({ path: "a" })));
  assertEquals(answers.map(({ totalRecords }) => totalRecords), new Array(200).fill(1n));
});

Deno.test("requests longer than maxRequestBytes are refused before they are read", async () => {
  await using server = await serveFlight({
    limits: { maxRequestBytes: 1000 },
    handlers: { actions: { echo: { run: (body) => [body] } } },
  });
  await using client = await FlightClient.connect(server.location);
  const [back] = await Array.fromAsync(client.doAction("echo", new Uint8Array(900)));
  assertEquals(back.byteLength, 900);
  const status = await statusOf(() => Array.fromAsync(client.doAction("echo", new Uint8Array(2 ** 20))));
  assertEquals(status, GrpcStatus.resourceExhausted);
});

/** Blocks of the pool that are out, without those that earlier tests have dropped. */
async function blocksKept(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collect("all");
    await delay(5);
  }
  return hostPool().stats.blocksOut;
}

Deno.test("uploads beyond maxUploadBytes, maxTotalUploadBytes and maxUploads are refused and leave nothing", async () => {
  const sources = new Map<number, Dataset>();
  for (const mebibytes of [2, 4]) sources.set(mebibytes, await large(mebibytes));
  const one = await fromTable(table(1));
  const before = await blocksKept();
  {
    const limits = { maxUploadBytes: 3 * 2 ** 20, maxTotalUploadBytes: 5 * 2 ** 20, maxUploads: 2 };
    await using server = await uploadServer(true, limits);
    await using client = await FlightClient.connect(server.flight!.location);
    const put = async (name: string, mebibytes: number) => await client.put({ path: name }, sources.get(mebibytes)!);
    assertEquals(await statusOf(() => put("big", 4)), GrpcStatus.resourceExhausted);
    await put("a", 2);
    await put("b", 2);
    // Replaced, so that the old one is still there while the new one comes.
    assertEquals(await statusOf(() => put("b", 2)), GrpcStatus.resourceExhausted);
    assertEquals(await statusOf(() => client.put({ path: "c" }, one)), GrpcStatus.resourceExhausted);
    assertEquals(server.datasets.map(({ name }) => name), ["own", "a", "b"]);
    assertEquals(await rowsOf(client, "b"), 2 * 131_072);
  }
  assertEquals(hostPool().stats.blocksOut, before);
});

Deno.test("without allowPut there are no uploads", async () => {
  await using server = await uploadServer(false);
  await using client = await FlightClient.connect(server.flight!.location);
  const dataset = await fromTable(table(1));
  assertEquals(await statusOf(() => client.put({ path: "x" }, dataset)), GrpcStatus.unimplemented);
});

Deno.test("an upload into a folder is a file there once it is whole, and none before or otherwise", async () => {
  using outer = new TemporaryFolder();
  const folder = outer.file("uploads");
  Deno.mkdirSync(folder);
  const files = () => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  await using server = await uploadServer(folder);
  await using client = await FlightClient.connect(server.flight!.location);
  const small = await fromTable(table(3));
  const writer = await client.doPut({ path: "half" }, small.schema);
  await delay(100); // time for a file that must not appear
  assert(!files().includes("half.arrows"), "half an upload can be seen");
  await writer[Symbol.asyncDispose]();
  await client.put({ path: "whole" }, small);
  await until(() => server.flight!.activeCalls === 0);
  assertEquals(files(), ["whole.arrows"]);
  assertEquals(await rowsOf(client, "whole"), 3);
  assertEquals(server.datasets.map(({ name }) => name), ["own", "whole"]);
});

Deno.test("no name leads out of the folder, hides in it, or takes what is another's", async () => {
  using outer = new TemporaryFolder();
  const folder = outer.file("uploads");
  Deno.mkdirSync(folder);
  Deno.writeTextFileSync(`${folder}/kept.arrows`, "mine");
  Deno.writeTextFileSync(outer.file("secret"), "mine");
  Deno.symlinkSync(outer.file("secret"), `${folder}/link.arrows`);
  await using server = await uploadServer(folder);
  await using client = await FlightClient.connect(server.flight!.location);
  const small = await fromTable(table(3));
  const put = (...path: string[]) => client.put({ path }, small);
  const bad = [
    "../x",
    "..",
    ".",
    ".hidden",
    "/etc/x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "-o",
    " x",
    "",
    "x".repeat(201),
    "~x",
  ];
  for (const name of bad) {
    assertEquals(await statusOf(() => put(name)), GrpcStatus.invalidArgument, JSON.stringify(name));
  }
  assertEquals(await statusOf(() => put("..", "x")), GrpcStatus.invalidArgument);
  for (const name of ["kept", "link", "own"]) {
    assertEquals(await statusOf(() => put(name)), GrpcStatus.alreadyExists, name);
  }
  await put("x y-1.2_é");
  assertEquals([...Deno.readDirSync(outer.path)].map(({ name }) => name).sort(), ["secret", "uploads"]);
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
    "kept.arrows",
    "link.arrows",
    "x y-1.2_é.arrows",
  ]);
  assertEquals(Deno.readTextFileSync(`${folder}/kept.arrows`), "mine");
  assertEquals(Deno.readTextFileSync(outer.file("secret")), "mine");
});

Deno.test("an upload that replaces one which is being read leaves that stream whole, and nothing behind", async () => {
  using outer = new TemporaryFolder();
  const long = await large(20);
  const short = await fromTable(table(3));
  for (const allowPut of [true, outer.path]) {
    const before = await blocksKept();
    {
      await using server = await uploadServer(allowPut);
      await using client = await FlightClient.connect(server.flight!.location);
      await client.put({ path: "a" }, long);
      await using reader = await client.doGet("a");
      let rows = 0, batches = 0;
      for await (const { batch } of reader) {
        rows += batch?.numRows ?? 0;
        batch?.[Symbol.dispose]();
        if (++batches === 1) await client.put({ path: "a" }, short);
      }
      assertEquals(rows, 20 * 131_072, `${allowPut}`);
      assertEquals(await rowsOf(client, "a"), 3);
      assertEquals(server.datasets.map(({ name }) => name), ["own", "a"]);
    }
    assertEquals(hostPool().stats.blocksOut, before);
  }
});

Deno.test("a failure inside the server is reported there, and not to clients", async () => {
  const inner = await fromTable(table(3));
  const { schema, readOnce } = inner;
  const secret = "/secret/folder/a.arrow";
  const failing = (error: () => Error): Dataset => ({
    schema,
    readOnce,
    close: () => inner.close(),
    open: () => ({ next: () => Promise.reject(error()), close() {} }),
  });
  const thrown: Record<string, () => Error> = {
    io: () => new DipcError("io", `cannot read ${secret}`),
    missing: () => new DipcError("not_found", `no file at ${secret}`),
    data: () => new DipcError("invalid_data", `${secret} is damaged`),
    type: () => new TypeError(`no such property of ${secret}`),
    system: () => new Deno.errors.NotFound(`${secret}: no such file`),
  };
  const datasets = Object.fromEntries(Object.entries(thrown).map(([name, error]) => [name, failing(error)]));
  await using server = await serve({
    datasets,
    flight: {
      ucx: "off",
      handlers: {
        getSchema: (descriptor) => {
          if ("command" in descriptor) throw new TypeError(secret);
          return undefined;
        },
      },
    },
  });
  const errors = errorsOf(server);
  await using client = await FlightClient.connect(server.flight!.location);
  const said: DipcError[] = [];
  for (const name of Object.keys(thrown)) said.push(await failureOf(() => rowsOf(client, name)));
  said.push(await failureOf(() => client.getSchema({ command: "x" })));
  for (const error of said) assert(!/secret|\.ts\b|at \w+ \(/.test(error.message), error.message);
  await until(() => errors.length >= said.length);
  assertEquals(errors.filter(({ message }) => message.includes(secret)).length, said.length);
  assertEquals(server.flight!.activeCalls, 0);
});

Deno.test("ucx: off, and optional without a libucp, serve by Flight alone; required ends", async () => {
  const program = `${ROOT}/tests/flight/support/server_program.ts`;
  const env = { DIPC_LIBUCP: "/nowhere/libucp.so.0" };
  for (const ucx of ["off", "optional"]) {
    await using running = startDipc([JSON.stringify({ ucx })], { program, stdin: "piped", env });
    const { location, uris } = JSON.parse((await running.firstLine)!);
    assertEquals(uris, [[], []]);
    await using client = await FlightClient.connect(location);
    assertEquals((await client.getFlightInfo({ path: "numbers" })).endpoints[0].locations, [location]);
    assertEquals(await rowsOf(client, "numbers"), 4 * 131_072);
  }
  const { code, stderr } = await startDipc([JSON.stringify({ ucx: "required" })], { program, env }).outcome;
  assertEquals(code, 1);
  assertMatch(stderr, /DipcError: .*libucp/);
});

testNeeding([needsUcx], "ucx: optional serves by both if there is a libucp", async () => {
  await using server = await serve({ datasets: { a: table(3) }, flight: { ucx: "optional" } });
  await using stream = await connect(server.flight!.location, { flight: { path: "a" } });
  assertEquals(stream.stats.route, "ucx");
});

Deno.test("certificates that are none are refused at the start", async () => {
  const authority = await Authority.create();
  const { cert, key } = await authority.issue("server");
  const other = await authority.issue("other");
  const bad = [{ cert: "none", key }, { cert, key: "none" }, { cert, key, clientCa: "none" }, { cert, key: other.key }];
  for (const tls of bad) {
    assertEquals(
      (await failureOf(() => serveFlight({ tls }))).code,
      "invalid_argument",
      JSON.stringify(tls).slice(0, 40),
    );
  }
});
