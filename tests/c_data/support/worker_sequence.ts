/**
 * A random sequence of a web worker, and what is left of it when the worker has ended.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Guard } from "../../support/c_peers.ts";
import type { Random } from "../../support/random.ts";
import { GuardOffers } from "./sequence_offers.ts";
import type { WorkerEnd, WorkerTask } from "./sequence_worker.ts";

/** Ends of workers that leave nothing. */
export const CLEAN_ENDS: readonly WorkerEnd[] = ["disposes and closes", "disposes and is ended"];
/** Ends of workers that leave what they have, which nobody can release. */
export const OTHER_ENDS: readonly WorkerEnd[] = ["forgets and closes", "fails", "is ended", "is ended"];
const BATCHES = 12, STREAMS = 4;
/** Longest time for a worker to begin or to end, in milliseconds. */
const PATIENCE_MS = 30_000;

/** The threads of workers. */
function workerThreads(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name).filter((name) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/comm`).startsWith("worker-");
    } catch {
      return false; // it has just ended
    }
  });
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Does what the task says. Settles when the thread is gone. */
async function run(task: WorkerTask, endAfterMs: number): Promise<void> {
  const others = new Set(workerThreads());
  const worker = new Worker(import.meta.resolve("./sequence_worker.ts"), { type: "module" });
  const begins = Promise.withResolvers<void>(), ends = Promise.withResolvers<void>();
  worker.onmessage = ({ data }) => (data === "begins" ? begins : ends).resolve();
  worker.onerror = (event) => {
    event.preventDefault();
    const isPlanned = task.end === "fails" && event.message.includes("planned failure");
    if (isPlanned) ends.resolve();
    else ends.reject(new Error(event.message));
  };
  const timer = setTimeout(() => ends.reject(new Error("the worker does not end")), PATIENCE_MS);
  worker.postMessage(task);
  await Promise.race([begins.promise, ends.promise]);
  if (task.end === "is ended") await Promise.race([pause(endAfterMs), ends.promise]);
  else await ends.promise;
  clearTimeout(timer);
  if (task.end.endsWith("is ended")) worker.terminate();
  for (let waited = 0; workerThreads().some((thread) => !others.has(thread)); waited += 5) {
    assert(waited < PATIENCE_MS, "the thread of the worker does not end");
    await pause(5);
  }
}

/** Runs one sequence that ends in this way. Nothing else may have structures of the peer. */
export async function runWorker(guard: Guard, random: Random, end: WorkerEnd): Promise<void> {
  using offers = new GuardOffers(guard, random);
  const task: WorkerTask = {
    seed: random.uint32(),
    steps: end === "is ended" ? 0 : 10 + random.below(30),
    end,
    batches: Array.from({ length: BATCHES }, () => offers.batch()),
    streams: Array.from({ length: STREAMS }, () => offers.stream()),
  };
  await run(task, random.below(30));
  offers[Symbol.dispose]();
  // What a worker has not given back is never released: the library may be gone with the worker, too.
  if (CLEAN_ENDS.includes(end)) assertEquals(guard.guard_live(), 0n, end);
  else guard.guard_reclaim();
  assertEquals(guard.guard_faults(), 0n, end);
}
