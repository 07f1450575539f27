/**
 * Notices that an isolate has stopped silently: it was terminated, or hangs.
 *
 * @module
 */

/** Time between two pings, in milliseconds. */
const PING_MS = 5_000;
/** Pings without any answer after which an isolate counts as gone. */
const MAX_MISSED = 4;

/** Pings an isolate until it does not answer. */
export class Heartbeat {
  #missed = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * @param ping Posts a ping
   * @param onSilence Called once, when the isolate has stopped answering
   */
  constructor(ping: () => void, onSilence: () => void) {
    // Rounds are counted instead of time: if this isolate was kept from running, the answers may still be waiting.
    this.#timer = setInterval(() => {
      if (this.#missed++ < MAX_MISSED) return ping();
      this.stop();
      onSilence();
    }, PING_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** The isolate has answered. */
  beat(): void {
    this.#missed = 0;
  }

  /** Ends the pings. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
