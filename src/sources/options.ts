/**
 * Options and small helpers that all sources share.
 *
 * @module
 */
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";

/** Options of every source. */
export interface SourceOptions {
  /** Pool of the bodies. Default: the isolate's shared host pool. */
  pool?: Pool;
  /** Limits on what a damaged or hostile file can make a reader allocate. Defaults as for a reader. */
  limits?: Partial<ReaderLimits>;
  /**
   * Called during a run with what looks wrong with the data but is not an error, in words: an Arrow stream that ends without an
   * end-of-stream marker. Default: such warnings are not reported.
   */
  onWarning?: (warning: string) => void;
}

/** A value that may be at hand already. */
export type Eventually<T> = T | Promise<T>;

/** A computation that yields each promise it has to wait for and is resumed with the promise's value. */
export type Steps<T> = Generator<Promise<unknown>, T, unknown>;

/**
 * Runs steps to their end: without any promise if none is yielded, so that data at hand costs no turn of the event loop.
 */
export function runSteps<T>(steps: Steps<T>): Eventually<T> {
  const result = steps.next();
  return result.done ? result.value : finishSteps(steps, result.value);
}

async function finishSteps<T>(steps: Steps<T>, first: Promise<unknown>): Promise<T> {
  let wait = first;
  while (true) {
    let value: unknown, hasFailed = false;
    try {
      value = await wait;
    } catch (error) {
      value = error;
      hasFailed = true;
    }
    const result = hasFailed ? steps.throw(value) : steps.next(value);
    if (result.done) return result.value;
    wait = result.value;
  }
}
