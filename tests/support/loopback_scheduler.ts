/**
 * Runs the waits of loopback channels: in seeded order, on microtasks alone, in virtual time. The same seed and the same
 * program give the same run.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import type { Random } from "./random.ts";
import type { UntilOptions } from "../../src/wire/transport.ts";

/** Half of the rounds without any event before virtual time moves on: code between two waits gets a microtask a round. */
const QUIET_ROUNDS = 20;
/** Turns of the event loop without any event before a run without timeouts is aborted. */
const QUIET_TURNS = 20;
/** Rounds after which the event loop gets a turn, however busy the network is: timers outside must not starve. */
const BUSY_ROUNDS = 1024;

/** Something that can be waited on. */
export interface Waitable {
  /** Why it is gone, once it is. */
  readonly failure: DipcError | null;
  /** Moves on. @returns whether anything happened */
  progress(): boolean;
  /** When its next event is due, in virtual milliseconds. */
  nextEventAt(): number;
}

interface Waiter {
  readonly on: Waitable;
  readonly step: () => boolean;
  readonly signal?: AbortSignal;
  readonly deadline: number;
  readonly resolve: (value: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The one loop of a loopback network. */
export class LoopbackScheduler {
  /** Virtual time in milliseconds since the start. */
  now = 0;

  readonly #random: Random;
  readonly #strict: boolean;
  readonly #waiters = new Set<Waiter>();
  #running = false;

  /**
   * @param random Decides the order
   * @param strict Fail waits with `internal` if nothing can happen any more, instead of waiting for other code
   */
  constructor(random: Random, strict: boolean) {
    this.#random = random;
    this.#strict = strict;
  }

  /** See {@linkcode Channel.until}. */
  wait(on: Waitable, step: () => boolean, options: UntilOptions = {}): Promise<boolean> {
    const { signal, timeoutMs } = options;
    return new Promise((resolve, reject) => {
      const deadline = timeoutMs === undefined ? Infinity : this.now + timeoutMs;
      this.#waiters.add({ on, step, signal, deadline, resolve, reject });
      if (!this.#running) {
        this.#running = true;
        void this.#run();
      }
    });
  }

  async #run(): Promise<void> {
    let quietRounds = 0, quietTurns = 0, busyRounds = 0;
    while (this.#waiters.size > 0) {
      if (++busyRounds === BUSY_ROUNDS) {
        busyRounds = 0;
        await turn();
      }
      let happened = false;
      for (const waiter of this.#random.shuffle([...this.#waiters])) {
        if (this.#poll(waiter)) happened = true;
        await null; // whoever was waiting may run now
      }
      if (happened) {
        quietRounds = quietTurns = 0;
      } else if (++quietRounds === QUIET_ROUNDS) {
        await turn(); // code between two waits may be on its way through the event loop
      } else if (quietRounds >= 2 * QUIET_ROUNDS) {
        quietRounds = 0;
        const next = this.#nextMoment();
        if (next !== Infinity) {
          this.now = next;
          quietTurns = 0;
        } else if (++quietTurns > QUIET_TURNS && this.#strict) {
          this.#giveUp();
        } else {
          await new Promise((resolve) => setTimeout(resolve, 0)); // only code outside can change anything
        }
      }
    }
    this.#running = false; // in the same breath as the last look at the waiters
  }

  #nextMoment(): number {
    let next = Infinity;
    for (const { on, deadline } of this.#waiters) {
      for (const moment of [on.nextEventAt(), deadline]) if (moment > this.now && moment < next) next = moment;
    }
    return next;
  }

  /** @returns whether anything happened */
  #poll(waiter: Waiter): boolean {
    if (!this.#waiters.has(waiter)) return false;
    const { on, step, signal } = waiter;
    if (signal?.aborted) {
      return this.#reject(waiter, new DipcError("cancelled", "the wait was cancelled", { cause: signal.reason }));
    }
    const moved = on.progress();
    let done: boolean;
    try {
      done = step();
    } catch (error) {
      return this.#reject(waiter, error);
    }
    if (done || this.now >= waiter.deadline && on.failure === null) {
      this.#waiters.delete(waiter);
      waiter.resolve(done);
      return true;
    }
    if (on.failure !== null) return this.#reject(waiter, on.failure);
    return moved;
  }

  #reject(waiter: Waiter, error: unknown): true {
    this.#waiters.delete(waiter);
    waiter.reject(error);
    return true;
  }

  #giveUp(): void {
    for (const waiter of [...this.#waiters]) {
      this.#reject(
        waiter,
        new DipcError(
          "internal",
          `loopback: ${this.#waiters.size} waits without a timeout, and nothing can happen any more`,
        ),
      );
    }
  }
}
