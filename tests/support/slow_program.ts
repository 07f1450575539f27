/**
 * A reader that sleeps a millisecond after each batch, and watches its own memory.
 *
 *     slow_program.ts URIS_AS_JSON BATCHES using|drop|keep-column|brake
 *
 * `using` disposes each batch, `drop` forgets it, `keep-column` keeps a column of the first batch and drops the batch,
 * `brake` takes ten batches, prints `ten`, waits for a line on standard input and goes on. Prints one JSON object.
 *
 * @module
 */
import { connect } from "../../mod.ts";
import { peakResidentBytes, residentBytes } from "./proc.ts";

const [uris, total, mode] = Deno.args;
const batches = Number(total);
const quarters = new Set([1, 2, 4].map((part) => Math.floor(batches * part / 4)));
const resident: number[] = [];
let kept: BigInt64Array | null = null;
let unchanged = true;
let taken = 0;
let error: { code: string; message: string } | null = null;

function isUnchanged(values: BigInt64Array): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== BigInt(i)) return false;
  return values[0] === 0n;
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

try {
  await using reader = await connect(JSON.parse(uris));
  for (;;) {
    const { value, done } = await reader.next();
    if (done) break;
    if (mode === "keep-column" && taken === 0) kept = value.getChildAt(0)!.toArray() as BigInt64Array;
    if (value.numRows === 0) throw new Error("a batch without rows");
    if (mode === "using") value[Symbol.dispose]();
    taken++;
    if (quarters.has(taken)) {
      resident.push(residentBytes("self"));
      if (kept !== null) {
        (globalThis as { gc?: () => void }).gc?.();
        unchanged &&= isUnchanged(kept);
      }
    }
    if (mode === "brake" && taken === 10) {
      console.log("ten");
      await Deno.stdin.read(new Uint8Array(1));
    }
    await pause();
  }
} catch (caught) {
  const { code, message } = caught as { code?: string; message: string };
  error = { code: code ?? "none", message };
}
if (kept !== null) unchanged &&= isUnchanged(kept);
console.log(JSON.stringify({ taken, resident, peak: peakResidentBytes("self"), unchanged, error }));
Deno.exit(0);
