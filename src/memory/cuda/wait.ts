/**
 * Waits for work of a GPU by polling, without blocking the event loop.
 *
 * The driver's own waits block the thread that calls them, and Deno's pool threads have no CUDA context.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";

/** Longest wait for a copy in milliseconds, unless the caller sets another. */
const DEFAULT_COPY_TIMEOUT_MS = 60_000;
/** Polls before the event loop gets a turn: most small copies are done after them. */
const SPINS = 32;
/** How long to poll once per turn, in milliseconds, before polling once per millisecond. */
const EAGER_MS = 5;

/** Options of a wait for work of a GPU. */
export interface CopyWaitOptions {
  /** Rejects the wait with `cancelled`. The work itself continues; memory that it uses stays taken until it is done. */
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
 * @param isDone Quick; an error that it throws ends the wait
 * @param action What is waited for, such as `"copy 8 bytes to cuda:0"`, for the messages
 * @throws {DipcError} `timeout`, `cancelled`; what `isDone` threw
 */
export async function waitUntil(isDone: () => boolean, action: string, options: CopyWaitOptions = {}): Promise<void> {
  const { signal, timeoutMs = DEFAULT_COPY_TIMEOUT_MS } = options;
  for (let i = 0; i < SPINS; i++) if (isDone()) return;
  const start = performance.now();
  for (;;) {
    if (signal?.aborted) {
      throw new LocalError("cancelled", `cannot ${action}: the wait was cancelled by its signal`, {
        cause: signal.reason,
      });
    }
    const waited = performance.now() - start;
    if (waited < EAGER_MS) await new Promise<void>((resolve) => setImmediate(resolve));
    else await new Promise<void>((resolve) => setTimeout(resolve, 1));
    if (isDone()) return;
    if (waited >= timeoutMs) {
      throw new LocalError(
        "timeout",
        `cannot ${action}: not done after ${timeoutMs} ms; check whether the GPU is stuck or busy`,
      );
    }
  }
}
