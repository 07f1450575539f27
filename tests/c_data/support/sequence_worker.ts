/**
 * A web worker that does random things with batches of a library in C, until it ends in one way or another.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { collect } from "../../../src/memory/collector.ts";
import { Random } from "../../support/random.ts";
import { type OfferedBatch, type OfferedStream, ReaderProgram } from "./reader_program.ts";

/** How a worker ends. */
export type WorkerEnd = "disposes and closes" | "disposes and is ended" | "forgets and closes" | "fails" | "is ended";

/** What a worker is given. */
export interface WorkerTask {
  readonly seed: number;
  readonly steps: number;
  readonly end: WorkerEnd;
  readonly batches: OfferedBatch[];
  readonly streams: OfferedStream[];
}

/** Waits until what was dropped has been collected. */
async function collectAll(): Promise<void> {
  for (let i = 0; i < 6; i++) {
    collect("all");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

self.onmessage = async ({ data }: MessageEvent<WorkerTask>): Promise<void> => {
  const { seed, steps, end, batches, streams } = data;
  const program = new ReaderProgram(new Random(seed), {
    batch: () => batches.pop() ?? null,
    stream: () => streams.pop() ?? null,
  });
  self.postMessage("begins");
  for (let left = steps; left > 0; left--) await program.step();
  switch (end) {
    case "disposes and closes":
    case "disposes and is ended":
      await program.end();
      program.forget();
      await collectAll();
      break;
    case "forgets and closes":
      program.forget();
      break;
    case "fails":
      throw new Error("planned failure");
    case "is ended":
      for (;;) await program.step();
  }
  self.postMessage("ends");
  if (end !== "disposes and is ended") self.close();
};
