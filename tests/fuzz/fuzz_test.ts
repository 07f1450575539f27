/**
 * The fuzzing harness notices what it is there to notice, the committed corpus is clean, and a short run of every target
 * finds nothing. `deno task fuzz --seconds N` runs for longer.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { Random, seed } from "../support/random.ts";
import { shape, shapeHash } from "./answer.ts";
import { fuzz, MAX_INPUT_BYTES } from "./fuzzer.ts";
import { mutateBytes } from "./mutate.ts";
import { chooseTargets, loadCorpus, loadTargets } from "./registry.ts";
import type { FuzzTarget } from "./target.ts";
import { watch } from "./watch.ts";

/** Time for each target. */
const SECONDS = 0.5;

const targets = await loadTargets();

for (const target of targets) {
  Deno.test(`fuzzing ${target.name} for a moment finds nothing`, async () => {
    const corpus = loadCorpus(target);
    const report = await fuzz(target, { seconds: SECONDS, seed, corpus });
    console.log(
      `fuzz: ${target.name} seed ${seed}: ${report.executions} runs, ${report.accepted} mutants accepted, ` +
        `${report.answers} answers, ${corpus.length} inputs in the corpus`,
    );
    const found = report.findings.map(({ kind, detail, input }) => `${kind}: ${detail} (input ${input.toHex()})`);
    assertEquals(found, []);
    if (target.slowMs !== undefined) return;
    assertGreater(report.executions, 100);
    assertGreater(report.accepted, 0, "no mutant was accepted: the seeds do not reach far");
  });
}

const toy = (run: FuzzTarget["run"], more: Partial<FuzzTarget> = {}): FuzzTarget => ({
  name: "toy",
  files: [],
  seeds: () => [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
  run,
  ...more,
});
const short = { seconds: 0.05, seed: 1, corpus: [] };

Deno.test("an error that is not a DipcError is a finding with its input", async () => {
  const report = await fuzz(
    toy((input) => {
      if (input[0] === 0xFF) throw new RangeError("out of range");
      return true;
    }),
    { ...short, seconds: 1 },
  );
  assertEquals(report.findings.length, 1, "the same defect counts once");
  const [{ kind, detail, input }] = report.findings;
  assertEquals([kind, input[0]], ["throw", 0xFF]);
  assertStringIncludes(detail, "RangeError: out of range");
});

Deno.test("a DipcError is an answer, but an internal one is a finding", async () => {
  const refused = await fuzz(toy(() => Promise.reject(new DipcError("protocol", "no"))), short);
  assertEquals([refused.findings, refused.accepted], [[], 0]);
  const defect = await fuzz(
    toy(() => {
      throw new DipcError("internal", "a defect");
    }),
    short,
  );
  assertEquals(defect.findings.map(({ kind }) => kind), ["throw"]);
});

Deno.test("a run that allocates too much is a finding", async () => {
  const report = await fuzz(toy(() => true, { allocatedBytes: () => 101, maxAllocatedBytes: 100 }), short);
  assertEquals(report.findings[0].kind, "allocation");
  const within = await fuzz(toy(() => true, { allocatedBytes: () => 100, maxAllocatedBytes: 100 }), short);
  assertEquals(within.findings, []);
});

Deno.test("a run of over a second is a finding if it is slow again", async () => {
  /** A target whose first runs are slow. */
  const slowFor = (runs: number) =>
    toy(() => {
      const until = performance.now() + (runs-- > 0 ? 1050 : 0);
      while (performance.now() < until);
      return true;
    });
  assertEquals((await fuzz(slowFor(2), short)).findings.map(({ kind }) => kind), ["slow"]);
  assertEquals((await fuzz(slowFor(1), short)).findings, [], "once may be the machine's fault");
});

Deno.test("answers that differ only in numbers and quotations are one answer", async () => {
  const report = await fuzz(
    toy((input) => {
      const size = input.byteLength;
      throw new DipcError("protocol", `expected "${size}", found ${-size} at 0x${size.toString(16)}`);
    }),
    short,
  );
  assertEquals(report.answers, 1);
});

Deno.test("the hash of a message is that of its shape", () => {
  const messages = [
    'a "x" of 5 bytes',
    'a "y" of -77 bytes',
    'a "y" of 0xff bytes',
    'b "y" of 5 bytes',
    'a "\\"z" of 1.5 bytes',
    "a x of 5 bytes",
    "see ucx://h:1/a b",
    "see ucx://other, and more",
    'an open " mark',
  ];
  const groups = (name: (message: string) => unknown) => {
    const found = messages.map(name);
    return found.map((each) => found.indexOf(each));
  };
  assertEquals(groups((message) => shapeHash("io", message)), [0, 0, 0, 3, 0, 5, 6, 6, 8]);
  assertEquals(groups(shape), [0, 0, 0, 3, 0, 5, 6, 6, 8]);
  assert(shapeHash("io", "a") !== shapeHash("protocol", "a"), "a code counts");
});

Deno.test("the same seed gives the same mutants, and none is too long", () => {
  const make = (seed: number) => {
    const random = new Random(seed);
    const pool = [new Uint8Array(100).fill(1), new Uint8Array(0), new Uint8Array(5).fill(2)];
    return Array.from({ length: 3000 }, (_, i) => {
      const bytes = new Uint8Array(100);
      bytes.set(pool[i % 3]);
      return bytes.slice(0, mutateBytes(bytes, pool[i % 3].byteLength, pool, random, 64)).toHex();
    });
  };
  assertEquals(make(7), make(7));
  assert(make(7).join() !== make(8).join(), "two seeds give the same mutants");
  for (const hex of make(9)) assert(hex.length <= 128, `${hex.length / 2} bytes`);
  assertGreater(MAX_INPUT_BYTES, 64);
});

Deno.test("targets are chosen by their name or a part of it", () => {
  assertEquals(chooseTargets(targets, "protocol/uri").map(({ name }) => name), ["protocol/uri"]);
  assertEquals(chooseTargets(targets, "uri").map(({ name }) => name), ["protocol/uri"]);
  assertGreater(chooseTargets(targets, "protocol").length, 6);
  assertEquals(chooseTargets(targets, "protoco"), []);
});

Deno.test("a run that never comes back is found from outside, with its input", async () => {
  const worker = new URL("support/hanging_worker.ts", import.meta.url);
  const job = { target: "toy", seconds: 1, seed: 1, save: false };
  const { findings } = await watch(job, { hangMs: 300, worker });
  assertEquals(findings, [
    { target: "toy", kind: "hang", detail: "run 3 did not come back within 300 ms", input: Uint8Array.of(0xAB, 0xCD) },
  ]);
});

Deno.test("a worker fuzzes a target and reports", async () => {
  const { target, executions, findings } = await watch({ target: "protocol/tag", seconds: 0.1, seed: 1, save: false });
  assertEquals([target, findings], ["protocol/tag", []]);
  assertGreater(executions, 100);
});
