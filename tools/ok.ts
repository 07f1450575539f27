/**
 * `deno task ok [--again | --no-tests]`: everything that must hold before a change is good: format, lint, types,
 * documentation of all public names, words, examples in documentation, publish dry run, and all tests.
 *
 * Tests that have passed on these very files within the last hours are not run again, unless `--again` is given;
 * `--no-tests` leaves them out, which takes seconds: before each commit.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { REPOSITORY } from "./repository.ts";
import { closingLine, LAST_RESULT, runTests, type TestResult } from "./test.ts";
import { treeDigest } from "./tree.ts";

/** How long a result of the tests stands. */
const RESULT_HOLDS_MS = 2 * 3_600_000;

interface Step {
  readonly name: string;
  readonly args: string[];
  /** What is wrong, by the output, if the exit status alone is not enough; null if nothing is. */
  readonly judge?: (code: number, output: string) => string | null;
}

/**
 * What `deno doc --lint` found, without types of npm packages: it wants those exported too, and then documented.
 * Only declarations of other packages begin with `export declare`.
 */
function undocumented(code: number, output: string): string | null {
  const errors = output.split(/^(?=error)/m).filter((part) => /^error\[/.test(part));
  const ours = errors.filter((part) =>
    !(part.startsWith("error[private-type-ref]") && /\| export declare /.test(part))
  );
  if (ours.length > 0) return ours.join("").trimEnd();
  return code === 0 || errors.length > 0 ? null : output;
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
    { name: "documentation of every public name", args: ["doc", "--lint", ...entryPoints()], judge: undocumented },
    { name: "the public surface, as docs/api.txt has it", args: ["run", "-A", "-q", "tools/api.ts", "--check"] },
    { name: "the layers, as CONTRIBUTING.md draws them", args: ["run", "-A", "-q", "tools/layers.ts", "--check"] },
    { name: "words", args: ["run", "-A", "-q", "tools/words.ts"] },
    { name: "types of the examples in documentation", args: ["check", "--doc-only", ...entryPoints(), "README.md"] },
    // Uncommitted files would stop it; what is checked is what is there.
    {
      name: "publish dry run, without a warning",
      args: ["publish", "--dry-run", "--allow-dirty"],
      judge: (code, output) => code === 0 && !/\bwarning\b/i.test(output) ? null : output,
    },
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
  const output = decoder.decode(stdout) + decoder.decode(stderr);
  const wrong = step.judge === undefined ? (code === 0 ? null : output) : step.judge(code, output);
  console.log(`${wrong === null ? "ok    " : "FAILED"}  ${step.name}  (deno ${step.args.join(" ")})`);
  if (wrong !== null) console.log(wrong);
  return wrong === null;
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
  const args = parseArgs(Deno.args, { boolean: ["again", "tests"], negatable: ["tests"], default: { tests: true } });
  const failed: string[] = [];
  for (const step of steps()) if (!await run(step)) failed.push(step.name);
  if (!args.tests) {
    console.log(failed.length === 0 ? "all is well, tests aside" : `not well: ${failed.join(", ")}`);
    Deno.exit(failed.length === 0 ? 0 : 1);
  }

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
