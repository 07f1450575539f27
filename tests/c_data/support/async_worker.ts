/**
 * A web worker that reads a stream of another library, and is ended while the library still produces.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { importAsyncStream } from "../../../c_data.ts";
import { loadSample } from "../../support/async_sample.ts";

self.onmessage = async ({ data: compiler }: MessageEvent<string>): Promise<void> => {
  const sample = loadSample(compiler);
  const stream = await importAsyncStream((handler) => sample.async_produce(handler, 1_000_000n, -1n, 500n));
  for (let i = 0; i < 3; i++) (await stream.next())![Symbol.dispose]();
  self.postMessage("three");
  for await (using batch of stream) void batch;
};
