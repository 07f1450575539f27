/**
 * Waits for work of a GPU by asking again and again, without blocking the event loop.
 *
 * The driver's own waits block the thread that calls them, and Deno's pool threads have no CUDA context.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";

/** Longest wait for a copy where the caller names none. */
export const DEFAULT_COPY_TIMEOUT_MS = 60_000;
/** Questions asked before the event loop is given a turn: most small copies are done by then. */
const SPINS = 32;
/** How long to ask once a turn before asking once a millisecond. */
const EAGER_MS = 5;

/** Options of a wait for work of a GPU. */
export interface CopyWaitOptions {
  /** Rejects the wait with `cancelled`. The work itself goes on; memory that it uses stays taken until it is done. */
  signal?: AbortSignal;
  /**
   * Longest wait in milliseconds.
   *
   * @default {60000}
   */
  timeoutMs?: number;
}

/**
 * Waits until `isDone` returns true.
 *
 * @param isDone Quick; what it throws ends the wait
 * @param what What is waited for, for the messages
 * @throws {DipcError} `timeout`, `cancelled`; what `isDone` threw
 */
export async function waitUntil(isDone: () => boolean, what: string, options: CopyWaitOptions = {}): Promise<void> {
  const { signal, timeoutMs = DEFAULT_COPY_TIMEOUT_MS } = options;
  for (let i = 0; i < SPINS; i++) if (isDone()) return;
  const start = performance.now();
  for (;;) {
    if (signal?.aborted) {
      throw new LocalError("cancelled", `waiting for ${what} was given up`, { cause: signal.reason });
    }
    const waited = performance.now() - start;
    if (waited < EAGER_MS) await new Promise<void>((resolve) => setImmediate(resolve));
    else await new Promise<void>((resolve) => setTimeout(resolve, 1));
    if (isDone()) return;
    if (waited >= timeoutMs) {
      throw new LocalError("timeout", `waiting for ${what}: not done after ${timeoutMs} ms; is the GPU stuck or busy?`);
    }
  }
}
