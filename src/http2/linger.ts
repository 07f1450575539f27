/**
 * How long a connection that is about to end stays: as long as it gets rid of what is left to say, and then a little while.
 *
 * @module
 */

/** How long a peer may take nothing of what is left to say, in milliseconds. */
const STALL_MS = 5000;

/** The timer of a connection's end. */
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

  /** All was said, or need not be: the peer has its time from now on. */
  start(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#stop, this.#lingerMs);
  }

  /**
   * Waits as long as the peer takes something.
   *
   * @param written Tells how many bytes have gone
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
