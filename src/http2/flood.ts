/**
 * Rate limits for frames that cost a peer little and this side more.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";

/** A token bucket. */
export class RateLimit {
  readonly #burst: number;
  readonly #perMs: number;
  #tokens: number;
  #at = performance.now();

  /**
   * @param burst How many are allowed at once
   * @param perSecond How many more are allowed each second
   */
  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#tokens = burst;
  }

  /** Counts one; `false` if it is one too many. */
  take(): boolean {
    if (this.#tokens < 1) {
      const now = performance.now();
      this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
      this.#at = now;
      if (this.#tokens < 1) return false;
    }
    this.#tokens--;
    return true;
  }

  /** Allows more, up to what is allowed at once. */
  allow(count: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + count);
  }
}

/** Streams that may be reset, by the peer or for a fault of the peer: at once, and each second. */
const RESETS = [1000, 100] as const;
/**
 * Frames that carry no part of a request or an answer: at once, and each second; beside one for each frame that does, either way. To
 * measure the connection grpc-go sends a PING for each frame that it receives, if none is under way.
 */
const CONTROLS = [4000, 1000] as const;

/** The rate limits of one connection. */
export class FloodLimits {
  readonly #resets = new RateLimit(...RESETS);
  readonly #controls = new RateLimit(...CONTROLS);

  /** Counts a stream that was reset. */
  countReset(): void {
    if (!this.#resets.take()) {
      throw new Http2Error(Http2Code.enhanceYourCalm, "the peer causes too many streams to be reset");
    }
  }

  /** Counts frames that carry a part of a request or an answer, sent or received. */
  countContent(frames: number): void {
    this.#controls.allow(frames);
  }

  /** Counts a frame that carries no part of a request or an answer. */
  countControl(): void {
    if (!this.#controls.take()) {
      throw new Http2Error(Http2Code.enhanceYourCalm, "the peer sends too many control frames");
    }
  }
}
