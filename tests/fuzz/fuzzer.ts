/**
 * Runs one target on mutants of its corpus and watches what it does.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";
import { mutateBytes } from "./mutate.ts";
import type { Finding, FuzzReport, FuzzTarget } from "./target.ts";

/** A run that takes longer is a finding by default, in milliseconds. */
const SLOW_MS = 1000;
/** Longest input, in bytes. */
export const MAX_INPUT_BYTES = 64 * 1024;
/** Growth of the process that is a finding, in bytes. */
const MAX_GROWTH = 1024 ** 3;
const MAX_ALLOCATED = 64 * 1024 ** 2;
const MAX_POOL = 4000;
const MAX_FINDINGS = 10;
/** The clock and the memory are looked at after so many runs, and after each of a target with slow ones. */
const CHECK_EVERY = 512;

/** Options of {@linkcode fuzz}. */
export interface FuzzOptions {
  seconds: number;
  seed: number;
  /** Inputs of the committed corpus. */
  corpus: readonly Uint8Array<ArrayBuffer>[];
  /** Told before each run, so that a watcher knows the input of one that never comes back. */
  onInput?(input: Uint8Array): void;
  /** Told of each input with an answer that was not seen before. */
  onNew?(input: Uint8Array, answer: string): void;
}

/** Fuzzes one target for some time. The corpus and the seeds run first, unchanged. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { seconds, seed, corpus, onInput, onNew } = options;
  const random = new Random(seed);
  const findings: Finding[] = [];
  const answers = new Set<string>();
  const pool: Uint8Array<ArrayBuffer>[] = [];
  const slowMs = target.slowMs ?? SLOW_MS;
  const checkEvery = target.slowMs === undefined ? CHECK_EVERY : 1;
  const limit = target.maxAllocatedBytes ?? MAX_ALLOCATED;
  const longest = Math.min(target.maxInputBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES);
  let executions = 0, accepted = 0;

  const report = (kind: Finding["kind"], detail: string, input: Uint8Array) => {
    findings.push({ target: target.name, kind, detail, input: input.slice() });
  };
  /** @returns the answer, without its numbers */
  const execute = async (input: Uint8Array<ArrayBuffer>): Promise<string> => {
    onInput?.(input);
    executions++;
    const started = performance.now();
    let answer: string;
    try {
      const result = target.run(input);
      answer = (typeof result === "boolean" ? result : await result) ? "accepted" : "refused";
    } catch (error) {
      if (error instanceof DipcError && error.code !== "internal") {
        answer = `${error.code} ${shape(error.message)}`;
      } else {
        answer = `finding ${shape(String(error))}`;
        if (!answers.has(answer)) {
          report("throw", error instanceof Error ? error.stack ?? String(error) : String(error), input);
        }
      }
    }
    const took = performance.now() - started;
    // On a busy machine anything may take long once: what is slow is slow again.
    if (took > slowMs && await timeAgain(target, input) > slowMs) report("slow", `${took.toFixed(0)} ms`, input);
    const allocated = target.allocatedBytes?.() ?? 0;
    if (allocated > limit) report("allocation", `${allocated} bytes allocated, at most ${limit} are allowed`, input);
    return answer;
  };

  const first = [...target.seeds().map((bytes) => bytes.slice()), ...corpus.map((bytes) => bytes.slice())];
  for (const input of first) {
    answers.add(await execute(input.slice()));
    pool.push(input);
  }
  if (pool.length === 0) pool.push(new Uint8Array(0));

  const started = performance.now();
  const rssAtStart = Deno.memoryUsage().rss;
  let elapsed = 0;
  while (elapsed < seconds && findings.length < MAX_FINDINGS) {
    for (let i = 0; i < checkEvery && findings.length < MAX_FINDINGS; i++) {
      const parent = random.pick(pool);
      const input = target.mutate !== undefined && random.chance(0.5)
        ? target.mutate(parent, random).slice(0, longest)
        : mutateBytes(parent, pool, random, longest);
      const copy = input.slice(); // a target may write to its input
      const answer = await execute(input);
      if (answer === "accepted") accepted++;
      const isNew = !answers.has(answer);
      if (isNew) {
        answers.add(answer);
        onNew?.(copy, answer);
      }
      // What is new, and a few of those that were accepted, are worth changing further.
      if (isNew || answer === "accepted" && random.chance(0.01)) {
        if (pool.length < MAX_POOL) pool.push(copy);
        else pool[random.below(MAX_POOL)] = copy;
      }
    }
    elapsed = (performance.now() - started) / 1000;
    const growth = Deno.memoryUsage().rss - rssAtStart;
    if (growth > MAX_GROWTH) {
      report("memory", `the process grew by ${growth} bytes`, new Uint8Array(0));
      break;
    }
  }
  return { target: target.name, executions, seconds: elapsed, accepted, answers: answers.size, findings };
}

/** Milliseconds that one more run takes. */
async function timeAgain(target: FuzzTarget, input: Uint8Array): Promise<number> {
  const started = performance.now();
  try {
    await target.run(input.slice());
  } catch {
    // Its answer is known already.
  }
  return performance.now() - started;
}

/** A message without its numbers, its quotations and what follows a URI: what it says, not about what. */
function shape(message: string): string {
  return message.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\b[a-z+]+:\/\/.*/is, "URI").replace(
    /-?[0-9][0-9a-fx.]*/g,
    "N",
  ).slice(0, 160);
}
