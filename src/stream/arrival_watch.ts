/**
 * When something of a stream was last seen to arrive, for the time-out of its reader.
 *
 * @module
 */

/**
 * A transfer under way moves the channel this often within this time, in milliseconds. What moves it less often says nothing of the
 * stream: UCX asks every 20 s whether the peer's system is still there, and that answers for a process that has stopped.
 */
const NEWS_MOVES = 16, NEWS_WINDOW_MS = 5_000;

/** Watches while a reader waits. */
export class ArrivalWatch {
  #lastMs = 0;
  /** The channel's activity then, and since when its moves are counted. */
  #activity = 0;
  #movesSince = 0;

  /** When something arrived last, of `performance.now()`. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** A wait begins. */
  start(activity: number): void {
    this.#lastMs = this.#movesSince = performance.now();
    this.#activity = activity;
  }

  /**
   * Looks once more.
   *
   * @param activity The channel's activity
   * @param isCertain Whether a message of the stream has come; otherwise many moves within a short time are news
   */
  look(activity: number, isCertain: boolean): void {
    if (!isCertain && activity < this.#activity + NEWS_MOVES) return;
    const now = performance.now();
    if (isCertain || now - this.#movesSince < NEWS_WINDOW_MS) this.#lastMs = now;
    this.#activity = activity;
    this.#movesSince = now;
  }
}
