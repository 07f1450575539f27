/**
 * A program whose web workers read streams by UCX, which nothing else has opened, and are ended: one in the middle of its stream, one
 * whose connection waits for the next stream. Ends with the line `all is well` after a line on standard input.
 *
 * `deno run -A tests/wire/support/ended_worker.ts URI`
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { connect } from "../../../mod.ts";

async function read([uri, until]: string[]): Promise<void> {
  const reader = await connect(uri);
  for await (using batch of reader) {
    void batch;
    if (until === "first batch") {
      self.postMessage("");
      await new Promise(() => {});
    }
  }
  self.postMessage("");
}

async function endWorkers(): Promise<void> {
  for (const until of ["first batch", "end"]) {
    const worker = new Worker(import.meta.url, { type: "module" });
    const has = new Promise((resolve) => worker.onmessage = resolve);
    worker.postMessage([...Deno.args, until]);
    await has;
    worker.terminate();
  }
  await new Promise((resolve) => setTimeout(resolve, 200)); // the isolates are gone
  console.log("the workers have ended");
  await Deno.stdin.read(new Uint8Array(10));
  console.log("all is well");
}

if ("WorkerGlobalScope" in globalThis) self.onmessage = ({ data }: MessageEvent<string[]>) => read(data);
else await endWorkers();
