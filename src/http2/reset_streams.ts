/**
 * The streams of a connection that were reset by this side, whose frames may still be on their way.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";

/** Streams remembered one by one; older ones are all assumed to have been reset. */
const MAX_RESET = 4096;

/** Remembers reset streams. */
export class ResetStreams {
  /** Oldest first. */
  readonly #ids = new Set<number>();
  #before = 0;

  /** A stream was reset before its peer had ended it. */
  add(streamId: number): void {
    this.#ids.add(streamId);
    if (this.#ids.size <= MAX_RESET) return;
    const [oldest] = this.#ids;
    this.#ids.delete(oldest);
    this.#before = Math.max(this.#before, oldest + 1);
  }

  /**
   * A frame came for a stream that is over: that is allowed only if it may have crossed a reset.
   *
   * @throws {Http2Error} STREAM_CLOSED
   */
  expect(streamId: number): void {
    if (this.#ids.has(streamId) || streamId < this.#before) return;
    throw new Http2Error(Http2Code.streamClosed, `a frame came for stream ${streamId}, which is closed`);
  }
}
