/**
 * Watches a fuzzing worker from outside.
 *
 * @module
 */
import type { Finding, FuzzReport } from "./target.ts";
import { CLOCK, type FuzzJob, INPUT_AT, LENGTH, RUNS, SHARED_BYTES } from "./worker.ts";

/** A worker whose number of runs stands still for so long hangs, in milliseconds. */
const HANG_MS = 10_000;
/** The worker's clock is set, and its runs are looked at, this often, in milliseconds. */
const TICK_MS = 50;

/** Options of {@linkcode watch}. */
export interface WatchOptions {
  /** A worker whose number of runs stands still for so long hangs, in milliseconds. */
  hangMs?: number;
  /** The worker's module. */
  worker?: URL;
}

/** Runs one target in a worker and notices if it hangs. */
export function watch(job: Omit<FuzzJob, "shared">, options: WatchOptions = {}): Promise<FuzzReport> {
  const { hangMs = HANG_MS, worker: url = new URL("./worker.ts", import.meta.url) } = options;
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const state = new Uint32Array(shared, 0, 3);
  const worker = new Worker(url, { type: "module" });
  return new Promise((resolve) => {
    let seen = 0, since = performance.now();
    const end = (report: FuzzReport) => {
      clearInterval(timer);
      worker.terminate();
      resolve(report);
    };
    const failed = (kind: Finding["kind"], detail: string) => {
      const input = new Uint8Array(state[LENGTH]);
      input.set(new Uint8Array(shared, INPUT_AT, state[LENGTH]));
      const finding: Finding = { target: job.target, kind, detail, input };
      end({ target: job.target, executions: state[RUNS], seconds: 0, accepted: 0, answers: 0, findings: [finding] });
    };
    const timer = setInterval(() => {
      const now = performance.now();
      Atomics.store(state, CLOCK, now);
      const runs = Atomics.load(state, RUNS);
      if (runs !== seen || seen === 0) { // 0: still loading
        seen = runs;
        since = now;
      } else if (now - since > hangMs) {
        failed("hang", `run ${seen} did not come back within ${hangMs} ms`);
      }
    }, Math.min(TICK_MS, hangMs / 4));
    worker.onmessage = (event: MessageEvent<FuzzReport>) => end(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      failed("throw", `the worker failed: ${event.message}`);
    };
    worker.postMessage({ ...job, shared } satisfies FuzzJob);
  });
}
