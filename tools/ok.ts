/**
 * `deno task ok [--again]`: everything that must hold before a change is good: format, lint, types, documentation of all
 * public names, examples in documentation, publish dry run, and all tests.
 *
 * Tests that have passed on these very files within the last hours are not run again, unless `--again` is given.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { REPOSITORY } from "./peers.ts";
import { closingLine, LAST_RESULT, runTests, type TestResult } from "./test.ts";
import { treeDigest } from "./tree.ts";

/** How long a result of the tests stands. */
const RESULT_HOLDS_MS = 2 * 3_600_000;

interface Step {
  readonly name: string;
  readonly args: string[];
  /** Text on standard error that makes it fail, although the command itself does not. */
  readonly forbidden?: RegExp;
}

/** Entry points of the package. */
function entryPoints(): string[] {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${REPOSITORY}/deno.json`)) as {
    exports: Record<string, string>;
  };
  return Object.values(exports);
}

function steps(): Step[] {
  return [
    { name: "format", args: ["fmt", "--check"] },
    { name: "lint", args: ["lint"] },
    { name: "types, and a lock file that is up to date", args: ["check", "--frozen", "."] },
    { name: "documentation of every public name", args: ["doc", "--lint", ...entryPoints()] },
    { name: "types of the examples in documentation", args: ["check", "--doc-only", ...entryPoints(), "README.md"] },
    // Uncommitted files would stop it; what is checked is what is there.
    { name: "publish dry run", args: ["publish", "--dry-run", "--allow-dirty"], forbidden: /\bwarning\b/i },
  ];
}

async function run(step: Step): Promise<boolean> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: step.args,
    cwd: REPOSITORY,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const errors = decoder.decode(stderr);
  const isGood = code === 0 && !(step.forbidden?.test(errors) ?? false);
  console.log(`${isGood ? "ok    " : "FAILED"}  ${step.name}  (deno ${step.args.join(" ")})`);
  if (!isGood) console.log(`${decoder.decode(stdout)}${errors}`);
  return isGood;
}

async function earlierResult(): Promise<TestResult | null> {
  try {
    const result = JSON.parse(await Deno.readTextFile(LAST_RESULT)) as TestResult;
    const age = Date.now() - Date.parse(result.endedAt);
    const isSameKind = result.ci || Deno.env.get("CI") !== "true";
    const stands = result.tree !== null && result.failed === 0 && isSameKind && age >= 0 && age < RESULT_HOLDS_MS;
    return stands && result.tree === await treeDigest() ? result : null;
  } catch {
    return null;
  }
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { boolean: ["again"] });
  const failed: string[] = [];
  for (const step of steps()) if (!await run(step)) failed.push(step.name);

  const earlier = args.again ? null : await earlierResult();
  let tests: TestResult;
  if (earlier !== null) {
    tests = earlier;
    console.log(`ok      tests  (they passed on these very files at ${earlier.endedAt}; --again runs them again)`);
  } else {
    tests = await runTests([]);
    console.log(`${tests.failed === 0 ? "ok    " : "FAILED"}  tests`);
    if (tests.failed > 0) failed.push("tests");
  }
  console.log(failed.length === 0 ? "all is well" : `not well: ${failed.join(", ")}`);
  console.log(
    closingLine({ ...tests, passed: tests.passed, failed: tests.failed + failed.filter((x) => x !== "tests").length }),
  );
  Deno.exit(failed.length === 0 ? 0 : 1);
}
