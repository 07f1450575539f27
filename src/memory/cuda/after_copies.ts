/**
 * What must wait until copies of a GPU are done.
 *
 * @module
 */
import type { DeviceEvent } from "./device_event.ts";

/** How often the copies are polled, in milliseconds. */
const POLL_EVERY_MS = 5;

interface Waiting {
  readonly events: readonly DeviceEvent[];
  readonly run: () => void;
}

/** Runs things at once, or as soon as copies are done. */
export class AfterCopies {
  #waiting: Waiting[] = [];
  #timer: number | undefined;

  /**
   * Runs a function once the GPU is certainly done with all of the events.
   *
   * @param events Ends of copies
   * @param run Must not throw
   */
  run(events: readonly DeviceEvent[], run: () => void): void {
    if (events.every((event) => event.isFinished())) return run();
    this.#waiting.push({ events: [...events], run });
    this.#timer ??= setInterval(() => this.reap(), POLL_EVERY_MS) as unknown as number;
  }

  /** Runs what has to wait no longer. */
  reap(): void {
    const ready = this.#waiting.filter(({ events }) => events.every((event) => event.isFinished()));
    this.#waiting = this.#waiting.filter((each) => !ready.includes(each));
    if (this.#waiting.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const { run } of ready) run();
  }
}
