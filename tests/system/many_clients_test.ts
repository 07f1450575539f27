/**
 * Many clients at once on one server, several streams in one process, and what idle ones cost.
 *
 * @module
 */
import { assertEquals, assertLess } from "@std/assert";
import { delay } from "../support/time.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { mebibytes, MemoryWatch, processorSeconds, residentBytes } from "../support/proc.ts";
import { type Running, ServeProcess, startDipc } from "../support/processes.ts";

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const PROGRAM = `${ROOT}/tests/system/support/many_program.ts`;
const BATCHES = 64, ROWS = 131_072;
const STREAM_BYTES = BATCHES * ROWS * 8;
/** What a connection may cost the server beyond the data. */
const CONNECTION_BYTES = 6_000_000;

interface Report {
  whole: number;
  bytes: number;
  failures: string[];
  idleSeconds: number;
  descriptors: number;
  peak: number;
}

async function startServer(): Promise<ServeProcess> {
  const settings = { datasets: { data: { batches: BATCHES, rows: ROWS, resident: true } } };
  const running = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", timeoutMs: 300_000 });
  return new ServeProcess(running, JSON.parse((await running.firstLine)!));
}

async function startClient(server: ServeProcess, streams: number, mode: string): Promise<Running> {
  const client = startDipc(
    [JSON.stringify(server.uris("data")), String(streams), String(BATCHES), String(ROWS), mode],
    { program: PROGRAM, stdin: "piped", timeoutMs: 200_000 },
  );
  const line = await client.firstLine;
  if (line !== "ready") throw new Error(`the clients did not connect: ${line} ${(await client.outcome).stderr}`);
  return client;
}

testNeeding([needsUcx], "64 clients at once get 64 MiB each, whole", async () => {
  await using server = await startServer();
  // One stream first: compiling and loading UCX are not a cost of a connection.
  const first = await startClient(server, 1, "fetch");
  assertEquals((await first.ask("go") as Report).whole, 1);
  await first[Symbol.asyncDispose]();
  const before = residentBytes(server.pid);
  const clients: Running[] = [];
  for (let i = 0; i < 8; i++) clients.push(await startClient(server, 8, "fetch"));
  const connected = residentBytes(server.pid);
  const watch = new MemoryWatch(server.pid);
  const started = performance.now();
  const reports = await Promise.all(clients.map(async (client) => await client.ask("go") as Report));
  const seconds = (performance.now() - started) / 1000;
  const peak = watch.stop();
  for (const client of clients) await client[Symbol.asyncDispose]();
  const bytes = reports.reduce((sum, report) => sum + report.bytes, 0);
  const each = (peak - before) / 64;
  console.log(
    `64 streams, ${mebibytes(bytes)} in ${seconds.toFixed(1)} s (${(bytes / seconds / 1e9).toFixed(2)} GB/s); server ` +
      `${mebibytes(before)} before, ${mebibytes(connected)} connected, ${mebibytes(peak)} at its peak: ` +
      `${(each / 1e6).toFixed(2)} MB a connection; clients peak ${
        reports.map(({ peak }) => mebibytes(peak)).join(", ")
      }`,
  );
  assertEquals(reports.flatMap((report) => report.failures), []);
  assertEquals(reports.reduce((sum, report) => sum + report.whole, 0), 64);
  assertEquals(bytes, 64 * STREAM_BYTES);
  assertLess(each, CONNECTION_BYTES);
});

testNeeding([needsUcx], "32 idle clients cost a server next to nothing, and then go on", async () => {
  await using server = await startServer();
  const client = await startClient(server, 32, "idle");
  await delay(1000); // what comes after the connections
  const seconds = 6;
  const before = processorSeconds(server.pid), clientBefore = processorSeconds(client.pid);
  await delay(seconds * 1000); // the time that is measured
  const share = (processorSeconds(server.pid) - before) / seconds;
  const clientShare = (processorSeconds(client.pid) - clientBefore) / seconds;
  const report = await client.ask("go") as Report;
  await client[Symbol.asyncDispose]();
  console.log(`idle: server ${(share * 100).toFixed(2)} % of a core, client ${(clientShare * 100).toFixed(2)} %`);
  assertEquals(report.failures, []);
  assertEquals(report.whole, 32);
  // About 1 % on a slow machine, which is UCX's timers; one that polls takes all of it.
  assertLess(share, 0.05);
  assertLess(clientShare, 0.05);
});

testNeeding([needsUcx], "a client that stands still harms no other, and ends whole once it goes on", async () => {
  await using server = await startServer();
  const stopped = await startClient(server, 2, "fetch");
  const answer = stopped.ask("go");
  await delay(30); // into the middle of the stream
  stopped.kill("SIGSTOP");
  const before = residentBytes(server.pid);
  const others = await startClient(server, 4, "fetch");
  const report = await others.ask("go") as Report;
  await others[Symbol.asyncDispose]();
  assertEquals([report.whole, report.failures], [4, []]);
  await delay(1000); // time for the server to take memory that it must not take
  assertLess(residentBytes(server.pid) - before, 60 * 2 ** 20);
  stopped.kill("SIGCONT");
  const late = await answer as Report;
  await stopped[Symbol.asyncDispose]();
  assertEquals([late.whole, late.failures], [2, []]);
});
