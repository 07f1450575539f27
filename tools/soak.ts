/**
 * `deno task soak [NAME...]`: what takes too long for the tests. Large data in full size, whole by checksum, with memory
 * that stays flat. Needs about 10 GB of free disk space for temporary files.
 *
 * @module
 */
import { MIB } from "../src/bytes.ts";
import { largeFile, slowReader, truncatedFile, wideTableArrives } from "../tests/support/soak.ts";

const GIB = 1024 * MIB;

const cases: Record<string, () => Promise<void>> = {
  "arrow-1GiB": () => largeFile("arrow", GIB),
  "parquet-1GiB": () => largeFile("parquet", GIB),
  "table-100x1000000": () => wideTableArrives(100, 1_000_000),
  "slow-8GiB-using": () => slowReader(8 * GIB, "using"),
  "slow-8GiB-drop": () => slowReader(8 * GIB, "drop"),
  "keep-column-2GiB": () => slowReader(2048 * MIB, "keep-column"),
  "truncated-4GiB": () => truncatedFile(4 * GIB),
};

const names = Deno.args.length > 0 ? Deno.args : Object.keys(cases);
const unknown = names.filter((name) => cases[name] === undefined);
if (unknown.length > 0) {
  console.error(`soak: there is no ${unknown.join(", ")}; there are ${Object.keys(cases).join(", ")}`);
  Deno.exit(2);
}
let passed = 0, failed = 0;
for (const name of names) {
  const started = performance.now();
  let outcome = "passed";
  try {
    await cases[name]();
    passed++;
  } catch (error) {
    failed++;
    outcome = "FAILED";
    console.error(error);
  }
  console.log(`${outcome}: ${name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
