/**
 * Lets the calls of a driver on one connection run one after another, as ADBC requires.
 *
 * @module
 */

/** Calls that take turns. */
export class Turns {
  /** Settled once the last call has ended; never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  readonly #cancels = new Set<Promise<unknown>>();

  /**
   * Runs a call after all earlier ones.
   *
   * @param call Calls the driver
   */
  run<T>(call: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(this.#afterCancels).then(call);
    this.#last = result.catch(() => {});
    return result;
  }

  /**
   * Runs a call that cancels the one whose turn it is. No other call begins before it is over: it would be cancelled instead.
   *
   * @param cancel Calls the driver
   */
  async interrupt(cancel: () => Promise<void>): Promise<void> {
    const result = cancel();
    this.#cancels.add(result);
    try {
      await result;
    } finally {
      this.#cancels.delete(result);
    }
  }

  #afterCancels = async (): Promise<void> => {
    while (this.#cancels.size > 0) await Promise.allSettled(this.#cancels);
  };
}
