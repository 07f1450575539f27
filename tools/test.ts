/**
 * `deno task test [FILE...] [-- OPTIONS OF deno test]`: prepares what the tests need, runs each test file in a process of
 * its own, and ends with the line `N passed, N failed[, N skipped]`.
 *
 * A process for each file, because a fault in native code ends the whole process: it must cost that file, and be
 * counted, but not hide the results of the others. A run without a single test fails.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { type CaseResult, readJunit } from "./junit.ts";
import { REPOSITORY } from "./peers.ts";
import { prepare } from "./setup.ts";
import { treeDigest } from "./tree.ts";

/** Folders that are searched for `*_test.ts`. */
const FOLDERS = ["tests", "src", "ffi", "tools", "bench", "examples"];
/** Longest time for one file. */
const FILE_TIMEOUT_MS = 480_000;
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

async function deno(args: string[], timeoutMs: number): Promise<{ code: number; isLate: boolean }> {
  const child = new Deno.Command(Deno.execPath(), { args, cwd: REPOSITORY, stdin: "null" }).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const { code, signal } = await child.status;
  clearTimeout(timer);
  if (signal !== null && !isLate) console.error(`ended by ${signal}`);
  return { code, isLate };
}

async function runFile(file: string, options: string[]): Promise<CaseResult[]> {
  const report = await Deno.makeTempFile({ prefix: "dipc-test-", suffix: ".xml" });
  try {
    const { code, isLate } = await deno(
      ["test", "-A", "--no-check", "--trace-leaks", `--junit-path=${report}`, ...options, file],
      FILE_TIMEOUT_MS,
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
  for (const file of list) {
    const results = await runFile(file, options);
    all.push(...results.map((result) => ({ ...result, file })));
  }

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
