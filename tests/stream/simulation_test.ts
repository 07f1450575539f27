/**
 * Thousands of seeded schedules of the real sending and receiving streams over the loopback transport, with every fault.
 * Each ends whole and equal, or with a DipcError; none hangs, none leaks.
 *
 * `DIPC_SEED` chooses the first seed, `DIPC_SCHEDULES` their number.
 *
 * @module
 */
import { assertEquals, assertGreater, assertNotEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { FAULT_KINDS, noFaults } from "../support/loopback.ts";
import { storedStreams } from "../support/simulated_dataset.ts";
import { type Outcome, simulate } from "./support/simulation.ts";
import { simulateLibrary } from "./support/simulation_library.ts";

/** Real time after which one schedule counts as hanging; they take a few milliseconds. */
const HANG_MS = 20_000;

const streams = storedStreams();

function setting(name: string, fallback: number): number {
  const text = Deno.env.get(name);
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} is a non-negative integer, found ${text}`);
  return value;
}

function firstSeed(): number {
  return setting("DIPC_SEED", crypto.getRandomValues(new Uint32Array(1))[0] >>> 1);
}

const bounded = (seed: number): Promise<Outcome> => inTime(seed, simulate(seed, streams));

async function inTime<T>(seed: number, running: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`schedule ${seed} hangs`)), HANG_MS);
  });
  try {
    return await Promise.race([running, hang]);
  } finally {
    clearTimeout(timer);
  }
}

function explain(outcome: Outcome): string {
  const { seed, plan, defects, error, whole } = outcome;
  const end = whole
    ? "whole"
    : error instanceof Error
    ? `${(error as DipcError).code}: ${error.message}`
    : String(error);
  return `DIPC_SEED=${seed} DIPC_SCHEDULES=1: ${
    defects.join("; ") || "should have been whole"
  }\n  ended ${end}\n  plan ${plan}`;
}

Deno.test("every simulated schedule ends whole and equal or with an error", async (t) => {
  const first = firstSeed();
  const count = setting("DIPC_SCHEDULES", 3000);
  console.log(`simulation: seeds ${first} to ${first + count - 1}`);
  const faults = noFaults();
  const endings = new Map<string, number>();
  const wrong: string[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await bounded(seed);
    for (const kind of FAULT_KINDS) faults[kind] += outcome.faults[kind];
    const ending = outcome.whole ? "whole" : outcome.error instanceof DipcError ? outcome.error.code : "other";
    endings.set(ending, (endings.get(ending) ?? 0) + 1);
    if (outcome.defects.length > 0 || outcome.mustBeWhole && !outcome.whole) wrong.push(explain(outcome));
  }
  console.log(`simulation: ${count} schedules ended ${[...endings].map(([end, n]) => `${end} ${n}`).join(", ")}`);
  console.log(`simulation: faults ${FAULT_KINDS.map((kind) => `${kind} ${faults[kind]}`).join(", ")}`);
  assertEquals(wrong, [], wrong.slice(0, 5).join("\n"));
  if (count >= 1000) {
    await t.step("and every kind of fault happened", () => {
      for (const kind of FAULT_KINDS) assertGreater(faults[kind], 0, `the fault ${kind} never happened`);
      assertGreater(endings.get("whole") ?? 0, count / 4);
    });
  }
});

Deno.test("the same seed gives the same schedule", async () => {
  const facts = async (seed: number) => {
    const { whole, error, faults, virtualMs, plan } = await bounded(seed);
    return { whole, error: String(error), faults, virtualMs, plan };
  };
  const different = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    const once = await facts(seed);
    assertEquals(await facts(seed), once, `seed ${seed}`);
    different.add(JSON.stringify(once));
  }
  assertNotEquals(different.size, 1);
});

Deno.test("simulated clients of a whole server get all of their stream or an error", async () => {
  const first = firstSeed();
  const count = Math.ceil(setting("DIPC_SCHEDULES", 3000) / 5);
  console.log(`simulation of the library: seeds ${first} to ${first + count - 1}`);
  const endings = new Map<string, number>();
  const wrong: string[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await inTime(seed, simulateLibrary(seed, streams));
    for (const ending of outcome.endings) endings.set(ending, (endings.get(ending) ?? 0) + 1);
    if (outcome.defects.length > 0) {
      wrong.push(`DIPC_SEED=${seed} DIPC_SCHEDULES=1: ${outcome.defects.join("; ")}\n  plan ${outcome.plan}`);
    }
  }
  console.log(`simulation of the library: clients ended ${[...endings].map(([end, n]) => `${end} ${n}`).join(", ")}`);
  assertEquals(wrong, [], wrong.slice(0, 5).join("\n"));
  assertGreater(endings.get("whole") ?? 0, count < 100 ? -1 : count / 2);
});
