/**
 * `deno task soak --leases --minutes N`: clients that hold batches in a server's memory for a while and give them back, at random. No
 * value may be wrong, nothing that was disposed may be read, and nobody may need more memory in the second half than in the first.
 *
 * @module
 */
import { ROOT } from "../tests/support/paths.ts";
import { mebibytes, textOfVitals, type Vitals, vitalsOf } from "../tests/support/proc.ts";
import { type Running, startDipc } from "../tests/support/processes.ts";
import { delay } from "../tests/support/time.ts";

const CLIENTS = 3;
const BATCHES = 50, ROWS = 8192;
/** Room for 64 bodies in the arena, a few less than the clients want. */
const ARENA_BYTES = 4 << 20;
const SAMPLE_MS = 1_000, PROGRESS_MS = 60_000;
/** Longest wait for a client that is gone, in milliseconds. */
const REST_MS = 20_000;
/** What the second half may have more than the first, which is what was not collected yet. */
const MORE_BYTES = 32 * 2 ** 20, MORE_DESCRIPTORS = 10, MORE_THREADS = 4, MORE_MAPPINGS = 300;

/** A process, and the most that it had in each half. */
interface Watched {
  readonly name: string;
  readonly running: Running;
  readonly most: [Vitals, Vitals];
}

/** Both, each in its larger number. */
function larger(one: Vitals, other: Vitals): Vitals {
  return {
    resident: Math.max(one.resident, other.resident),
    descriptors: Math.max(one.descriptors, other.descriptors),
    threads: Math.max(one.threads, other.threads),
    mappings: Math.max(one.mappings, other.mappings),
  };
}

function watch(name: string, running: Running): Watched {
  const now = vitalsOf(running.pid);
  return { name, running, most: [now, now] };
}

function growth({ name, most: [first, second] }: Watched): string[] {
  const wrong: string[] = [];
  if (second.resident > first.resident + MORE_BYTES) {
    wrong.push(`${name} grew from ${mebibytes(first.resident)} to ${mebibytes(second.resident)}`);
  }
  const more = (what: "descriptors" | "threads" | "mappings", most: number) => {
    if (second[what] > first[what] + most) wrong.push(`${name} went from ${first[what]} to ${second[what]} ${what}`);
  };
  more("descriptors", MORE_DESCRIPTORS);
  more("threads", MORE_THREADS);
  more("mappings", MORE_MAPPINGS);
  return wrong;
}

async function startServer(timeoutMs: number): Promise<{ server: Running; uris: string[] }> {
  const data = { batches: BATCHES, rows: ROWS, share: true };
  const settings = {
    datasets: { made: data, held: { ...data, resident: true } },
    options: { sharing: { arenaBytes: ARENA_BYTES }, requestTimeoutMs: 120_000 },
  };
  const program = `${ROOT}/tests/support/server_program.ts`;
  const server = startDipc([JSON.stringify(settings)], { program, stdin: "piped", timeoutMs });
  const { datasets } = JSON.parse(await server.firstLine ?? (await server.outcome).stderr);
  return { server, uris: datasets.flatMap(({ uris }: { uris: string[] }) => uris) };
}

/** Counts the streams of a client, and what it read in place; settles when it has ended. */
async function count(client: Running, counts: { streams: number; bytes: number }): Promise<void> {
  let before = 0;
  for (let line = await client.nextLine(); line !== null; line = await client.nextLine()) {
    counts.streams++;
    counts.bytes += Number(line) - before;
    before = Number(line);
  }
}

/**
 * Runs it.
 *
 * @param minutes How long
 * @param seed Repeats what the clients do; not when
 * @returns the number of things that are wrong
 */
export async function soakLeases(minutes: number, seed: number): Promise<number> {
  console.log(`soak: leases, seed ${seed}, ${minutes} minutes`);
  const timeoutMs = minutes * 60_000 + 600_000;
  const { server, uris } = await startServer(timeoutMs);
  await using _ = server;
  const program = `${ROOT}/tests/system/support/shared_client_program.ts`;
  const wrong: string[] = [], counts = { streams: 0, bytes: 0 };
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => startDipc([`${seed + i}`, ...uris], { program, timeoutMs }),
  );
  try {
    for (const client of clients) await client.firstLine;
    for (const client of clients) void count(client, counts);
    const all = [watch("server", server), ...clients.map((client, i) => watch(`client ${i + 1}`, client))];
    const started = performance.now(), length = minutes * 60_000;
    let nextProgress = 0;
    for (;;) {
      const now = performance.now() - started;
      const ended = all.filter(({ running }) => running.ended);
      for (const { name, running } of ended) {
        const { code, signal, stderr } = await running.outcome;
        wrong.push(`${name} has ended (${signal ?? code}): ${stderr}`);
      }
      if (now > length || ended.length > 0) break;
      const half = now < length / 2 ? 0 : 1;
      for (const { running: { pid }, most } of all) most[half] = larger(half === 1 ? most[1] : most[0], vitalsOf(pid));
      if (now >= nextProgress) {
        nextProgress += PROGRESS_MS;
        const vitals = all.map(({ name, running: { pid } }) => `${name} ${textOfVitals(vitalsOf(pid))}`);
        console.log(`${(now / 60_000).toFixed(0)} min: ${textOfCounts(counts)}; ${vitals.join("; ")}`);
      }
      await delay(SAMPLE_MS);
    }
    for (const { name, most: [first, second] } of all) {
      console.log(`${name}, at most, first half: ${textOfVitals(first)}; second half: ${textOfVitals(second)}`);
    }
    if (wrong.length === 0) wrong.push(...all.flatMap(growth));
    if (counts.bytes === 0) wrong.push("nothing was read in place");
  } finally {
    for (const client of clients) client.kill("SIGKILL");
    for (const client of clients) await client.outcome;
  }
  if (!server.ended) wrong.push(...await stillLent(server));
  for (const each of wrong) console.error(`wrong: ${each}`);
  console.log(`soak: ${textOfCounts(counts)}; ${wrong.length === 0 ? "passed" : `${wrong.length} things are wrong`}`);
  return wrong.length;
}

function textOfCounts({ streams, bytes }: { streams: number; bytes: number }): string {
  return `${streams} streams, ${(bytes / 2 ** 30).toFixed(1)} GiB in place`;
}

/** What the server still has lent after its last client has gone, and what it reports as errors. */
async function stillLent(server: Running): Promise<string[]> {
  const until = performance.now() + REST_MS;
  for (;;) {
    const { sharing, errors } = await server.ask("stats") as { sharing: Record<string, number>; errors: string[] };
    const isBack = Object.values(sharing).every((value) => value === 0);
    if (isBack || performance.now() > until) {
      return isBack
        ? errors.filter((text) => !/^(connection_lost|cancelled):/.test(text))
        : [`lent: ${JSON.stringify(sharing)}`];
    }
    await delay(100);
  }
}
