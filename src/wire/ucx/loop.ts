/**
 * The one progress loop of the isolate: it progresses every worker that is waited on, and sleeps when none has work.
 *
 * A worker that had work recently is polled in every round. One that stayed quiet is armed and watched by its event
 * file descriptor; once all are armed the loop sleeps in a single `epoll_wait` on a thread of Deno's pool.
 *
 * @module
 */
import { type DipcError, LocalError } from "../../errors.ts";
import type { UntilOptions } from "../transport.ts";
import { EventSet } from "./event_set.ts";
import { Turns } from "./turns.ts";

/** Longest time a quiet worker is polled before it is armed, in milliseconds. */
const SPIN_MS = 0.04;
/**
 * A worker that UCX does not let sleep (sends wait inside it for a stalled peer) and that makes no progress is polled
 * less and less often: after `NAP_AFTER_MS`, at intervals of an eighth of the quiet time, at most `NAP_MAX_MS`. All that nap are
 * polled at the same ticks: it is waking up that costs.
 */
const NAP_AFTER_MS = 200, NAP_MAX_MS = 100, NAP_TICK_MS = 25;
/** A round that comes later than this after the one before, in milliseconds, was kept from coming: by us, or by the system. */
const LATE_MS = 50;
/** Limit of the steps after the end of a connection. */
const MAX_LAST_STEPS = 1_000_000;
/** What the loop progresses: a UCX worker. */
export interface Pollable {
  /** File descriptor that becomes readable when an armed worker has work. */
  readonly eventFd: number;
  /** True from a successful `arm()` to the next `progress()`. Kept by the worker. */
  armed: boolean;
  /** True if requests were started since the loop progressed it last. Set by its owner. */
  dirty: boolean;
  /** Whether what is waited for on it belongs to a stream under way. Kept by the loop. */
  isStreaming: boolean;
  /** Registration in the loop. Kept by the loop. */
  token: number;
  /** Waits on it. Kept by the loop. */
  readonly waits: Wait[];
  /** When it last had work, in milliseconds. Kept by the loop. */
  lastActive: number;
  /** Advances its operations. @returns whether anything happened */
  progress(): boolean;
  /** Requests an event on `eventFd` at the next work. @returns false if there is work already */
  arm(): boolean;
  /** Why waits on it must fail, or null while they need not. */
  readonly failure: DipcError | null;
}

/** A wait until a step returns true. */
export class Wait {
  /** True once its promise is settled. */
  settled = false;
  constructor(
    readonly target: Pollable,
    readonly step: () => boolean,
    /** When it ends without its step, of `performance.now()`. Time in which the loop could not run does not count. */
    public deadline: number,
    readonly resolve: (value: boolean) => void,
    readonly reject: (reason: unknown) => void,
    readonly signal: AbortSignal | undefined,
    /** How long its target is polled before it is armed, in milliseconds. */
    readonly spinMs: number,
  ) {}
  /** Listener on the signal. */
  onAbort: (() => void) | null = null;
}

const TRUE = Promise.resolve(true);

function abortError(signal: AbortSignal): DipcError {
  return new LocalError("cancelled", "cannot wait any longer: the signal was aborted", { cause: signal.reason });
}

/**
 * Repeats a step whose connection is gone while it starts new requests: what arrived before the end is still there,
 * and a receiver may need several steps to take it.
 */
function lastSteps(target: Pollable, step: () => boolean): boolean {
  for (let i = 0; target.dirty && i < MAX_LAST_STEPS; i++) {
    target.dirty = false;
    target.progress();
    if (step()) return true;
  }
  return false;
}

/** When a worker that has been quiet is polled again. */
function endOfNap(now: number, quietMs: number): number {
  return Math.ceil((now + Math.min(quietMs / 8, NAP_MAX_MS)) / NAP_TICK_MS) * NAP_TICK_MS;
}

/** A progress loop. Use the isolate's own: {@linkcode progressLoop}. */
export class ProgressLoop {
  /** When everything else in the isolate has its turns. */
  readonly turns = new Turns();
  readonly #events = new EventSet();
  readonly #registered = new Map<number, Pollable>();
  #nextToken = 1;
  /** Workers that are waited on. */
  #targets: Pollable[] = [];
  #isRunning = false;
  /** Woken since the last round began: its view of the waits may be out of date. */
  #wokenThisRound = false;
  /** When the next round should begin. */
  #roundDue = 0;

  /** Waits under way. */
  get waits(): number {
    let count = 0;
    for (const target of this.#targets) for (const wait of target.waits) if (!wait.settled) count++;
    return count;
  }

  /**
   * Progresses `target` until `step` returns true. See `Channel.until`.
   *
   * @param target The worker to progress
   * @param step Called after each progress
   * @param options Signal and longest wait
   */
  until(target: Pollable, step: () => boolean, options?: UntilOptions): Promise<boolean> {
    const signal = options?.signal;
    const spinMs = options?.eagerMs ?? SPIN_MS;
    const isStreaming = target.isStreaming = options?.isStreaming ?? false;
    try {
      if (signal?.aborted) return Promise.reject(abortError(signal));
      let now = performance.now();
      const limit = this.turns.dueMs;
      if (now < limit) {
        let end = now + spinMs;
        // Other waits get their turn between two spins of this one, never in the middle of it.
        const isAlone = this.isAlone(target);
        do {
          let active = false;
          for (let i = 0; i < 8; i++) {
            if (target.progress()) active = true;
            if (step()) return TRUE;
            if (target.failure !== null) return lastSteps(target, step) ? TRUE : Promise.reject(target.failure);
          }
          now = performance.now();
          if (active) end = now + spinMs;
        } while (isAlone && now < end && now < limit && (isStreaming || !this.turns.isCrowded(now)));
      }
      return new Promise((resolve, reject) => {
        const timeoutMs = options?.timeoutMs;
        const deadline = timeoutMs === undefined ? Infinity : now + timeoutMs;
        const wait = new Wait(target, step, deadline, resolve, reject, signal, spinMs);
        if (signal !== undefined) {
          wait.onAbort = () => {
            if (wait.settled) return;
            this.#settle(wait);
            reject(abortError(signal));
            target.armed = false; // the next round drops the wait
            this.wake();
          };
          signal.addEventListener("abort", wait.onAbort);
        }
        if (target.waits.push(wait) === 1 && !this.#targets.includes(target)) this.#targets.push(target);
        target.armed = false;
        target.lastActive = now;
        this.wake();
        if (!this.#isRunning) void this.#run();
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Whether nothing else of this isolate is waited on: then only another process can move `target`. Otherwise it may be the others
   * that it waits for, so it must not keep the thread from them.
   *
   * @param target A worker
   */
  isAlone(target: Pollable): boolean {
    return this.#targets.length === (target.waits.length === 0 ? 0 : 1);
  }

  /** Makes a sleeping loop check its waits again. */
  wake(): void {
    this.#wokenThisRound = true;
    this.#events.wake();
  }

  /**
   * Forgets a worker that is about to be destroyed. Its waits must be over.
   *
   * @param target The worker that is destroyed next
   */
  forget(target: Pollable): void {
    if (target.token === 0) return;
    this.#registered.delete(target.token);
    target.token = 0;
    this.#events.remove(target.eventFd);
  }

  #settle(wait: Wait): void {
    wait.settled = true;
    if (wait.onAbort !== null) wait.signal!.removeEventListener("abort", wait.onAbort);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      let nextPoll = 0;
      let lastMove = performance.now();
      let hasWokenOthers = false;
      this.#roundDue = lastMove;
      while (this.#targets.length > 0) {
        const now = performance.now();
        if (now - this.#roundDue > LATE_MS) this.#forgive(now - this.#roundDue);
        this.#roundDue = now;
        this.#wokenThisRound = false;
        const { settled, active, hot, armed, deadline } = this.#round(now);
        if (settled) {
          hasWokenOthers = true;
          await null;
        }
        if (settled || active) lastMove = now;
        else if (this.#targets.length > 1) this.turns.offerCore(this.#targets.some((target) => target.isStreaming));
        // A worker that cannot be armed is polled on. If nothing moves, what it waits for may be waiting for a turn itself: the
        // other side of the stream in this isolate, a file that is being read, the user's own code.
        const isStuck = now - Math.max(lastMove, this.turns.lastMs) > SPIN_MS;
        const isIdle = hot === 0 && !settled && !this.#wokenThisRound;
        // What was waited for may lead to another wait within a few steps, for which it would have to be woken up again.
        if ((isStuck && hot > 0) || now >= this.turns.dueMs || (isIdle && hasWokenOthers)) {
          hasWokenOthers = false;
          await this.turns.take();
        } else if (isIdle) {
          const count = await this.#events.sleep(deadline);
          const awakeMs = this.turns.slept();
          this.#roundDue = Math.min(deadline, awakeMs);
          this.#dispatch(count, awakeMs);
        } else if (armed > 0 && now >= nextPoll) {
          nextPoll = now + SPIN_MS;
          this.#dispatch(this.#events.poll(), now);
        }
      }
    } catch (error) {
      for (const target of this.#targets) {
        for (const wait of target.waits) {
          if (!wait.settled) this.#settle(wait);
          wait.reject(error);
        }
        target.waits.length = 0;
      }
      this.#targets.length = 0;
    } finally {
      this.#isRunning = false;
    }
  }

  /** Closes its file descriptors. Nothing is waited on any more, and nothing may be afterwards. */
  async close(): Promise<void> {
    for (this.wake(); this.#isRunning; this.wake()) await new Promise((resolve) => setImmediate(resolve));
    this.#events.close();
  }

  /** Progresses every worker that is not armed, once. */
  #round(now: number): { settled: boolean; active: boolean; hot: number; armed: number; deadline: number } {
    const targets = this.#targets;
    let kept = 0, hot = 0, armed = 0, deadline = Infinity, settled = false, active = false;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i];
      let next = Infinity;
      let spinMs = 0;
      for (const wait of target.waits) {
        if (wait.deadline < next) next = wait.deadline;
        if (wait.spinMs > spinMs) spinMs = wait.spinMs;
      }
      if (!target.isStreaming && this.turns.isCrowded(now)) spinMs = 0;
      if (!target.armed || next <= now || target.failure !== null) {
        target.dirty = false;
        const isActive = target.progress();
        // Progress may end requests without reporting it: every step is called before the worker is armed.
        if (this.#runSteps(target, now)) settled = true;
        if (isActive) active = true;
        if (isActive || target.dirty) target.lastActive = now;
        else if (now - target.lastActive > spinMs && target.waits.length > 0) this.#arm(target);
      }
      if (target.waits.length === 0) continue;
      if (next < deadline) deadline = next;
      const quiet = now - target.lastActive;
      if (target.armed) armed++;
      else if (quiet > NAP_AFTER_MS) deadline = Math.min(deadline, endOfNap(now, quiet));
      else hot++;
      targets[kept++] = target;
    }
    targets.length = kept;
    return { settled, active, hot, armed, deadline };
  }

  /** Calls every step of a worker. @returns whether a wait is over */
  #runSteps(target: Pollable, now: number): boolean {
    const waits = target.waits;
    let kept = 0;
    for (let i = 0; i < waits.length; i++) {
      const wait = waits[i];
      if (wait.settled) continue;
      try {
        if (wait.step()) {
          this.#settle(wait);
          wait.resolve(true);
        } else if (target.failure !== null) {
          if (!lastSteps(target, wait.step)) throw target.failure;
          this.#settle(wait);
          wait.resolve(true);
        } else if (wait.deadline <= now) {
          this.#settle(wait);
          wait.resolve(false);
        } else {
          waits[kept++] = wait;
        }
      } catch (error) {
        this.#settle(wait);
        wait.reject(error);
      }
    }
    const settled = kept < waits.length;
    waits.length = kept;
    return settled;
  }

  #arm(target: Pollable): boolean {
    if (!target.arm()) return false;
    if (target.token === 0) {
      target.token = this.#nextToken++;
      this.#registered.set(target.token, target);
      this.#events.add(target.eventFd, target.token);
    } else {
      this.#events.renew(target.eventFd, target.token);
    }
    return true;
  }

  /**
   * Puts off the end of every wait: no clock that judges a peer runs while this side is the one that is late, because it makes
   * workers for many clients at once, because the program computes, or because the process was suspended.
   */
  #forgive(lateMs: number): void {
    for (const target of this.#targets) for (const wait of target.waits) wait.deadline += lateMs;
  }

  #dispatch(count: number, now: number): void {
    for (let i = 0; i < count; i++) {
      const target = this.#registered.get(this.#events.take(i));
      if (target === undefined) continue;
      if (target.waits.length === 0) {
        this.forget(target); // or its event would end every later sleep
      } else {
        target.armed = false;
        target.lastActive = now;
      }
    }
  }
}

let shared: ProgressLoop | null = null;

/** The isolate's progress loop, made on first use. */
export function progressLoop(): ProgressLoop {
  return shared ??= new ProgressLoop();
}

/** Closes the isolate's progress loop, before the isolate ends; what runs then is of the process, not of the isolate. */
export async function closeProgressLoop(): Promise<void> {
  await shared?.close();
  shared = null;
}
