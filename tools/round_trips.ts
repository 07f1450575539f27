/**
 * `deno task round-trips [--tables N] [--seed N] [--formats A,B]`: writes N random tables (10,000) of every Arrow type in every format and
 * from each format in another one, reads them back, and compares the values. Goes on after a difference, and says which seeds to
 * repeat.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { OUTPUT_FORMATS } from "../src/formats/registry.ts";
import { TemporaryFolder } from "../tests/support/paths.ts";
import { roundTrip, type Tally } from "../tests/support/round_trip.ts";

/** Differences that are shown. */
const MAX_SHOWN = 20;

const options = parseArgs(Deno.args, { string: ["tables", "seed", "formats"] });
const tables = Number(options.tables ?? 10_000);
const names = options.formats?.split(",");
const formats = OUTPUT_FORMATS.filter(({ name }) => names === undefined || names.includes(name));
const first = Number(options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
if (!(tables > 0) || !Number.isSafeInteger(first) || formats.length === 0) {
  console.error("round_trips: --tables is a number over 0, --seed an integer, --formats are names of formats");
  Deno.exit(2);
}
console.log(`seeds ${first} to ${first + tables - 1}`);
const tally: Tally = new Map();
let different = 0;
for (let seed = first; seed < first + tables; seed++) {
  using folder = new TemporaryFolder();
  try {
    await roundTrip(seed, folder, tally, formats);
  } catch (error) {
    if (++different <= MAX_SHOWN) console.log(error instanceof Error ? error.message : error);
  }
}
for (const [step, count] of [...tally].sort()) console.log(`${`${count}`.padStart(7)}  ${step}`);
console.log(`${different} of ${tables} tables differ`);
Deno.exit(different === 0 ? 0 : 1);
