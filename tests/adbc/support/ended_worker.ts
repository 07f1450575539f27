/**
 * A program whose web workers open a database by a driver that nothing else has opened, and are ended in the middle of its calls.
 *
 * `deno run -A tests/adbc/support/ended_worker.ts DRIVER`
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { openDatabase } from "../../../adbc.ts";

const WORKERS = 2;
/** Takes seconds, without a row. */
const LONG =
  "with recursive n(i) as (select 0 union all select i + 1 from n where i < 100000000) select i from n where i < 0";

async function queryForLong(driver: string): Promise<void> {
  const database = await openDatabase(driver, { uri: ":memory:" });
  const connection = await database.connect();
  self.postMessage("begins");
  for await (using batch of await connection.query(LONG)) void batch;
}

async function endWorkers(): Promise<void> {
  for (let i = 0; i < WORKERS; i++) {
    const worker = new Worker(import.meta.url, { type: "module" });
    const begins = new Promise((resolve) => worker.onmessage = resolve);
    worker.postMessage(Deno.args[0]);
    await begins;
    await new Promise((resolve) => setTimeout(resolve, 30));
    worker.terminate();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  console.log(`${WORKERS} workers have ended`);
  Deno.exit(); // without waiting for the queries
}

if ("WorkerGlobalScope" in globalThis) self.onmessage = ({ data }: MessageEvent<string>) => queryForLong(data);
else await endWorkers();
