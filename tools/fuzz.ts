/**
 * Fuzzes what takes bytes from peers and files: `deno task fuzz [--seconds N | --executions N] [--target NAME] [--seed N]
 * [--jobs N] [--resume] [--save] [--list] [--coverage]`.
 *
 * Each target gets its share of the time. Prints executions a second and how many mutants were accepted; a finding (an
 * error that is not a DipcError, a run of over a second, an allocation over the limit) is written to
 * `.cache/fuzz-findings/`, and the exit status is 1. `--executions` goes on in rounds until that many runs were made, and
 * prints one line for each round; `--resume` continues such a run that was stopped. `--save` keeps inputs with new answers
 * in `tests/fuzz/corpus/`. `--coverage` shows how much of the files under test each target reaches instead; less than half
 * of the branches is an error.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { chooseTargets, loadTargets } from "../tests/fuzz/registry.ts";
import type { FuzzTarget } from "../tests/fuzz/target.ts";
import { reportCoverage } from "./fuzz_coverage.ts";
import { fuzzAll, fuzzInRounds } from "./fuzz_rounds.ts";

/** Time of each target under `--coverage`, in seconds. */
const COVERAGE_SECONDS = 2;

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, {
    string: ["seconds", "executions", "target", "seed", "jobs"],
    boolean: ["save", "list", "coverage", "resume"],
  });
  const all = await loadTargets();
  if (options.list) {
    for (const { name } of all) console.log(name);
    return 0;
  }
  const seed = options.seed === undefined
    ? crypto.getRandomValues(new Uint32Array(1))[0]
    : number("--seed", options.seed);
  const chosen: FuzzTarget[] = options.target === undefined ? all : chooseTargets(all, options.target);
  if (chosen.length === 0) {
    console.error(`error: no target ${options.target}; there are ${all.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  if (options.coverage) return await reportCoverage(chosen, COVERAGE_SECONDS, seed) === 0 ? 0 : 1;
  const jobs = Math.max(1, number("--jobs", options.jobs ?? String(navigator.hardwareConcurrency)));
  const plan = { targets: chosen, seed, jobs, save: options.save === true };
  if (options.executions !== undefined) {
    return await fuzzInRounds(plan, number("--executions", options.executions), options.resume === true) === 0 ? 0 : 1;
  }
  const seconds = number("--seconds", options.seconds ?? "60");
  console.log(`fuzz: seed ${seed}, ${chosen.length} targets, ${seconds} s together, ${jobs} concurrently`);
  const { executions, findings, elapsed } = await fuzzAll(plan, seconds * jobs / chosen.length, true);
  console.log(`fuzz: ${executions} runs, ${Math.round(executions / elapsed)}/s, ${findings} findings`);
  return findings === 0 ? 0 : 1;
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (text === "" || !Number.isFinite(value) || value < 0) {
    console.error(`error: ${name} is a number of at least 0, found ${JSON.stringify(text)}`);
    Deno.exit(2);
  }
  return value;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
