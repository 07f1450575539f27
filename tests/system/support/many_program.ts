/**
 * Many streams at once in one process.
 *
 *     many_program.ts URIS_AS_JSON COUNT BATCHES ROWS [idle]
 *
 * Connects COUNT streams, prints `ready`, waits for a line on standard input, then reads all streams at once, checks
 * each value at the edges of each batch, and prints one JSON object. With `idle` it takes one batch of each before.
 *
 * @module
 */
import { connect, type DissociatedStreamReader } from "../../../mod.ts";
import { descriptorCount, peakResidentBytes, processorSeconds } from "../../support/proc.ts";

const uris = JSON.parse(Deno.args[0]) as string[];
const [count, batches, rows] = Deno.args.slice(1, 4).map(Number);
const isIdle = Deno.args[4] === "idle";

function check(values: BigInt64Array, batch: number): void {
  if (values.length !== rows || values[0] !== BigInt(batch) || values[rows - 1] !== BigInt(rows - 1)) {
    throw new Error(`batch ${batch} holds ${values.length} values from ${values[0]} to ${values.at(-1)}`);
  }
}

async function takeOne(reader: DissociatedStreamReader, batch: number): Promise<boolean> {
  const { value, done } = await reader.next();
  if (done) return false;
  using taken = value;
  check(taken.getChildAt(0)!.toArray() as BigInt64Array, batch);
  return true;
}

const readers: DissociatedStreamReader[] = [];
// Not all in one moment: a listener's backlog is finite.
for (let i = 0; i < count; i += 16) {
  readers.push(...await Promise.all(Array.from({ length: Math.min(16, count - i) }, () => connect(uris))));
}
if (isIdle) { for (const reader of readers) await takeOne(reader, 0); }
const before = processorSeconds("self");
const descriptors = descriptorCount("self");
console.log("ready");
await Deno.stdin.read(new Uint8Array(1));
const idleSeconds = processorSeconds("self") - before;
const failures: string[] = [];
let whole = 0, bytes = 0;
await Promise.all(readers.map(async (reader) => {
  try {
    let taken = isIdle ? 1 : 0;
    while (await takeOne(reader, taken)) taken++;
    if (taken !== batches || !reader.stats.complete) throw new Error(`only ${taken} batches`);
    whole++;
    bytes += reader.stats.bodyBytes;
  } catch (error) {
    failures.push((error as Error).message);
  }
}));
console.log(JSON.stringify({ whole, bytes, failures, idleSeconds, descriptors, peak: peakResidentBytes("self") }));
Deno.exit(0);
