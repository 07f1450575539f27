/**
 * How often, and how soon, a call that the server has not taken is made again. gRPC's libraries do the same ("transparent
 * retries"): connections end by age or after so many calls, and the calls that are on their way then have done nothing.
 *
 * @module
 */
import type { Untaken } from "../http2/client_stream.ts";

/** How often a server may reject a call before it fails. */
const MAX_REJECTIONS = 10;
/** The pause before the second attempt after the first one that was made at once, in milliseconds; it doubles each time. */
const FIRST_PAUSE_MS = 10;
/** Longest pause, in milliseconds. */
const MAX_PAUSE_MS = 1000;
/** Random part of a pause, so that calls that were rejected together do not come back together. */
const JITTER = 0.2;

/** The attempts of one call. */
export class Resumption {
  #rejections = 0;
  #isUnderWay = false;

  /** Whether the call is between two attempts. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /**
   * Begins another attempt.
   *
   * @param why Only what a server has rejected counts; a call that waited behind others may wait again
   * @returns Whether there may be one
   */
  begin(why: Untaken): boolean {
    if (why === "rejected") this.#rejections++;
    this.#isUnderWay = this.#rejections <= MAX_REJECTIONS;
    return this.#isUnderWay;
  }

  /** The pause before it; the first attempt is made at once. */
  async pause(): Promise<void> {
    const pauseMs = pauseAfter(this.#rejections);
    // At least a turn of the queue, so that the stream before has ended for everyone.
    await (pauseMs === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, pauseMs)));
  }

  /** The attempt has its stream, or has failed. */
  end(): void {
    this.#isUnderWay = false;
  }
}

function pauseAfter(rejections: number): number {
  if (rejections < 2) return 0;
  const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (rejections - 2));
  return pauseMs * (1 - JITTER * Math.random());
}
