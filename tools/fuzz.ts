/**
 * Fuzzes what takes bytes from peers and files: `deno task fuzz [--seconds N] [--target NAME] [--seed N] [--save] [--list] [--coverage]`.
 *
 * Each target gets its share of the time. Prints executions a second and how many mutants were accepted; a finding (an
 * error that is not a DipcError, a run of over a second, an allocation over the limit) is written to `.cache/fuzz-findings/`, and
 * the exit status is 1. `--save` keeps inputs with new answers in `tests/fuzz/corpus/`. `--coverage` shows how
 * much of the files under test each target reaches instead; less than 60 % of one's is an error.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { chooseTargets, loadTargets } from "../tests/fuzz/registry.ts";
import type { Finding, FuzzReport } from "../tests/fuzz/target.ts";
import { watch } from "../tests/fuzz/watch.ts";
import { reportCoverage } from "./fuzz_coverage.ts";

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { string: ["seconds", "target", "seed"], boolean: ["save", "list", "coverage"] });
  const all = await loadTargets();
  if (options.list) {
    for (const { name } of all) console.log(name);
    return 0;
  }
  const seconds = number("--seconds", options.seconds ?? "60");
  const seed = options.seed === undefined
    ? crypto.getRandomValues(new Uint32Array(1))[0]
    : number("--seed", options.seed);
  const chosen = options.target === undefined ? all : chooseTargets(all, options.target);
  if (chosen.length === 0) {
    console.error(`error: no target ${options.target}; there are ${all.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  if (options.coverage) return await reportCoverage(chosen, 2, seed) === 0 ? 0 : 1;
  console.log(`fuzz: seed ${seed}, ${chosen.length} targets, ${seconds} s together`);
  let findings = 0;
  for (const { name, slowMs } of chosen) {
    const job = { target: name, seconds: seconds / chosen.length, seed, save: options.save === true };
    const report = await watch(job, slowMs === undefined ? {} : { hangMs: 2 * slowMs });
    print(report);
    for (const finding of report.findings) keep(finding);
    findings += report.findings.length;
  }
  console.log(`fuzz: ${findings} findings`);
  return findings === 0 ? 0 : 1;
}

function print({ target, executions, seconds, accepted, answers, findings }: FuzzReport): void {
  const rate = seconds > 0 ? Math.round(executions / seconds) : 0;
  const share = executions > 0 ? (100 * accepted / executions).toFixed(1) : "0";
  console.log(
    `${target.padEnd(24)} ${String(executions).padStart(10)} runs ${String(rate).padStart(8)}/s  ` +
      `${String(accepted).padStart(9)} accepted (${share} %)  ${
        String(answers).padStart(4)
      } answers  ${findings.length} findings`,
  );
}

function keep(finding: Finding): void {
  Deno.mkdirSync(".cache/fuzz-findings", { recursive: true });
  const name = `${finding.target.replaceAll("/", "-")}-${finding.kind}-${crypto.randomUUID().slice(0, 8)}`;
  Deno.writeFileSync(`.cache/fuzz-findings/${name}`, finding.input);
  console.error(`finding: ${finding.target} ${finding.kind}: ${finding.detail}\n  input: .cache/fuzz-findings/${name}`);
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
