/**
 * Fuzzes all targets, several concurrently, once or in rounds; a run in rounds can be stopped and continued.
 *
 * @module
 */
import type { Finding, FuzzReport, FuzzTarget } from "../tests/fuzz/target.ts";
import { watch } from "../tests/fuzz/watch.ts";
import { REPOSITORY } from "./repository.ts";

/** Time of each target in a round, in seconds. */
const ROUND_SECONDS = 10;
const FINDINGS = `${REPOSITORY}/.cache/fuzz-findings`;
const STATE = `${REPOSITORY}/.cache/fuzz-run.json`;

/** What to fuzz. */
export interface FuzzPlan {
  readonly targets: readonly FuzzTarget[];
  readonly seed: number;
  /** Targets that are fuzzed concurrently, each in a worker of its own. */
  readonly jobs: number;
  readonly save: boolean;
}

/** What a round came to. */
export interface FuzzTotals {
  readonly executions: number;
  readonly findings: number;
  /** Seconds that it took, those of loading the targets included. */
  readonly elapsed: number;
  readonly reports: readonly FuzzReport[];
}

/**
 * Fuzzes each target once.
 *
 * @param seconds Time of each target
 * @param prints Whether a line is printed for each target
 */
export async function fuzzAll(plan: FuzzPlan, seconds: number, prints: boolean): Promise<FuzzTotals> {
  const { targets, seed, jobs, save } = plan;
  const started = performance.now();
  const waiting = [...targets];
  const reports: FuzzReport[] = [];
  const work = async () => {
    for (let target; (target = waiting.shift()) !== undefined;) {
      const { name, slowMs } = target;
      const report = await watch(
        { target: name, seconds, seed, save },
        slowMs === undefined ? {} : { hangMs: 2 * slowMs },
      );
      reports.push(report);
      if (prints) print(report);
      for (const finding of report.findings) keep(finding);
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, targets.length) }, work));
  return {
    executions: reports.reduce((sum, { executions }) => sum + executions, 0),
    findings: reports.reduce((sum, { findings }) => sum + findings.length, 0),
    elapsed: (performance.now() - started) / 1000,
    reports,
  };
}

/** A run in rounds as it is stored after each. */
interface RunState {
  readonly seed: number;
  rounds: number;
  executions: number;
  findings: number;
  seconds: number;
  /** Runs of each target. */
  readonly targets: Record<string, number>;
}

/**
 * Fuzzes in rounds, each with a seed of its own, until enough runs were made.
 *
 * @param executions How many are enough
 * @param isResumed Whether to continue the run that was stopped last
 * @returns the number of findings
 */
export async function fuzzInRounds(plan: FuzzPlan, executions: number, isResumed: boolean): Promise<number> {
  const state = isResumed ? JSON.parse(Deno.readTextFileSync(STATE)) as RunState : newRun(plan.seed);
  console.log(
    `fuzz: seed ${state.seed}, ${plan.targets.length} targets, ${executions} runs, ${plan.jobs} concurrently`,
  );
  while (state.executions < executions) {
    const seed = (state.seed + state.rounds) >>> 0;
    const totals = await fuzzAll({ ...plan, seed }, ROUND_SECONDS, false);
    state.rounds++;
    state.executions += totals.executions;
    state.findings += totals.findings;
    state.seconds += totals.elapsed;
    for (const { target, executions } of totals.reports) {
      state.targets[target] = (state.targets[target] ?? 0) + executions;
    }
    Deno.mkdirSync(`${REPOSITORY}/.cache`, { recursive: true });
    Deno.writeTextFileSync(STATE, JSON.stringify(state));
    console.log(
      `round ${state.rounds} (seed ${seed}): ${state.executions} of ${executions} runs, ` +
        `${Math.round(totals.executions / totals.elapsed)}/s, ${state.findings} findings, ${
          state.seconds.toFixed(0)
        } s`,
    );
  }
  for (const [target, runs] of Object.entries(state.targets).sort()) {
    console.log(`${target.padEnd(24)} ${String(runs).padStart(12)} runs`);
  }
  console.log(`fuzz: ${state.executions} runs in ${state.seconds.toFixed(0)} s, ${state.findings} findings`);
  return state.findings;
}

function newRun(seed: number): RunState {
  return { seed, rounds: 0, executions: 0, findings: 0, seconds: 0, targets: {} };
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
  Deno.mkdirSync(FINDINGS, { recursive: true });
  const name = `${finding.target.replaceAll("/", "-")}-${finding.kind}-${crypto.randomUUID().slice(0, 8)}`;
  Deno.writeFileSync(`${FINDINGS}/${name}`, finding.input);
  console.error(`finding: ${finding.target} ${finding.kind}: ${finding.detail}\n  input: ${FINDINGS}/${name}`);
}
