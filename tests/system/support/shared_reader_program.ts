/**
 * Reads a dataset in a server's memory and says what that took.
 *
 * By a remote key if the URI names no socket.
 *
 *     shared_reader_program.ts URI whole      reads every value, then answers each line of standard input until it is closed
 *     shared_reader_program.ts URI slow N     checks the stamps of every batch, holds some, and stops for 5 ms at every Nth
 *
 * @module
 */
import { connect, type OwnedRecordBatch } from "../../../mod.ts";
import { Random } from "../../support/random.ts";

const [uri, mode, every] = Deno.args;
await using reader = await connect(uri, { remoteKeys: true });
const valuesOf = (batch: OwnedRecordBatch): BigInt64Array => batch.getChildAt(0)!.data[0].values as BigInt64Array;

/** Checks a batch: its number first, then rows counted up; all of them, or at some places. */
function check(batch: OwnedRecordBatch, number: number, step: number): void {
  const values = valuesOf(batch);
  if (values[0] !== BigInt(number)) throw new Error(`batch ${number} has the stamp ${values[0]}`);
  for (let row = 1; row < values.length; row += step) {
    if (values[row] !== BigInt(row)) throw new Error(`batch ${number}, row ${row}: ${values[row]}`);
  }
}

let number = 0;
if (mode === "whole") {
  const batches: OwnedRecordBatch[] = [];
  for await (const batch of reader) {
    let sum = 0;
    // A word of every page, so that all of them are mapped.
    const values = valuesOf(batch);
    for (let row = 0; row < values.length; row += 512) sum += Number(values[row]);
    if (sum === 0) throw new Error(`batch ${number} is empty`);
    batches.push(batch);
    number++;
  }
  console.log(JSON.stringify({ ...reader.stats, batches: number }));
  for await (const _ of Deno.stdin.readable);
  if (batches.some((batch) => batch.numRows === 0)) throw new Error("a batch has no rows");
} else {
  const random = new Random(7);
  const held: { batch: OwnedRecordBatch; number: number }[] = [];
  for await (const batch of reader) {
    check(batch, number, 512);
    held.push({ batch, number: number++ });
    if (number % Number(every) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while (held.length > 4) {
      const [one] = held.splice(random.below(held.length), 1);
      // Nobody else has been given the block meanwhile.
      check(one.batch, one.number, 512);
      one.batch[Symbol.dispose]();
    }
  }
  for (const { batch, number } of held) check(batch, number, 1);
  console.log(JSON.stringify({ ...reader.stats, batches: number }));
}
