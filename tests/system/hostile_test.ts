/**
 * Misbehaving peers over real UCX, each in a process of its own: the honest side gives an error or carries on; it never
 * dies, hangs or grows.
 *
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../support/time.ts";
import { needsUcx, testNeeding, ucx } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { isAlive, mebibytes, MemoryWatch, residentBytes } from "../support/proc.ts";
import { dipc, ServeProcess, startDipc } from "../support/processes.ts";
import { clientCases } from "./support/hostile_clients.ts";
import { serverCases } from "./support/hostile_servers.ts";
import { printTable } from "../support/table.ts";
import { ROOT } from "../support/paths.ts";

const PEER = `${ROOT}/tests/system/support/hostile_peer.ts`;
const SERVER = `${ROOT}/tests/support/server_program.ts`;
/** Misbehaving peers that run concurrently. */
const AT_ONCE = 3;
/** No case may make the client's memory peak higher: a body that is only promised must not be made room for. */
const CLIENT_LIMIT = 450 * 2 ** 20;
/** The server's peak above its start: 50 connections at once with up to 6 MB each are among the cases. */
const SERVER_PEAK = 400 * 2 ** 20;
/** What the server may keep of it at the end. */
const SERVER_KEPT = 200 * 2 ** 20;
/** Longest time for one case on the honest side. */
const CASE_MS = 20_000;

/** Runs `each` for all names, some at a time, and answers in the order of the names. */
async function forAll<T>(names: readonly string[], each: (name: string) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  const waiting = [...names.entries()];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) results[next[0]] = await each(next[1]);
  }));
  return results;
}

interface ServerState {
  server: { activeConnections: number };
  pool: { blocksOut: number };
  descriptors: number;
  errors: string[];
}

testNeeding([needsUcx], "a server survives every misbehaving client", async () => {
  const settings = { datasets: { data: { batches: 10, rows: 60_000 } }, options: { requestTimeoutMs: 2000 } };
  const running = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", timeoutMs: 400_000 });
  await using server = new ServeProcess(running, JSON.parse((await running.firstLine)!));
  const [uri] = server.uris("data");
  const fetchWhole = async (): Promise<void> => {
    await using reader = await connect(uri);
    let batches = 0;
    for await (using _ of reader) batches++;
    assertEquals(batches, 10);
  };
  let asking: Promise<unknown> = Promise.resolve();
  const state = async (): Promise<ServerState> => {
    await asking;
    return await (asking = running.ask("stats")) as ServerState;
  };
  const settled = (): Promise<ServerState> => until(state, ({ server }) => server.activeConnections === 0);
  const failures: string[] = [];
  for (let i = 0; i < 3; i++) await fetchWhole();
  const before = await settled();
  const memory = residentBytes(server.pid);
  const watch = new MemoryWatch(server.pid);

  const rows = await forAll(Object.keys(clientCases), async (name) => {
    const peer = startDipc(["client", name, ucx!.path, uri], { program: PEER, timeoutMs: 30_000 });
    const outcome = await peer.outcome;
    const said = outcome.signal === "SIGKILL" ? "killed itself" : outcome.stdout.trim() || outcome.stderr.trim();
    assert(isAlive(server.pid), `the server died: ${name}\n${outcome.stderr}`);
    const started = performance.now();
    let next = "next client whole";
    try {
      await fetchWhole();
    } catch (error) {
      next = `NEXT CLIENT FAILED: ${(error as Error).message}`;
      failures.push(`${name}: ${next}; the server says ${(await state()).errors.join(" | ")}`);
    }
    next += ` in ${Math.round(performance.now() - started)} ms`;
    const took = `${Math.round(outcome.milliseconds)} ms`;
    return [name, clientCases[name].does, said.split("\n")[0], took, next, mebibytes(residentBytes(server.pid))];
  });

  const growth = watch.stop() - memory;
  const after = await settled();
  const kept = residentBytes(server.pid) - memory;
  printTable(
    "Misbehaving clients",
    ["case", "what it does", "what came of it", "case took", "afterwards", "server"],
    rows,
  );
  console.log(
    `server: peak ${mebibytes(growth)} above the start, ${
      mebibytes(kept)
    } kept, descriptors ${before.descriptors} → ${after.descriptors}, ` +
      `blocks out ${after.pool.blocksOut}, connections left ${after.server.activeConnections}`,
  );
  assertEquals(failures, []);
  assertEquals(after.server.activeConnections, 0);
  assertEquals(after.pool.blocksOut, before.pool.blocksOut);
  assertLess(growth, SERVER_PEAK);
  assertLess(kept, SERVER_KEPT);
  // Warm workers may come and go; a connection has about ten descriptors of its own, so a leak in each case is plain.
  assertLess(after.descriptors, before.descriptors + 60);
});

testNeeding([needsUcx], "a client survives every misbehaving server", async () => {
  using folder = new TemporaryFolder();
  const failures: string[] = [];
  const rows = await forAll(Object.keys(serverCases), async (name) => {
    const peer = startDipc(["server", name, ucx!.path], { program: PEER, timeoutMs: 40_000 });
    const port = await peer.firstLine;
    const wanted = 0xFFFFFDEADBA0BAB0n;
    const target = folder.file(`${name.replace(/\W/g, "_")}.arrows`);
    const client = startDipc(
      ["get", `ucx://127.0.0.1:${port}/x?want_data=${wanted}&dipc=1`, "-o", target, "--json", "--timeout", "3s"],
      { timeoutMs: CASE_MS },
    );
    const watch = new MemoryWatch(client.pid);
    const outcome = await client.outcome;
    const peak = watch.stop();
    await peer[Symbol.asyncDispose]();
    const summary = outcome.stdout.startsWith("{") ? JSON.parse(outcome.stdout) : null;
    const code: string = outcome.code === 0
      ? "whole"
      : summary?.error?.code ?? `exit ${outcome.code} ${outcome.signal}`;
    const { does, expect } = serverCases[name];
    if (!expect.includes(code)) failures.push(`${name}: expected ${expect.join(" or ")}, found ${code}`);
    if (outcome.signal !== null) failures.push(`${name}: the client was ended by ${outcome.signal}`);
    if (outcome.code === 0 !== fileExists(target)) failures.push(`${name}: exit ${outcome.code}, file or none`);
    // deno-lint-ignore no-control-regex
    if (/[\u0000-\u0009\u000b-\u001f]/.test(outcome.stderr + outcome.stdout)) {
      failures.push(`${name}: control characters in the output`);
    }
    if (peak > CLIENT_LIMIT) failures.push(`${name}: the client's memory peaked at ${mebibytes(peak)}`);
    const message = summary?.error?.message ?? outcome.stderr.trim().split("\n").at(-1) ?? "";
    return [name, does, code, `${Math.round(outcome.milliseconds)} ms`, mebibytes(peak), message.slice(0, 110)];
  });
  printTable("Misbehaving servers", ["case", "what it does", "client says", "time", "peak", "message"], rows);
  assertEquals(failures, []);
});

function fileExists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

testNeeding([needsUcx], "a hostile peer's process can be reached by the harness", async () => {
  // The two tests above prove nothing if the peers do not run: an unknown case must be an error.
  const outcome = await dipc(["client", "no such case", ucx!.path, "ucx://127.0.0.1:1/x?want_data=1"], {
    program: PEER,
  });
  assertEquals(outcome.code, 1);
});
