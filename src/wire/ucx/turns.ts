/**
 * Whose turn it is beside the progress loop: Deno's event loop has its turns, and the core is offered to those that share it.
 *
 * @module
 */
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { libc } from "../../../ffi/libc.ts";

/**
 * Time without letting Deno's event loop run, in milliseconds: the longest if nothing else happens there. After a turn in which
 * something did (`BUSY_TURN_MS` or longer) the next comes after as long again, at least `YIELD_MIN_MS`, and so do the
 * `EAGER_TURNS` that follow, because a call over a socket takes many turns, most of them short. So other connections, timers and
 * the user's code get a fair share beside busy streams.
 */
const YIELD_MS = 5, YIELD_MIN_MS = 0.25, BUSY_TURN_MS = 0.05, EAGER_TURNS = 32;
/**
 * A core that was offered to others and comes back later than `CROWDED_MS` has other work. For `CROWDED_FACTOR` times as long
 * nothing is polled then: who sleeps is woken up as soon as there is something to do, who polls waits for the turns of all others.
 * Streams do not mind: theirs are among those turns, and what has piled up meanwhile is taken at once.
 */
const CROWDED_MS = 0.3, CROWDED_FACTOR = 10;

/** Turns of others in one isolate. */
export class Turns {
  readonly #libc = libc();
  #lastMs = 0;
  /** Time until the next turn of Deno's event loop. */
  #afterMs = YIELD_MS;
  /** Turns that are left until that time grows again. */
  #eagerTurns = 0;
  /** Until when the core is taken to have other work. */
  #crowdedUntil = 0;

  /** When Deno's event loop had its last turn, of `performance.now()`. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** When its next turn is due. */
  get dueMs(): number {
    return this.#lastMs + this.#afterMs;
  }

  /** Whether the core has other work. */
  isCrowded(now: number): boolean {
    return now < this.#crowdedUntil;
  }

  /** Lets everything else in the isolate run once. */
  async take(): Promise<void> {
    closeOnExec(); // what UCX has opened, before anybody else can start a child
    const start = performance.now();
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lastMs = performance.now();
    const turn = this.#lastMs - start;
    if (turn >= BUSY_TURN_MS) {
      this.#eagerTurns = EAGER_TURNS;
      this.#afterMs = Math.min(Math.max(turn, YIELD_MIN_MS), YIELD_MS);
    } else if (this.#eagerTurns > 0) {
      this.#eagerTurns--;
      this.#afterMs = YIELD_MIN_MS;
    } else {
      this.#afterMs = Math.min(2 * this.#afterMs, YIELD_MS);
    }
  }

  /** Notes that the loop has slept, while everything else could run. @returns the time */
  slept(): number {
    return this.#lastMs = performance.now();
  }

  /**
   * Offers the core to others that share it: the peer, V8's own threads.
   *
   * @param isStreaming Whether a stream is under way
   */
  offerCore(isStreaming: boolean): void {
    if (isStreaming) return void this.#libc.sched_yield();
    const before = performance.now();
    if (before < this.#crowdedUntil) return;
    this.#libc.sched_yield();
    const after = performance.now();
    if (after - before > CROWDED_MS) this.#crowdedUntil = after + CROWDED_FACTOR * (after - before);
  }
}
