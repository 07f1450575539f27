/**
 * `kill -9` of either side in the middle of a stream, at seeded moments, over real UCX: the client fails soon and
 * clearly; the server goes on and loses nothing.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { connect, DipcError, releaseTransports } from "../../mod.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { assertSoon, delay, LOADED_MS, until } from "../support/time.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { descriptorCount } from "../support/proc.ts";
import { dipc, getArguments, type Running, type ServeInfo, startDipc } from "../support/processes.ts";
import { seed, seededRandom } from "../support/random.ts";
import { printTable } from "../support/table.ts";

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const CLIENT = `${ROOT}/tests/system/support/client_program.ts`;
/** Moments on the version that counts; a fifth of them on the older one. */
const MOMENTS = 50;

/** Bytes of a body: far below, just around and far above what UCX sends eagerly, and larger than the window. */
const SIZES = [512, 8_192, 65_536, 262_144, 1_048_576, 16_777_216];
const datasets = Object.fromEntries(SIZES.map((bytes) => [`b${bytes}`, { batches: 1_000_000, rows: bytes / 8 }]));

interface StartedServer {
  running: Running;
  info: ServeInfo;
}

async function startServer(env: Record<string, string>): Promise<StartedServer> {
  const running = startDipc([JSON.stringify({ datasets })], {
    program: SERVER,
    stdin: "piped",
    env,
    timeoutMs: 400_000,
  });
  return { running, info: JSON.parse((await running.firstLine)!) };
}

function urisOf(info: ServeInfo, size: number): string[] {
  return info.datasets.find(({ name }) => name === `b${size}`)!.uris;
}

/** One moment: what to kill at. */
interface Moment {
  size: number;
  /** Batches to take before the kill, or -1 for a time. */
  batches: number;
  /** Milliseconds after the start of the request, or after the last of the batches. */
  delayMs: number;
}

function moments(count: number): Moment[] {
  const random = seededRandom();
  return Array.from({ length: count }, (_, number) => {
    const size = SIZES[number % SIZES.length];
    const most = size > 1_000_000 ? 20 : size > 60_000 ? 200 : 3000;
    const batches = random.chance(0.3) ? -1 : random.below(most);
    return { size, batches, delayMs: random.below(batches < 0 ? 150 : 10) };
  });
}

const main = ucxVersions[0];

testNeeding([main.need], `the client fails soon after a kill of the server, at ${MOMENTS} moments`, async () => {
  const rows: string[][] = [];
  const late: string[] = [];
  // The next server starts while the last one is being killed.
  let next = startServer({});
  let descriptorsBefore = 0;
  for (const [number, moment] of moments(MOMENTS).entries()) {
    const { running, info } = await next;
    next = startServer({});
    const { size, batches, delayMs } = moment;
    let killedAt = 0;
    const kill = (): void => {
      if (killedAt !== 0) return;
      killedAt = performance.now();
      running.kill("SIGKILL");
    };
    const timer = batches < 0 ? setTimeout(kill, delayMs) : undefined;
    let taken = 0;
    let error: unknown = null;
    try {
      await using reader = await connect(urisOf(info, size), { timeoutMs: 30_000 });
      for await (using _ of reader) {
        if (++taken === batches + 1) setTimeout(kill, delayMs);
      }
      error = new Error("the stream ended as if it were whole");
    } catch (caught) {
      error = caught;
    }
    const after = performance.now() - killedAt;
    clearTimeout(timer);
    kill();
    await running[Symbol.asyncDispose]();
    assert(error instanceof DipcError, `moment ${number}: ${error}`);
    assert(
      ["connection_lost", "unreachable"].includes(error.code),
      `moment ${number}: ${error.code}: ${error.message}`,
    );
    if (after > LOADED_MS) late.push(`moment ${number}: ${Math.round(after)} ms: ${error.message}`);
    rows.push([
      String(number),
      String(size),
      batches < 0 ? `after ${delayMs} ms` : `batch ${batches} + ${delayMs} ms`,
      String(taken),
      `${Math.round(after)} ms`,
      `${error.code}: ${error.message.slice(0, 100)}`,
    ]);
    assertEquals(hostPool().stats.blocksOut, 0);
    if (number === 4) descriptorsBefore = descriptorCount("self");
  }
  await (await next).running[Symbol.asyncDispose]();
  const descriptorsAfter = descriptorCount("self");
  printTable("Server killed", ["#", "body", "moment", "batches", "failed after", "error"], rows);
  console.log(
    `client: descriptors ${descriptorsBefore} → ${descriptorsAfter}, blocks out ${hostPool().stats.blocksOut}`,
  );
  assertEquals(late, []);
  assertLess(descriptorsAfter, descriptorsBefore + 15);
  await releaseTransports();
});

for (const { label, need, env } of ucxVersions) {
  testNeeding([need], `dipc get says what it lost when the server is killed, over UCX ${label}`, async () => {
    using folder = new TemporaryFolder();
    const rows: string[][] = [];
    for (const moment of moments(MOMENTS / 5)) {
      const { running, info } = await startServer(env);
      const client = startDipc([...getArguments(urisOf(info, moment.size)), "--json", "-o", folder.file("o.arrows")], {
        env,
        timeoutMs: 30_000,
      });
      await delay(300 + 5 * moment.delayMs); // to the moment
      running.kill("SIGKILL");
      const killedAt = performance.now();
      const outcome = await client.outcome;
      const after = performance.now() - killedAt;
      await running[Symbol.asyncDispose]();
      const summary = JSON.parse(outcome.stdout);
      assertEquals(outcome.code, 1, outcome.stderr);
      assertEquals(summary.complete, false);
      assert(["connection_lost", "unreachable"].includes(summary.error.code), outcome.stdout);
      assertEquals([...Deno.readDirSync(folder.path)], [], "an output that is not whole must not stay");
      rows.push([String(moment.size), String(summary.batches), `${Math.round(after)} ms`, summary.error.code]);
      assertSoon("it ended", killedAt);
    }
    printTable(`Server of dipc get killed, UCX ${label}`, ["body", "batches", "ended after", "error"], rows);
  });

  testNeeding([need], `the server outlives killed clients and loses nothing, over UCX ${label}`, async () => {
    const { running: server, info } = await startServer(env);
    await using running = server;
    interface State {
      server: { activeConnections: number; connections: number };
      pool: { blocksOut: number };
      descriptors: number;
      open: string[];
    }
    const state = async (): Promise<State> => await running.ask("stats") as State;
    const quiet = (): Promise<State> => until(state, ({ server }) => server.activeConnections === 0);
    const limited = async (): Promise<void> => {
      const { code, stderr } = await dipc([...getArguments(urisOf(info, 65_536)), "--limit", "100000"], { env });
      assertEquals(code, 0, stderr);
    };
    await limited();
    await limited();
    const before = await quiet();
    const random = seededRandom();
    const count = label === main.label ? MOMENTS : MOMENTS / 5;
    const one = async (number: number): Promise<void> => {
      const size = SIZES[number % SIZES.length];
      const client = startDipc([JSON.stringify(urisOf(info, size)), random.chance(0.5) ? "0" : "3"], {
        program: CLIENT,
        env,
      });
      const lines = random.chance(0.2) ? 1 : random.below(30);
      for (let line = 0; line < lines && await client.nextLine() !== null; line++);
      await delay(random.fraction() * 200); // to any moment
      await client[Symbol.asyncDispose]();
    };
    let started = 0;
    await Promise.all(Array.from({ length: 3 }, async () => {
      while (started < count) await one(started++);
    }));
    const after = await quiet();
    await limited();
    console.log(
      `DIPC_SEED=${seed}: ${count} clients killed, connections ${before.server.connections} → ` +
        `${after.server.connections}, descriptors ${before.descriptors} → ${after.descriptors}, ` +
        `blocks out ${before.pool.blocksOut} → ${after.pool.blocksOut}`,
    );
    assertEquals(after.server.activeConnections, 0);
    assertGreater(after.server.connections, before.server.connections + count / 4);
    assertEquals(after.pool.blocksOut, 0);
    assertLess(after.descriptors, before.descriptors + 60);
  });
}
