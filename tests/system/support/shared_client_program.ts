/**
 * Reads datasets in a server's memory over and over, holds batches for a while, and changes columns, until it is ended.
 *
 *     shared_client_program.ts SEED URI...
 *
 * Prints a line once it reads; ends with status 1 and the error if a value is wrong, or a stream fails in an unexpected way.
 *
 * @module
 */
import { connect, DipcError, type OwnedRecordBatch } from "../../../mod.ts";
import { Random } from "../../support/random.ts";

const [seed, ...uris] = Deno.args;
const random = new Random(Number(seed));
const held: OwnedRecordBatch[] = [];
console.log("reading");
try {
  for (;;) {
    const reader = await connect(uris[random.below(uris.length)], { timeoutMs: 20_000 });
    let number = 0n;
    for await (const batch of reader) {
      const values = batch.getChildAt(0)!.data[0].values as BigInt64Array;
      const last = values.length - 1;
      if (values[0] !== number || values[last] !== BigInt(last)) {
        throw new Error(`batch ${number}: ${values[0]} … ${values[last]}`);
      }
      number++;
      if (random.chance(0.2)) values.fill(-1n);
      held.push(batch);
      while (held.length > random.below(12)) held.splice(random.below(held.length), 1)[0][Symbol.dispose]();
      if (random.chance(0.02)) break;
    }
  }
} catch (error) {
  // The server was ended, too.
  const isExpected = error instanceof DipcError && ["connection_lost", "unreachable", "timeout"].includes(error.code);
  if (!isExpected) {
    console.error(error);
    Deno.exit(1);
  }
}
