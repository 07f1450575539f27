/**
 * Waiting for a peer: clocks that stand still while this process does, because it was suspended, or worked for long without a
 * turn of the event loop. What has arrived meanwhile is looked at before the peer is judged.
 *
 * @module
 */
import { MAX_TIMER_MS } from "./limits.ts";

/** How often it is noted that this process runs, in milliseconds, while a {@linkcode PatientTimer} is running. */
const BEAT_MS = 200;
/** Something that comes later than this, in milliseconds, was kept from coming. */
const LATE_MS = 50;
/** What a timer that comes late waits at least for what has arrived meanwhile, in milliseconds. */
const GRACE_MS = 100;

let running = 0;
let heart: ReturnType<typeof setInterval> | undefined;
/** When this process was last seen to run, of `performance.now()`. */
let seenMs = 0;
/** For how long it did not. */
let awayMs = 0;

/** Milliseconds of a clock that stands still while this process does, as long as a {@linkcode PatientTimer} is running. */
export function patientNow(): number {
  const now = performance.now();
  const gapMs = now - seenMs;
  if (running > 0 && gapMs > BEAT_MS + LATE_MS) awayMs += gapMs - BEAT_MS;
  seenMs = now;
  return now - awayMs;
}

function begin(): void {
  if (running === 0) {
    patientNow();
    heart = setInterval(patientNow, BEAT_MS);
    Deno.unrefTimer(heart);
  }
  running++;
}

function end(): void {
  if (--running === 0) clearInterval(heart);
}

/**
 * A timer on that clock. Made for waits that begin and end often: {@linkcode PatientTimer.pause} leaves the system's timer alone, so
 * {@linkcode PatientTimer.stop} must be called in the end.
 */
export class PatientTimer {
  readonly #onTime: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the system's timer is due, of `performance.now()`. */
  #dueMs = 0;
  /** When the wait ends, of `patientNow()`. */
  #endsMs = Infinity;
  #hasGrace = false;

  /** @param onTime Called at the end of a wait */
  constructor(onTime: () => void) {
    this.#onTime = onTime;
  }

  /**
   * Begins a wait, in place of one under way.
   *
   * @param ms Its length in milliseconds; beyond 24.8 days, what a timer can wait
   */
  start(ms: number): void {
    const waitMs = Math.min(ms, MAX_TIMER_MS);
    this.#endsMs = patientNow() + waitMs;
    this.#hasGrace = false;
    if (this.#timer === undefined) begin();
    else if (performance.now() + waitMs >= this.#dueMs) return;
    else clearTimeout(this.#timer);
    this.#arm(waitMs);
  }

  /** Ends the wait, cheaply: another one is expected soon. */
  pause(): void {
    this.#endsMs = Infinity;
  }

  /** Ends the wait and gives everything back. Idempotent; it may be started again. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    end();
  }

  #arm(ms: number): void {
    this.#dueMs = performance.now() + ms;
    this.#timer = setTimeout(this.#check, ms);
  }

  #check = (): void => {
    if (this.#endsMs === Infinity) return this.stop();
    const lateMs = performance.now() - this.#dueMs;
    const leftMs = this.#endsMs - patientNow();
    if (leftMs > 1) return this.#arm(leftMs);
    if (lateMs > LATE_MS && !this.#hasGrace) {
      this.#hasGrace = true;
      return this.#arm(GRACE_MS);
    }
    this.stop();
    this.#onTime();
  };
}

/**
 * Starts a wait that happens once.
 *
 * @param ms Its length in milliseconds
 * @param onTime Called at its end
 * @returns The timer, to be stopped if the wait is over before
 */
export function patientTimeout(ms: number, onTime: () => void): PatientTimer {
  const timer = new PatientTimer(onTime);
  timer.start(ms);
  return timer;
}
