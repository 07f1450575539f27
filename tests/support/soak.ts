/**
 * What must hold for large data: whole by checksum, and memory that does not grow with the length of a stream. Run in
 * full by `deno task soak`, and with less data by the tests.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { ROOT, TemporaryFolder } from "./paths.ts";
import { mebibytes, MemoryWatch, residentBytes } from "./proc.ts";
import { type Outcome, type Running, serve, ServeProcess, startDipc, type StartOptions } from "./processes.ts";
import { runPython } from "./python.ts";

const MIB = 2 ** 20;
const PROGRAMS = `${ROOT}/tests/support`;
/** Longest time of one program. */
const LONGEST_MS = 900_000;
/** Rows of int64 in a batch of 1 MiB. */
const ROWS = 131_072;

function start(program: string, args: string[], options: StartOptions = {}): Running {
  return startDipc(args, { program: `${PROGRAMS}/${program}`, timeoutMs: LONGEST_MS, ...options });
}

function result<T>({ code, signal, stdout, stderr }: Outcome): T {
  assertEquals([code, signal], [0, null], stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}

async function startGenerated(batches: number): Promise<ServeProcess> {
  const settings = { datasets: { data: { batches, rows: ROWS } } };
  const running = start("server_program.ts", [JSON.stringify(settings)], { stdin: "piped" });
  return new ServeProcess(running, JSON.parse((await running.firstLine)!));
}

interface Sum {
  batches: number;
  rows: number;
  bytes: number;
  buffers: number;
  messages: number[];
  peak: number;
}

async function compareSums(name: string, local: string[], uris: string[]): Promise<void> {
  const here = result<Sum>(await start("checksum_program.ts", local).outcome);
  const there = result<Sum>(await start("checksum_program.ts", ["fetch", JSON.stringify(uris)]).outcome);
  const { messages, peak, ...totals } = there;
  console.log(`${name}: ${JSON.stringify(totals)}, client's peak ${mebibytes(peak)}`);
  const { messages: expected, peak: _, ...expectedTotals } = here;
  assertEquals(totals, expectedTotals);
  assert(messages.length === expected.length && messages.every((sum, i) => sum === expected[i]), "other checksums");
  assertGreater(totals.batches, 0);
}

/** An Arrow file or a Parquet file of `bytes` arrives whole, by checksum of each buffer. */
export async function largeFile(kind: "arrow" | "parquet", bytes: number): Promise<void> {
  using folder = new TemporaryFolder();
  const path = folder.file(`large.${kind}`);
  await runPython("make_large.py", [kind, path, String(bytes)]);
  await using server = await serve([`data=${path}`]);
  await compareSums(`${kind} of ${mebibytes(bytes)}`, ["path", path], server.uris("data"));
}

/** A table in memory arrives whole, by checksum of each buffer. */
export async function wideTableArrives(columns: number, rows: number): Promise<void> {
  const settings = { wide: { table: [columns, rows] } };
  const running = start("server_program.ts", [JSON.stringify({ datasets: settings })], { stdin: "piped" });
  await using server = new ServeProcess(running, JSON.parse((await running.firstLine)!));
  await compareSums(`${columns} columns × ${rows} rows`, ["wide", String(columns), String(rows)], server.uris("wide"));
}

interface Slow {
  taken: number;
  resident: number[];
  peak: number;
  unchanged: boolean;
  error: { code: string; message: string } | null;
}

/** A reader that sleeps 1 ms a batch: neither side's memory grows with the stream. */
export async function slowReader(bytes: number, mode: "using" | "drop" | "keep-column"): Promise<void> {
  const batches = Math.floor(bytes / MIB);
  await using server = await startGenerated(batches);
  const before = residentBytes(server.pid);
  const watch = new MemoryWatch(server.pid);
  const client = start("slow_program.ts", [JSON.stringify(server.uris("data")), String(batches), mode], {
    flags: mode === "keep-column" ? ["--v8-flags=--expose-gc"] : [],
  });
  const outcome = await client.outcome;
  const growth = watch.stop() - before;
  const { taken, resident, peak, unchanged, error } = result<Slow>(outcome);
  console.log(
    `${mebibytes(bytes)}, ${mode}: ${(outcome.milliseconds / 1000).toFixed(1)} s, client at a quarter, half, end ` +
      `${resident.map(mebibytes).join(", ")}, peak ${mebibytes(peak)}; server ${mebibytes(growth)} above its start`,
  );
  assertEquals(error, null);
  assertEquals(taken, batches);
  assert(unchanged, "a column that was kept has changed");
  const limit = (mode === "using" ? 300 : 600) * MIB;
  assertLess(peak, limit);
  // Flat: memory at the end is at most that at half-time, plus garbage that is not collected yet.
  if (mode === "using") assertLess(resident[2], resident[1] + 40 * MIB);
  assertLess(growth, 300 * MIB);
}

/** A large Arrow file costs its server little, and one that is cut short under it fails that stream alone. */
export async function truncatedFile(bytes: number): Promise<void> {
  using folder = new TemporaryFolder();
  const path = folder.file("large.arrow"), other = folder.file("other.arrow");
  await runPython("make_large.py", ["arrow", path, String(bytes)]);
  await runPython("make_large.py", ["arrow", other, String(8 * MIB)]);
  await using server = await serve([`large=${path}`, `other=${other}`]);
  const watch = new MemoryWatch(server.pid);
  const fetch = (name: string): Promise<Outcome> =>
    start("checksum_program.ts", ["fetch", JSON.stringify(server.uris(name))]).outcome;
  const { batches } = result<Sum>(await fetch("large"));

  const slow = start("slow_program.ts", [JSON.stringify(server.uris("large")), String(batches), "brake"], {
    stdin: "piped",
  });
  assertEquals(await slow.firstLine, "ten");
  await Deno.truncate(path, Math.floor((await Deno.stat(path)).size / 2));
  const cut = await slow.ask("go") as Slow;
  await slow[Symbol.asyncDispose]();
  assertEquals(result<Sum>(await fetch("other")).batches > 0, true);
  const peak = watch.stop();
  console.log(
    `${mebibytes(bytes)} Arrow file: server's peak ${mebibytes(peak)}; cut in half: after ${cut.taken} of ${batches} ` +
      `batches ${cut.error?.code}: ${cut.error?.message}`,
  );
  assertEquals(cut.error?.code, "io");
  assertLess(cut.taken, batches);
  assertGreater(cut.taken, 9);
  assert(!server.running.ended, "the server died");
  assertLess(peak, 250 * MIB);
}
