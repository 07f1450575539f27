/**
 * Ends connections at the port of a listener that never become connections of UCX: silent ones, which keep a file descriptor each,
 * and those that sent something else. UCX may read what it does not understand forever, with all of a core.
 *
 * UCX accepts connections on a thread of its own before dipc can look; but it says which of them have become requests, and the
 * system which there are.
 *
 * @module
 */
import { threadSeconds } from "../../../ffi/threads.ts";
import { connectedSockets, endConnection, replaceSocket } from "../../../ffi/sockets.ts";

/** How often the connections are looked at, in milliseconds. */
const LOOK_MS = 1000;
/**
 * Looks at which a connection may still be on its way: clients that start many streams at once are slow to say what they want. Once
 * UCX's thread is busy reading what it does not understand, they have less time.
 */
const PATIENT_LOOKS = 30, BUSY_LOOKS = 4;
/** UCX's thread, and how much of a core it uses when it is called busy. */
const UCX_THREAD = "async", BUSY_SHARE = 0.5;
/** File descriptors that UCX may hold for connections that are over. */
const MOST_HELD = 16;

/** A connection that is not one of UCX so far. */
interface Stranger {
  readonly peer: string;
  /** How often it was seen. */
  looks: number;
}

/** Watches one port. */
export class PortGuard {
  readonly #port: number;
  /** The peers whose connections UCX has understood. */
  readonly #known = new Set<string>();
  /** Others, by their file descriptors. */
  #strangers = new Map<number, Stranger>();
  /** Descriptors whose connections were taken from UCX, which still holds them. */
  #held = 0;
  readonly #onCrowded: () => void;
  /** When UCX's thread was last looked at, of `performance.now()`, and what it had used, in seconds. */
  #measuredMs = 0;
  #usedSeconds = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * @param port Port of the listener
   * @param onCrowded Called when {@linkcode PortGuard.isCrowded} becomes true
   */
  constructor(port: number, onCrowded: () => void) {
    this.#port = port;
    this.#onCrowded = onCrowded;
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** A connection has become a request of UCX. */
  know(peer: string): void {
    this.#known.add(peer);
  }

  /** Whether UCX holds so many descriptors for nothing that the listener should be renewed, which gives them back. */
  get isCrowded(): boolean {
    return this.#held > MOST_HELD;
  }

  /** The listener is gone, with all that it held. */
  forget(): void {
    this.#held = 0;
    this.#strangers.clear();
  }

  /** Whether there are connections that one look at the most has seen, so that they may be clients of UCX. */
  hasNewcomers(): boolean {
    const isStranger = (descriptor: number, peer: string): boolean => {
      const stranger = this.#strangers.get(descriptor);
      return stranger?.peer === peer && stranger.looks > 1;
    };
    return connectedSockets(this.#port).some(({ descriptor, peer }) =>
      peer !== "" && !this.#known.has(peer) && !isStranger(descriptor, peer)
    );
  }

  /** Looks at the connections once. */
  look(): void {
    const before = this.#strangers;
    const patience = before.size > 0 && this.#isUcxBusy() ? BUSY_LOOKS : PATIENT_LOOKS;
    const present = new Set<string>();
    this.#strangers = new Map();
    for (const { descriptor, peer } of connectedSockets(this.#port)) {
      present.add(peer);
      if (this.#known.has(peer)) continue;
      const last = before.get(descriptor);
      // A connection that is over keeps its descriptor until it is closed, but not its peer.
      const looks = last !== undefined && (peer === "" || peer === last.peer) ? last.looks + 1 : 1;
      // The end of the connection is enough for UCX if it waits for more; otherwise it does not notice.
      if (looks > patience + 1) {
        if (replaceSocket(descriptor, this.#port)) this.#held++;
      } else if (looks > patience) endConnection(descriptor);
      this.#strangers.set(descriptor, { peer, looks });
    }
    if (this.isCrowded) this.#onCrowded();
    for (const peer of this.#known) if (!present.has(peer)) this.#known.delete(peer);
  }

  #isUcxBusy(): boolean {
    const now = performance.now(), used = threadSeconds(UCX_THREAD);
    const share = (used - this.#usedSeconds) * 1000 / (now - this.#measuredMs);
    this.#measuredMs = now;
    this.#usedSeconds = used;
    return share > BUSY_SHARE;
  }

  /** Stops watching. Idempotent. */
  close(): void {
    clearInterval(this.#timer);
  }
}
