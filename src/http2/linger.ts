/**
 * How long a connection that is about to end stays open: until the last bytes are written, plus a grace period.
 *
 * @module
 */

/** How long a peer may accept none of the remaining bytes, in milliseconds. */
const STALL_MS = 5000;

/** The timer that ends a connection. */
export class Linger {
  readonly #lingerMs: number;
  readonly #stop: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param lingerMs How long the peer may take to close its side, in milliseconds
   * @param stop Ends the connection at once
   */
  constructor(lingerMs: number, stop: () => void) {
    this.#lingerMs = lingerMs;
    this.#stop = stop;
  }

  /** Nothing is left to be written, or it need not be: the grace period begins. */
  start(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#stop, this.#lingerMs);
  }

  /**
   * Waits for as long as the peer keeps accepting bytes.
   *
   * @param written Returns how many bytes have been written so far
   */
  whileWriting(written: () => number): void {
    const before = written();
    this.#timer = setTimeout(() => {
      if (written() === before) this.#stop();
      else this.whileWriting(written);
    }, STALL_MS);
  }

  /** The connection is over. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
