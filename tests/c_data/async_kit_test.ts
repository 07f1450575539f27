/**
 * The conformance kit for asynchronous device streams finds whoever breaks a rule.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  buildArrowCpp,
  buildChecker,
  buildSample,
  checkAll,
  checkApart,
  loadKit,
  rulesOf,
} from "../../tools/async_kit.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";

/** The rule that finds each mistake of the sample. */
const MISTAKES: Readonly<Record<number, string>> = {
  1: "producer sets-producer",
  2: "producer demand-limits",
  3: "producer no-recursion",
  4: "producer releases-once",
  5: "producer cancel-no-error",
  6: "producer task-refused",
  7: "producer error-is-last",
  8: "producer producer-stays",
  11: "consumer requests-positive",
  12: "consumer extracts-once",
  13: "consumer reads-all",
  14: "consumer error-no-call",
  15: "consumer releases-arrays",
  16: "consumer back-pressure",
  17: "consumer cancels",
  18: "consumer takes-schema",
};

peerTest(
  ["compiler", "arrowCpp"],
  "the kit finds eight mistakes of a producer and eight of a consumer",
  async ({ compiler }) => {
    const rules = new Map(rulesOf(loadKit(compiler)).map((rule) => [`${rule.role} ${rule.name}`, rule]));
    const checker = buildChecker(compiler);
    const sample = buildSample(compiler);
    const findings = await Promise.all(
      Object.entries(MISTAKES).map(async ([mistake, name]) => {
        const { result } = await checkApart(checker, sample, rules.get(name)!, { ASYNC_SAMPLE_MISTAKE: mistake });
        return [mistake, result === "crashed" ? "broken" : result];
      }),
    );
    assertEquals(findings, Object.keys(MISTAKES).map((mistake) => [mistake, "broken"]));
  },
);

const TOOL = `${ROOT}/tools/async_conformance.ts`;

async function runTool(...args: string[]): Promise<{ code: number; output: string }> {
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-check", TOOL, ...args] });
  const { code, stdout, stderr } = await command.output();
  return { code, output: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

peerTest(
  ["compiler", "arrowCpp"],
  "the runner lists, filters, prints JSON, and exits with 0, 1 or 2",
  async (peers) => {
    const [list, kept, broken, missing, nothing] = await Promise.all([
      runTool("--list", "--json"),
      runTool("sample", "--json", "--filter", "cancel-"),
      runTool("sample", "--filter", "cancel-no-error"),
      runTool("/no/such/file.so"),
      runTool(),
    ]);
    assertEquals([list.code, kept.code, broken.code, missing.code, nothing.code], [0, 0, 0, 2, 2]);
    assertEquals(JSON.parse(list.output).length, rulesOf(loadKit(peers.compiler)).length);
    const findings = JSON.parse(kept.output) as { name: string; result: string }[];
    assertEquals(findings.map(({ result }) => result), findings.map(() => "kept"));
    assertEquals(findings.length, 6);
    assertStringIncludes(broken.output, "1 of 1 rules are kept");
    assertStringIncludes(nothing.output, "usage:");
  },
);

peerTest(["compiler", "arrowCpp"], "docs/async-conformance.md is what the kit finds in Arrow C++", async (peers) => {
  const page = await Deno.readTextFile(`${ROOT}/docs/async-conformance.md`);
  const documented = new Map(
    [...page.matchAll(/^\| (producer|consumer) \| `([^`]+)` *\| `([^`]+)` *\| ([^|]+?) +\|/gm)]
      .map(([, role, name, place, result]) => [`${role} ${name} ${place}`, result === "kept"]),
  );
  const rules = rulesOf(loadKit(peers.compiler));
  const findings = await checkAll(buildChecker(peers.compiler), buildArrowCpp(peers.arrowCpp), rules);
  assertEquals(documented.size, findings.length);
  const wrong = findings.filter(({ role, name, place, result }) =>
    documented.get(`${role} ${name} ${place}`) !== (result === "kept")
  );
  assertEquals(wrong, []);
});
