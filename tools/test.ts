/**
 * `deno task test [FILE...] [-- OPTIONS OF deno test]`: prepares what the tests need, runs each test file in a process of
 * its own, two at a time, and ends with the line `N passed, N failed[, N skipped]`.
 *
 * A process for each file, because a fault in native code ends the whole process: it must cost that file, and be
 * counted, but not hide the results of the others. Two at a time, because most files wait for other programs half of
 * their time. What a file prints is shown in one piece, when it ends. A run without a single test fails.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { type CaseResult, readJunit } from "./junit.ts";
import { REPOSITORY } from "./repository.ts";
import { prepare } from "./setup.ts";
import { treeDigest } from "./tree.ts";

/** Folders that are searched for `*_test.ts`. */
const FOLDERS = ["tests", "src", "ffi", "tools", "bench", "examples"];
/** Longest time for one file. */
const FILE_TIMEOUT_MS = 480_000;
/** How many of the slowest files are named at the end. */
const SHOWN_SLOWEST = 20;
/** How long what a program printed is waited for after its end. */
const PIPE_GRACE_MS = 2_000;
/** Files that run at once; no more, even on a larger machine, since the deadlines in tests are hard to keep on a busy one. */
const LANES = 2;
/** Files that load the machine, fill its memory, or look at all of it: they run after the others, one at a time. */
const ALONE: ReadonlySet<string> = new Set([
  "tests/flight/large_messages_test.ts",
  "tests/repository/bench_test.ts",
  "tests/system/conditions_test.ts",
  "tests/system/shared_large_test.ts",
]);
/** File with the result of the last complete run. */
export const LAST_RESULT: string = `${REPOSITORY}/.cache/last-test.json`;

/** Result of a whole run, as kept in {@linkcode LAST_RESULT}. */
export interface TestResult {
  /** Digest of the files that it holds for. */
  readonly tree: string | null;
  /** Whether a missing peer counted as a failure. */
  readonly ci: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** When it ended, ISO 8601. */
  readonly endedAt: string;
}

/** The closing line. */
export function closingLine(result: Pick<TestResult, "passed" | "failed" | "skipped">): string {
  const { passed, failed, skipped } = result;
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

function findTests(folder: string): string[] {
  const found: string[] = [];
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(`${REPOSITORY}/${folder}`)];
  } catch {
    return found;
  }
  for (const { name, isDirectory } of entries) {
    if (isDirectory) found.push(...findTests(`${folder}/${name}`));
    else if (/_test\.tsx?$/.test(name)) found.push(`${folder}/${name}`);
  }
  return found.sort();
}

/** What a program prints, until it ends; a process that it left behind may hold the pipe open, and is not waited for. */
async function collect(streams: Array<ReadableStream<Uint8Array>>, ended: Promise<unknown>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const readers = streams.map((stream) => stream.getReader());
  const whole = Promise.all(readers.map(async (reader) => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
  }));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = ended.then(() => new Promise((resolve) => timer = setTimeout(resolve, PIPE_GRACE_MS)));
  await Promise.race([whole, late]);
  clearTimeout(timer);
  for (const reader of readers) await reader.cancel().catch(() => {});
  return chunks;
}

/** Runs a command of Deno; what it prints is shown at once, or, with others beside it, when it ends. */
async function deno(
  args: string[],
  timeoutMs: number,
  isBeside = false,
): Promise<{ code: number; isLate: boolean }> {
  const output = isBeside ? "piped" : "inherit";
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: REPOSITORY,
    stdin: "null",
    stdout: output,
    stderr: output,
  }).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const printed = isBeside ? collect([child.stdout, child.stderr], child.status) : Promise.resolve([]);
  const { code, signal } = await child.status;
  clearTimeout(timer);
  for (const chunk of await printed) {
    for (let done = 0; done < chunk.length;) done += Deno.stdout.writeSync(chunk.subarray(done));
  }
  if (signal !== null && !isLate) console.error(`ended by ${signal}`);
  return { code, isLate };
}

async function runFile(file: string, options: string[], isBeside: boolean): Promise<CaseResult[]> {
  const report = await Deno.makeTempFile({ prefix: "dipc-test-", suffix: ".xml" });
  try {
    const { code, isLate } = await deno(
      ["test", "-A", "--no-check", "--trace-leaks", `--junit-path=${report}`, ...options, file],
      FILE_TIMEOUT_MS,
      isBeside,
    );
    const xml = await Deno.readTextFile(report);
    const results = readJunit(xml);
    if (isLate) {
      results.push({
        name: "(the whole file)",
        outcome: "failed",
        message: `not done after ${FILE_TIMEOUT_MS / 1000} s`,
      });
    } else if (code !== 0 && !results.some((result) => result.outcome === "failed")) {
      results.push({ name: "(the whole file)", outcome: "failed", message: `exit status ${code}` });
    }
    return results;
  } finally {
    await Deno.remove(report);
  }
}

/**
 * Runs tests.
 *
 * @param files Test files relative to the repository; all if none is given
 * @param options Further options of `deno test`
 */
export async function runTests(files: string[], options: string[] = []): Promise<TestResult> {
  const isWhole = files.length === 0 && options.length === 0;
  const tree = isWhole ? await treeDigest() : null;
  const list = files.length > 0 ? files : FOLDERS.flatMap(findTests);
  const started = performance.now();
  const all: Array<CaseResult & { file: string }> = [];
  const isReady = await prepare({ peers: true });
  if (!isReady) all.push({ file: "setup", name: "setup", outcome: "failed", message: "see above" });

  const check = await deno(["check", "--quiet", ...list], FILE_TIMEOUT_MS);
  if (check.code !== 0) {
    all.push({
      file: "all",
      name: "type check of the tests and what they import",
      outcome: "failed",
      message: "see above",
    });
  }
  const seconds = new Map<string, number>();
  const runAll = async (queue: string[], lanes: number) => {
    const next = queue.values();
    await Promise.all(Array.from({ length: Math.min(lanes, queue.length) }, async () => {
      for (const file of next) {
        const start = performance.now();
        const results = await runFile(file, options, lanes > 1 && queue.length > 1);
        seconds.set(file, (performance.now() - start) / 1000);
        all.push(...results.map((result) => ({ ...result, file })));
      }
    }));
  };
  await runAll(list.filter((file) => !ALONE.has(file)), LANES);
  await runAll(list.filter((file) => ALONE.has(file)), 1);

  const count = (outcome: CaseResult["outcome"]) => all.filter((result) => result.outcome === outcome).length;
  const print = (outcome: CaseResult["outcome"], title: string) => {
    const some = all.filter((result) => result.outcome === outcome);
    if (some.length > 0) console.log(`\n${title}`);
    for (const { file, name, message } of some) console.log(`  ${file}: ${name}${message ? `: ${message}` : ""}`);
  };
  print("skipped", "Skipped:");
  print("failed", "Failed:");
  if (count("passed") + count("failed") === 0) {
    all.push({ file: "all", name: "no test ran", outcome: "failed", message: "" });
    console.log("\nNo test ran.");
  }
  const slowest = [...seconds].sort((one, other) => other[1] - one[1]).slice(0, SHOWN_SLOWEST);
  if (list.length > SHOWN_SLOWEST) {
    console.log("\nSlowest:");
    for (const [file, taken] of slowest) console.log(`  ${taken.toFixed(0).padStart(4)} s  ${file}`);
  }
  console.log(`\n${list.length} files in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const result: TestResult = {
    tree,
    ci: Deno.env.get("CI") === "true",
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("skipped"),
    endedAt: new Date().toISOString(),
  };
  if (isWhole) {
    await Deno.mkdir(`${REPOSITORY}/.cache`, { recursive: true });
    await Deno.writeTextFile(LAST_RESULT, JSON.stringify(result));
  }
  return result;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["_"], "--": true });
  const result = await runTests(args._.map(String), args["--"] as string[]);
  console.log(closingLine(result));
  Deno.exit(result.failed === 0 ? 0 : 1);
}
