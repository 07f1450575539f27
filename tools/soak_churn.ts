/**
 * `deno task soak --minutes N`: one server, and clients of every kind that come and go. Honest ones must never fail; in
 * the end the server must be at rest, with no more memory, descriptors and threads than clients justify.
 *
 * @module
 */
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { MIB } from "../src/bytes.ts";
import { textOf } from "../src/text.ts";
import { TemporaryFolder } from "../tests/support/paths.ts";
import { isAlive, mebibytes, processorSeconds, textOfVitals, type Vitals, vitalsOf } from "../tests/support/proc.ts";
import { serve, type ServeProcess } from "../tests/support/processes.ts";
import { Random } from "../tests/support/random.ts";
import { SOAK_CLIENTS, type SoakClient, type SoakServer } from "./soak_clients.ts";

const PROGRESS_MS = 10_000;
/** Time for the server to come to rest, then time over which its processor time is counted, in milliseconds. */
const REST_MS = 5000, IDLE_MS = 5000;
/** Share of a core that a server at rest may use. */
const MAX_IDLE_CPU = 0.05;
/** Visits of garbage follow each other at this distance, so that they are not a flood, in milliseconds. */
const PAUSE_MS = 20;
const ROWS = 4096, BATCHES = 32;

/** What the visits of one kind came to. */
interface Tally {
  visits: number;
  failures: number;
  readonly milliseconds: number[];
}

/** A batch is small: what comes and goes here are clients, not bytes. */
function writeData(path: string): void {
  const numbers = () => tableFromArrays({ x: Float64Array.from({ length: ROWS }, (_, i) => i) });
  const table = Array.from({ length: BATCHES }, numbers).reduce((all, each) => all.concat(each));
  Deno.writeFileSync(path, tableToIPC(table, "file"));
}

/**
 * Runs it.
 *
 * @param minutes How long clients come
 * @param seed Repeats what they do; not when
 * @returns the number of things that are wrong
 */
export async function soakChurn(minutes: number, seed: number): Promise<number> {
  console.log(`soak: seed ${seed}, ${minutes} minutes`);
  using folder = new TemporaryFolder();
  const path = folder.file("data.arrow");
  writeData(path);
  const timeoutMs = minutes * 60_000 + 600_000;
  await using server = await serve([`data=${path}`, "--flight-port", "0"], { timeoutMs });
  const flight = server.info.flight!;
  const visited: SoakServer = {
    ...{
      flight,
      dataset: "data",
      ucxPort: server.info.port,
      flightPort: Number(new URL(`http${flight.slice(4)}`).port),
    },
    ...{ rows: ROWS * BATCHES, batches: BATCHES },
  };
  const tallies = new Map<SoakClient, Tally>(
    SOAK_CLIENTS.map((client) => [client, { visits: 0, failures: 0, milliseconds: [] }]),
  );
  for (const client of SOAK_CLIENTS) if (client.isHonest) await client.visit(visited, new Random(seed));
  const before = vitalsOf(server.pid);
  console.log(`before: ${textOfVitals(before)}`);
  const until = performance.now() + minutes * 60_000;
  const progress = setInterval(() => printProgress(server, tallies, until), PROGRESS_MS);
  try {
    await Promise.all(SOAK_CLIENTS.map((client, i) =>
      keepVisiting(client, visited, tallies.get(client)!, {
        random: new Random(seed + i),
        isOver: () => performance.now() >= until || !isAlive(server.pid),
      })
    ));
  } finally {
    clearInterval(progress);
  }
  return await judge(server, before, tallies);
}

async function keepVisiting(
  client: SoakClient,
  server: SoakServer,
  tally: Tally,
  { random, isOver }: { random: Random; isOver: () => boolean },
): Promise<void> {
  while (!isOver()) {
    const started = performance.now();
    try {
      await client.visit(server, random);
    } catch (error) {
      tally.failures++;
      console.log(`${client.name} failed: ${textOf(error)}`);
    }
    tally.visits++;
    if (client.isHonest) tally.milliseconds.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

function printProgress(server: ServeProcess, tallies: ReadonlyMap<SoakClient, Tally>, until: number): void {
  if (!isAlive(server.pid)) return;
  const visits = [...tallies].map(([{ name }, { visits }]) => `${name} ${visits}`).join(", ");
  const left = Math.max(0, (until - performance.now()) / 1000).toFixed(0);
  console.log(`${left} s left: ${textOfVitals(vitalsOf(server.pid))}; visits: ${visits}`);
}

async function judge(server: ServeProcess, before: Vitals, tallies: ReadonlyMap<SoakClient, Tally>): Promise<number> {
  const wrong: string[] = [];
  for (const [{ name, isHonest }, { visits, failures, milliseconds }] of tallies) {
    const sorted = milliseconds.toSorted((a, b) => a - b);
    const at = (share: number) =>
      `${(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(1)} ms`;
    console.log(
      `${name.padEnd(16)} ${String(visits).padStart(7)} visits, ${failures} failed${
        isHonest ? `, p50 ${at(0.5)}, p99 ${at(0.99)}` : ""
      }`,
    );
    if (isHonest && failures > 0) wrong.push(`${failures} visits of ${name} failed`);
    if (visits === 0) wrong.push(`${name} has made no visit`);
  }
  if (!isAlive(server.pid)) {
    const { code, stderr } = await server.running.outcome;
    wrong.push(`the server has ended with exit status ${code}: ${stderr.slice(-2000)}`);
  } else {
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const processorBefore = processorSeconds(server.pid);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const processor = (processorSeconds(server.pid) - processorBefore) / (IDLE_MS / 1000);
    const after = vitalsOf(server.pid);
    console.log(`after:  ${textOfVitals(after)}, ${(100 * processor).toFixed(1)} % of a core at rest`);
    if (processor > MAX_IDLE_CPU) wrong.push(`the server uses ${(100 * processor).toFixed(0)} % of a core at rest`);
    if (after.resident - before.resident > 300 * MIB) wrong.push(`memory grew to ${mebibytes(after.resident)}`);
    if (after.descriptors > before.descriptors + 20) wrong.push(`${after.descriptors} descriptors are open`);
    if (after.threads > before.threads + 20) wrong.push(`there are ${after.threads} threads`);
  }
  for (const each of wrong) console.error(`wrong: ${each}`);
  console.log(`soak: ${wrong.length === 0 ? "passed" : `${wrong.length} things are wrong`}`);
  return wrong.length;
}
