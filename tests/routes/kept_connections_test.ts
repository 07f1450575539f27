/**
 * Connections by UCX that stay: the next stream of the same server goes out on the one that the last has left, and nobody is worse
 * off for it.
 *
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect, type ConnectOptions, releaseTransports, serve } from "../../mod.ts";
import { liveWorkers } from "../../src/wire/ucx/worker.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsTable } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { fromFileUrl, ROOT, TemporaryFolder } from "../support/paths.ts";
import { descriptorCount } from "../support/proc.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { until } from "../support/time.ts";

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const CLIENT = fromFileUrl(new URL("support/kept_program.ts", import.meta.url));
/** Batches and rows of each dataset; bodies of `empty` have no bytes, those of `large` do not fit into a window. */
const DATASETS = {
  small: { batches: 1, rows: 10 },
  empty: { batches: 3, rows: 0 },
  large: { batches: 2_000, rows: 20_000 },
};
const needs = [ucxVersions[0].need];
/** A number of descriptors that stays for so many milliseconds is not on its way to another one. */
const STEADY_MS = 500;

/** What the server holds. */
interface State {
  server: Record<"connections" | "activeConnections" | "idleConnections" | "requests" | "completed" | "failed", number>;
  descriptors: number;
  errors: string[];
}

/** A server in a process of its own. */
class Server implements AsyncDisposable {
  private constructor(readonly running: Running, readonly port: number, readonly uris: Record<string, string[]>) {}

  static async start(options: Record<string, unknown> = {}, env: Record<string, string> = {}): Promise<Server> {
    const settings = JSON.stringify({ datasets: DATASETS, options });
    const running = startDipc([settings], { program: SERVER, stdin: "piped", env, timeoutMs: 300_000 });
    const { port, datasets } = JSON.parse((await running.firstLine)!);
    const uris = Object.fromEntries(
      (datasets as { name: string; uris: string[] }[]).map(({ name, uris }) => [name, uris]),
    );
    return new Server(running, port, uris);
  }

  async state(): Promise<State> {
    return await this.running.ask("stats") as State;
  }

  /** Connections so far, active ones and idle ones, once no stream is under way. */
  async counts(): Promise<[number, number, number]> {
    const { server } = await until(() => this.state(), ({ server }) => server.activeConnections === 0);
    return [server.connections, server.activeConnections, server.idleConnections];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await releaseTransports();
    await this.running[Symbol.asyncDispose]();
  }
}

async function rowsOf(uris: string | string[], options?: ConnectOptions): Promise<number> {
  await using reader = await connect(uris, options);
  let rows = 0;
  for await (using batch of reader) rows += batch.numRows;
  return rows;
}

for (const { label, need, env } of ucxVersions) {
  for (const tls of [undefined, "tcp", "tcp,sysv,self"]) {
    testNeeding(
      [need],
      `requests one after another take one connection: UCX ${label}, ${tls ?? "default"}`,
      async () => {
        const settings = tls === undefined ? env : { ...env, UCX_TLS: tls };
        await using server = await Server.start({}, settings);
        const requests = 300;
        for (const [clients, name, rows] of [[1, "small", 10], [2, "empty", 0]] as const) {
          const parameters = { uris: server.uris[name], requests };
          await using client = startDipc([JSON.stringify(parameters)], { program: CLIENT, env: settings });
          const { code, stdout, stderr } = await client.outcome;
          const ended = Date.now();
          assertEquals([code, stderr], [0, ""]);
          const told = JSON.parse(stdout);
          assertEquals(told.rows, requests * rows);
          if (tls === "tcp") assertEquals(told.transports, ["tcp"]);
          // It ends with a connection that waits, and is not kept from it.
          assertLess(ended - told.at, 3_000);
          // The server notices that its client is gone.
          const { server: stats, errors } = await until(() => server.state(), (it) => it.server.idleConnections === 0);
          const { connections, activeConnections, completed, failed } = stats;
          assertEquals([connections, activeConnections, completed, failed], [clients, 0, clients * requests, 0]);
          assertEquals(errors, []);
        }
      },
    );
  }
}

testNeeding(needs, "3,000 requests on one connection leave no descriptor on either side", async () => {
  await using server = await Server.start();
  const read = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) assertEquals(await rowsOf(server.uris.small), 10);
  };
  const open = async (): Promise<[theirs: number, own: number]> => [
    (await server.state()).descriptors,
    descriptorCount("self"),
  ];
  await read(1_000);
  // The server may still be at the workers that it keeps ready.
  let before = await open(), sameSince = performance.now();
  await until(async () => {
    const now = await open();
    if (String(now) !== String(before)) [before, sameSince] = [now, performance.now()];
    return performance.now() - sameSince > STEADY_MS;
  });
  await read(2_000);
  await until(open, ([theirs, own]) => theirs <= before[0] && own <= before[1]);
  assertEquals(await server.counts(), [1, 0, 1]);
});

testNeeding(needs, "a reader that breaks off keeps its connection, one that is aborted does not", async () => {
  await using server = await Server.start();
  for (let batches = 0; batches < 20; batches++) {
    const reader = await connect(server.uris.large);
    let left = batches;
    for await (using _batch of reader) if (--left < 0) break;
    assertEquals(reader.stats.complete, false);
    assertEquals(await rowsOf(server.uris.small), 10);
  }
  // One that was never read, and one whose last batch was the last that was wanted.
  await (await connect(server.uris.large))[Symbol.asyncDispose]();
  for await (using _batch of await connect(server.uris.small)) break;
  // What is under way is waited for a quarter of a second, which a busy machine may take: some may cost a connection, not each.
  const [connections, ...others] = await server.counts();
  assert(connections <= 5, `${connections} connections`);
  assertEquals(others, [0, 1]);
  const { errors } = await server.state();
  assert(errors.length > 0 && errors.every((error) => error.startsWith("cancelled: ")), errors.join("\n"));
  const abort = new AbortController();
  const reader = await connect(server.uris.large, { signal: abort.signal });
  await reader.next();
  abort.abort(new Error("enough"));
  await assertDipcError("cancelled", "", () => reader.next());
  assertEquals(await server.counts(), [connections, 0, 0]);
  assertEquals(await rowsOf(server.uris.small), 10);
  assertEquals(await server.counts(), [connections + 1, 0, 1]);
});

testNeeding(
  needs,
  "concurrent streams have connections of their own, of which as many are kept as may be",
  async () => {
    await using server = await Server.start();
    const read = () => rowsOf(server.uris.small, { maxIdleConnections: 3 });
    assertEquals(await Promise.all(Array.from({ length: 6 }, read)), Array(6).fill(10));
    assertEquals(await until(() => server.counts(), ([, , idle]) => idle === 3), [6, 0, 3]);
    assertEquals(await Promise.all(Array.from({ length: 3 }, read)), Array(3).fill(10));
    assertEquals(await server.counts(), [6, 0, 3]);
  },
);

testNeeding(
  needs,
  "a server that has died, and one in its place, cost a client that kept a connection no error",
  async () => {
    let server = await Server.start();
    const { port } = server;
    try {
      for (let i = 0; i < 3; i++) {
        assertEquals(await rowsOf(server.uris.small), 10);
        server.running.kill("SIGKILL");
        if (i === 1) await assertDipcError("unreachable", "", () => rowsOf(server.uris.small));
        await server.running[Symbol.asyncDispose]();
        if (i === 2) await assertDipcError("unreachable", "", () => rowsOf(server.uris.small));
        server = await Server.start({ port });
        assertEquals([await rowsOf(server.uris.small), (await server.counts())[0]], [10, 1]);
      }
    } finally {
      await server[Symbol.asyncDispose]();
    }
  },
);

testNeeding(needs, "a connection that has waited too long is closed, by whichever side has less patience", async () => {
  await using server = await Server.start({ keepAliveMs: 300 });
  for (let i = 1; i <= 2; i++) {
    assertEquals(await rowsOf(server.uris.small), 10);
    assertEquals(await server.counts(), [i, 0, 1]);
    await until(() => server.counts(), ([, , idle]) => idle === 0);
  }
  await using patient = await Server.start();
  assertEquals(await rowsOf(patient.uris.small, { keepAliveMs: 100 }), 10);
  assertEquals(await until(() => patient.counts(), ([, , idle]) => idle === 0), [1, 0, 0]);
});

testNeeding(
  needs,
  "a connection that has waited too long leaves the workers of both sides to the next one",
  async () => {
    await using server = await serve({ datasets: { trips: tripsTable(2) } });
    const read = () => rowsOf([...server.datasets[0].uris], { keepAliveMs: 100, share: false });
    assertEquals(await read(), 2000);
    await until(() => server.stats.idleConnections === 1);
    // The listener's, those of the connection, and three that the server has made ahead.
    await until(() => liveWorkers === 6);
    await until(() => server.stats.idleConnections === 0);
    assertEquals(liveWorkers, 6);
    assertEquals([await read(), server.stats.connections], [2000, 2]);
    assertEquals(liveWorkers, 6);
    await releaseTransports();
  },
);

testNeeding(
  needs,
  "a full server closes the connections that wait first, and does not count them as clients",
  async () => {
    await using server = await Server.start({ maxConnections: 2 });
    const kept = [{}, { limits: { maxMetadataBytes: 2 ** 20 } }, { limits: { maxMetadataBytes: 2 ** 19 } }];
    for (const options of kept) assertEquals(await rowsOf(server.uris.small, options), 10);
    // One more than there are places.
    await until(() => server.counts(), ([, , idle]) => idle === 2);
    const once = { keepAliveMs: 0 };
    const readers = [await connect(server.uris.large, once), await connect(server.uris.large, once)];
    const { server: full } = await until(() => server.state(), ({ server }) => server.idleConnections === 0);
    assertEquals(full.activeConnections, 2);
    for (const options of kept) {
      await assertDipcError(
        "busy",
        "2 connections",
        () => rowsOf(server.uris.small, options),
      );
    }
    for (const reader of readers) await reader.cancel();
    for (const options of kept) {
      await server.counts();
      assertEquals(await rowsOf(server.uris.small, options), 10);
    }
  },
);

testNeeding(needs, "without the word of both sides, a connection serves one request", async () => {
  await using old = await Server.start({ keepAliveMs: 0 });
  assertEquals(old.uris.small[0].includes("keep"), false);
  for (let i = 1; i <= 2; i++) {
    assertEquals([await rowsOf(old.uris.small), await old.counts()], [10, [i, 0, 0]]);
  }
  await using server = await Server.start();
  for (let i = 1; i <= 2; i++) {
    assertEquals([await rowsOf(server.uris.small, { keepAliveMs: 0 }), await server.counts()], [10, [i, 0, 0]]);
  }
  assertEquals([await rowsOf(server.uris.small, { maxIdleConnections: 0 }), await server.counts()], [10, [3, 0, 0]]);
  // A URI of a server of old, at a new one.
  assertEquals([await rowsOf(server.uris.small[0].replace("&keep=1", "")), await server.counts()], [10, [4, 0, 0]]);
});

testNeeding(needs, "isolates keep connections, each its own", async () => {
  await using server = await Server.start({ isolates: 2 });
  for (const uri of server.uris.small) {
    for (let i = 0; i < 3; i++) assertEquals(await rowsOf(uri), 10);
  }
  assertEquals(await server.counts(), [2, 0, 2]);
  await releaseTransports();
  assertEquals(await until(() => server.counts(), ([, , idle]) => idle === 0), [2, 0, 0]);
});

testNeeding(needs, "a test that reads a stream and forgets it leaks nothing, and ends at once", async () => {
  await using server = await Server.start();
  using folder = new TemporaryFolder();
  const path = folder.file("forgets_test.ts");
  await Deno.writeTextFile(
    path,
    `import { connect } from ${JSON.stringify(`file://${ROOT}/mod.ts`)};
     for (const name of ["first", "second"]) Deno.test(name, async () => {
       for await (const batch of await connect(${JSON.stringify(server.uris.small)})) void batch;
     });`,
  );
  const start = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--config", `${ROOT}/deno.json`, path],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assertEquals(code, 0, text.decode(stdout) + text.decode(stderr));
  assertLess(performance.now() - start, 20_000);
});
