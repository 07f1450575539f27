/**
 * A client for tests, in a process of its own: reads a stream of `generated` batches and prints one line for each step.
 *
 *     client_program.ts URIS_AS_JSON PAUSE_MS
 *
 * @module
 */
import { connect } from "../../../mod.ts";
import { delay } from "../../support/time.ts";

const [uris, pauseMs] = Deno.args;
console.log("started");
await using reader = await connect(JSON.parse(uris));
console.log("schema");
for await (using batch of reader) {
  console.log(`batch ${batch.numRows}`);
  if (Number(pauseMs) > 0) await delay(Number(pauseMs));
}
console.log("end");
