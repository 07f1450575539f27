/**
 * The client's part of the scenario `do_exchange:echo`: whatever is sent comes back, data and metadata in one message where
 * they were sent so.
 *
 * @module
 */
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { fromBatches } from "../../mod.ts";
import type { FlightChunk, FlightClient } from "../../flight.ts";

/** Batches that are sent; every other one with metadata. */
const BATCHES = 4;
const ROWS = 10;

/** Runs it. */
export async function runEcho(client: FlightClient): Promise<void> {
  const batches: RecordBatch[] = Array.from(
    { length: BATCHES },
    (_, number) => tableFromArrays({ x: Int32Array.from({ length: ROWS }, (_, i) => number * ROWS + i) }).batches[0],
  );
  const dataset = await fromBatches(batches);
  await using exchange = await client.doExchange({ command: "echo" });
  const chunks = exchange.reader[Symbol.asyncIterator]();
  const next = async (): Promise<FlightChunk> => {
    const { value, done } = await chunks.next();
    if (done) throw new Error("the echo ended early");
    return value;
  };
  try {
    await exchange.begin(dataset.schema);
    const run = await dataset.open();
    let number = 0;
    for (let message; (message = await run.next()) !== null; number++) {
      const label = number % 2 === 1 ? `metadata ${number}` : null;
      await exchange.write(message, label === null ? undefined : new TextEncoder().encode(label));
      const { batch, appMetadata } = await next();
      const found = appMetadata === null ? null : new TextDecoder().decode(appMetadata);
      if (found !== label) throw new Error(`batch ${number}: expected the metadata "${label}", found "${found}"`);
      const values = batch === null ? null : [...batch.getChildAt(0)!].join();
      const expected = [...batches[number].getChildAt(0)!].join();
      if (values !== expected) throw new Error(`batch ${number}: expected ${expected}, found ${values}`);
    }
    await run.close();
    await exchange.doneWriting();
    if (!(await chunks.next()).done) throw new Error("the echo goes on after its end");
  } finally {
    await dataset.close();
  }
}
