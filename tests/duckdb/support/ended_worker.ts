/**
 * A program whose web workers open a database of DuckDB, which nothing else has opened, and are ended in the middle of its queries: of
 * one without a row, and of one that is being read.
 *
 * `deno run -A tests/duckdb/support/ended_worker.ts LIBDUCKDB`
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { openDuckDb } from "../../../duckdb.ts";

/** Takes seconds, without a row. */
const LONG = "select sum(a.range * b.range) from range(10000000) a, range(1000000) b";
const QUERIES = [LONG, "from range(100000000)"];

async function queryForLong([library, sql]: string[]): Promise<void> {
  const database = await openDuckDb(undefined, { library, config: { threads: "2" } });
  const connection = await database.connect();
  setTimeout(() => self.postMessage("begins"), 20);
  for await (using batch of await connection.query(sql)) void batch;
}

async function endWorkers(): Promise<void> {
  for (const sql of QUERIES) {
    const worker = new Worker(import.meta.url, { type: "module" });
    const begins = new Promise((resolve) => worker.onmessage = resolve);
    worker.postMessage([...Deno.args, sql]);
    await begins;
    await new Promise((resolve) => setTimeout(resolve, 30));
    worker.terminate();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  console.log(`${QUERIES.length} workers have ended`);
  Deno.exit(); // without waiting for the queries
}

if ("WorkerGlobalScope" in globalThis) self.onmessage = ({ data }: MessageEvent<string[]>) => queryForLong(data);
else await endWorkers();
