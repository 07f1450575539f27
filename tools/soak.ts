/**
 * `deno task soak [NAME...]`: what takes too long for the tests. Large data in full size, whole by checksum, with memory
 * that stays flat. Needs about 10 GB of free disk space for temporary files.
 *
 * `deno task soak --minutes N [--seed N]`: clients of every kind come to one server, and go (`soak_churn.ts`); with `--leases`:
 * clients hold batches in a server's memory, and give them back (`soak_leases.ts`).
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { MIB } from "../src/bytes.ts";
import { largeFile, slowReader, truncatedFile, wideTableArrives } from "../tests/support/soak.ts";

import { soakChurn } from "./soak_churn.ts";
import { soakLeases } from "./soak_leases.ts";

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

const options = parseArgs(Deno.args, { string: ["minutes", "seed"], boolean: ["leases"] });
if (options.minutes !== undefined) {
  const minutes = Number(options.minutes);
  const seed = Number(options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
    console.error("soak: --minutes is a number over 0, --seed an integer");
    Deno.exit(2);
  }
  const soak = options.leases ? soakLeases : soakChurn;
  Deno.exit(await soak(minutes, seed) === 0 ? 0 : 1);
}

const names = options._.length > 0 ? options._.map(String) : Object.keys(cases);
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
