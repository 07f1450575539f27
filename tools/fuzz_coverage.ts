/**
 * Which part of the code under test each fuzz target reaches: the table of `deno task fuzz --coverage`.
 *
 * Branches are those of V8's block coverage, as `deno coverage` counts them; code of functions that were never called has
 * no branches there, so lines are counted too.
 *
 * @module
 */
import { fileOf } from "../tests/fuzz/registry.ts";
import type { FuzzTarget } from "../tests/fuzz/target.ts";
import { REPOSITORY } from "./repository.ts";

/** A target that reaches a smaller share of the branches or of the lines of its files than this fails; files are shared. */
const LEAST_BRANCHES = 0.5, LEAST_LINES = 0.35;
/** A run that takes longer is ended, in milliseconds. */
const LONGEST_MS = 120_000;

interface Counts {
  branches: number;
  branchesReached: number;
  lines: number;
  linesReached: number;
}

/**
 * Runs every target for a moment and prints what it reaches.
 *
 * @param seconds Time of each target
 * @returns the number of targets that reach too little
 */
export async function reportCoverage(targets: readonly FuzzTarget[], seconds: number, seed: number): Promise<number> {
  console.log(
    `fuzz: seed ${seed}, ${seconds} s for each target; at least ${percent(LEAST_BRANCHES)} of branches, ${
      percent(LEAST_LINES)
    } of lines`,
  );
  console.log(`${"target".padEnd(20)} ${"branches".padStart(16)} ${"lines".padStart(16)}  files`);
  let missed = 0;
  for (const target of targets) {
    const found = await coverageOf(target, seconds, seed);
    const counts = target.files.map((file) => found.get(file) ?? linesOf(file));
    const sum = (key: keyof Counts) => counts.reduce((total, each) => total + each[key], 0);
    const branches = share(sum("branchesReached"), sum("branches"));
    const lines = share(sum("linesReached"), sum("lines"));
    const reachesEnough = branches.value >= LEAST_BRANCHES && lines.value >= LEAST_LINES;
    if (!reachesEnough) missed++;
    const names = target.files.map((file) => file.replace(/^src\//, "")).join(" ");
    console.log(
      `${target.name.padEnd(20)} ${branches.text.padStart(16)} ${lines.text.padStart(16)}  ${names}${
        reachesEnough ? "" : "  TOO LITTLE"
      }`,
    );
  }
  console.log(`fuzz: ${missed} of ${targets.length} targets reach too little`);
  return missed;
}

function share(reached: number, total: number): { value: number; text: string } {
  const value = total === 0 ? 0 : reached / total;
  return { value, text: `${reached}/${total} ${percent(value).padStart(5)}` };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** The counts of a file that was not even loaded. */
function linesOf(file: string): Counts {
  const lines = Deno.readTextFileSync(`${REPOSITORY}/${file}`).split("\n").length;
  return { branches: 1, branchesReached: 0, lines, linesReached: 0 };
}

/** The counts of every file of `src/` that a run of the target loaded, by path. */
async function coverageOf(target: FuzzTarget, seconds: number, seed: number): Promise<Map<string, Counts>> {
  const folder = Deno.makeTempDirSync({ prefix: "dipc-fuzz-coverage-" });
  try {
    const program = ["tests/fuzz/cover_program.ts", fileOf(target), target.name, String(seconds), String(seed)];
    await deno(["run", "-A", "-q", `--coverage=${folder}`, ...program]);
    return readLcov(await deno(["coverage", "-q", "--lcov", "--include=/src/", folder]));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function deno(args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: REPOSITORY,
    signal: AbortSignal.timeout(LONGEST_MS),
  }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Reads the totals of each file from a report in lcov's format. */
function readLcov(text: string): Map<string, Counts> {
  const files = new Map<string, Counts>();
  for (const record of text.split("end_of_record")) {
    const path = /^SF:(.*)$/m.exec(record)?.[1];
    if (path === undefined) continue;
    const number = (key: string) => Number(new RegExp(`^${key}:(\\d+)$`, "m").exec(record)?.[1] ?? 0);
    files.set(path.slice(path.lastIndexOf("/src/") + 1), {
      ...{ branches: number("BRF"), branchesReached: number("BRH") },
      ...{ lines: number("LF"), linesReached: number("LH") },
    });
  }
  return files;
}
