/**
 * A client, in a process of its own, that reads streams into the memory of a GPU over and over, holds batches and drops some, until
 * it is killed.
 *
 *     ipc_reader.ts SEED URI
 *
 * Prints a line before the first stream. Ends with status 1 and the error if a value is wrong or a stream fails.
 *
 * @module
 */
import { connectCuda } from "../../../cuda.ts";
import type { DeviceRecordBatch } from "../../../src/device/record_batch.ts";
import { Random } from "../../support/random.ts";

const random = new Random(Number(Deno.args[0]));
const held: DeviceRecordBatch[] = [];
console.log("reading");
for (;;) {
  await using stream = await connectCuda(Deno.args[1]);
  let number = 0;
  for await (const batch of stream) {
    held.push(batch);
    using host = await batch.toHost();
    const first = host.getChildAt(0)!.get(0);
    if (first !== BigInt(number++)) throw new Error(`batch ${number - 1} begins with ${first}`);
    while (held.length > random.below(6)) {
      const [one] = held.splice(random.below(held.length), 1);
      if (random.chance(0.8)) one[Symbol.dispose]();
    }
    if (random.chance(0.05)) break;
  }
}
