/**
 * Watches a fuzzing worker from outside.
 *
 * @module
 */
import type { Finding, FuzzReport } from "./target.ts";
import { type FuzzJob, SHARED_BYTES } from "./worker.ts";

/** A worker whose number of runs stands still for so long hangs, in milliseconds. */
const HANG_MS = 10_000;

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
  const counters = new Uint32Array(shared, 0, 2);
  const worker = new Worker(url, { type: "module" });
  return new Promise((resolve) => {
    let seen = 0, since = performance.now();
    const end = (report: FuzzReport) => {
      clearInterval(timer);
      worker.terminate();
      resolve(report);
    };
    const failed = (kind: Finding["kind"], detail: string) => {
      const input = new Uint8Array(counters[1]);
      input.set(new Uint8Array(shared, 8, counters[1]));
      const finding: Finding = { target: job.target, kind, detail, input };
      end({ target: job.target, executions: counters[0], seconds: 0, accepted: 0, answers: 0, findings: [finding] });
    };
    const timer = setInterval(() => {
      if (counters[0] !== seen || seen === 0) { // 0: still loading
        seen = counters[0];
        since = performance.now();
      } else if (performance.now() - since > hangMs) {
        failed("hang", `run ${seen} did not come back within ${hangMs} ms`);
      }
    }, Math.min(250, hangMs / 4));
    worker.onmessage = (event: MessageEvent<FuzzReport>) => end(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      failed("throw", `the worker failed: ${event.message}`);
    };
    worker.postMessage({ ...job, shared } satisfies FuzzJob);
  });
}
