/**
 * Fuzzes one target for a moment in a process of its own, whose coverage `tools/fuzz_coverage.ts` reads:
 * `cover_program.ts FILE NAME SECONDS SEED`. It loads no
 * other module of targets: what they do when they are loaded must not count.
 *
 * @module
 */
import { fuzz } from "./fuzzer.ts";
import { loadCorpus, loadTargetsOf } from "./registry.ts";

const [file, name, seconds, seed] = Deno.args;
const target = (await loadTargetsOf(file)).find((each) => each.name === name)!;
const { executions } = await fuzz(target, {
  seconds: Number(seconds),
  seed: Number(seed),
  corpus: loadCorpus(target),
});
console.log(executions);
Deno.exit(0);
