/**
 * Bounds on how often a peer may do what costs it little.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";

/** A bucket of tokens that fills with time. */
export class RateLimit {
  readonly #burst: number;
  readonly #perMs: number;
  #tokens: number;
  #at = performance.now();

  /**
   * @param burst How many may come at once
   * @param perSecond How many more each second
   */
  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#tokens = burst;
  }

  /** Counts one; `false` where it is one too many. */
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
}

/** Streams that may be reset at once, by the peer or for what it did, and each second. */
const RESETS = [1000, 100] as const;
/** Frames that carry nothing of a request or an answer, at once and each second. A gRPC client sends a PING for every few reads. */
const CONTROLS = [4000, 1000] as const;

/** What the peer of one connection may do. */
export class FloodLimits {
  readonly #resets = new RateLimit(...RESETS);
  readonly #controls = new RateLimit(...CONTROLS);

  /** Counts a stream that was reset. */
  countReset(): void {
    if (!this.#resets.take()) throw new Http2Error(Http2Code.enhanceYourCalm, "the peer has too many streams reset");
  }

  /** Counts a frame that carries nothing. */
  countControl(): void {
    if (!this.#controls.take()) {
      throw new Http2Error(Http2Code.enhanceYourCalm, "the peer sends too many control frames");
    }
  }
}
