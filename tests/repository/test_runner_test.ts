/**
 * The test runner counts what happened: passes, failures, skips, crashes, and files without a test.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { readJunit } from "../../tools/junit.ts";
import { ROOT } from "../support/paths.ts";

const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="3" errors="0" time="0.004">
  <testsuite name="./a_test.ts" tests="7" disabled="2" errors="0" failures="3">
    <testcase name="ok &lt;1&gt; &amp; &quot;x&quot;" classname="./a_test.ts" time="0.000" line="1" col="6">
    </testcase>
    <testcase name="bad" classname="./a_test.ts" time="0.001" line="2" col="6">
      <failure message="Uncaught Error: boom &amp; bust">Error: boom</failure>
    </testcase>
    <testcase name="ignored" classname="./a_test.ts"><skipped/></testcase>
    <testcase name="steps"><failure message="1 test step failed">1 test step failed.</failure></testcase>
    <testcase name="steps &gt; one"></testcase>
    <testcase name="steps &gt; two"><skipped/></testcase>
    <testcase name="steps &gt; three"><failure message="Uncaught Error: x"></failure></testcase>
    <testcase name="own"><failure message="Uncaught Error: y"></failure></testcase>
    <testcase name="own &gt; one"/>
  </testsuite>
</testsuites>`;

Deno.test("a report's tests are counted once each, by their steps if they have some", () => {
  assertEquals(readJunit(REPORT), [
    { name: `ok <1> & "x"`, outcome: "passed", message: "" },
    { name: "bad", outcome: "failed", message: "Uncaught Error: boom & bust" },
    { name: "ignored", outcome: "skipped", message: "" },
    { name: "steps > one", outcome: "passed", message: "" },
    { name: "steps > two", outcome: "skipped", message: "" },
    { name: "steps > three", outcome: "failed", message: "Uncaught Error: x" },
    { name: "own", outcome: "failed", message: "Uncaught Error: y" },
    { name: "own > one", outcome: "passed", message: "" },
  ]);
  assertEquals(readJunit(""), []);
});

/** Runs the runner on files of these contents. */
async function runOn(...contents: string[]): Promise<{ code: number; lines: string[] }> {
  const folder = await Deno.makeTempDir({ dir: `${ROOT}/tests`, prefix: ".runner-" });
  try {
    const files = contents.map((_, index) => `${folder}/x${index}_test.ts`);
    for (const [index, file] of files.entries()) await Deno.writeTextFile(file, contents[index]);
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "tools/test.ts", ...files.map((file) => file.slice(ROOT.length + 1))],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stderr: "null",
    }).output();
    return { code, lines: new TextDecoder().decode(stdout).trim().split("\n") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the runner ends with the line of totals", async () => {
  const { code, lines } = await runOn(`
    Deno.test("a", () => {});
    Deno.test.ignore("b", () => {});
    Deno.test("c", () => { throw new Error("boom"); });
  `);
  assertEquals([code, lines.at(-1)], [1, "1 passed, 1 failed, 1 skipped"]);
  assertStringIncludes(lines.join("\n"), "x0_test.ts: c: Uncaught Error: boom");
});

Deno.test("a process that dies is a failure of its file", async () => {
  const { code, lines } = await runOn(`
    Deno.test("a", () => {});
    Deno.test("b", () => Deno.kill(Deno.pid, "SIGKILL"));
  `);
  assertEquals([code, lines.at(-1)], [1, "0 passed, 1 failed"]);
});

Deno.test("a run without a test, and one that does not type-check, fail", async () => {
  assertEquals((await runOn("")).lines.at(-1), "0 passed, 1 failed");
  const { code, lines } = await runOn(`Deno.test("a", () => {}); const n: number = "text"; console.log(n);`);
  assertEquals([code, lines.at(-1)], [1, "1 passed, 1 failed"]);
});

Deno.test("two files run at once, and what each prints stays together", async () => {
  // Each waits for the other's file, so that neither passes if they run one after the other.
  const waits = (own: string, other: string) => `
    Deno.test("${own}", async () => {
      const folder = import.meta.dirname;
      console.log("${own} begins");
      Deno.writeTextFileSync(folder + "/${own}", "");
      const deadline = Date.now() + 60_000;
      while (true) {
        try { Deno.statSync(folder + "/${other}"); break; } catch { /* not yet */ }
        if (Date.now() > deadline) throw new Error("the other file did not run");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      console.log("${own} ends");
    });`;
  const { code, lines } = await runOn(waits("one", "two"), waits("two", "one"));
  assertEquals(lines.at(-1), "2 passed, 0 failed");
  assertEquals(code, 0);
  const marks = lines.filter((line) => /^(one|two) (begins|ends)$/.test(line)).join(", ");
  const [first, second] = marks.startsWith("one") ? ["one", "two"] : ["two", "one"];
  assertEquals(marks, `${first} begins, ${first} ends, ${second} begins, ${second} ends`);
});
