/**
 * Workers made ahead, because making one takes milliseconds.
 *
 * @module
 */
import type { UcxContext } from "./context.ts";
import { UcxWorker } from "./worker.ts";

/** A worker is destroyed after this many streams, so that what UCX keeps per worker does not grow forever. */
const MAX_USES = 1000;
/**
 * Workers are made after this many milliseconds without a connection: making one takes several, for which a connection
 * being made would have to wait.
 */
const REFILL_AFTER_MS = 50;

/** Idle workers of one context. */
export class WorkerPool {
  readonly #context: UcxContext;
  readonly #warm: number;
  readonly #idle: UcxWorker[] = [];
  readonly #uses = new WeakMap<UcxWorker, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * @param context The context of the workers
   * @param warm Workers to keep ready once `refill` was called
   */
  constructor(context: UcxContext, warm: number) {
    this.#context = context;
    this.#warm = warm;
  }

  /** Whether a worker is ready, so that taking one costs nothing. */
  get hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  /** A worker without endpoints and without messages. */
  take(): UcxWorker {
    const worker = this.#idle.pop() ?? new UcxWorker(this.#context);
    this.#uses.set(worker, (this.#uses.get(worker) ?? 0) + 1);
    return worker;
  }

  /** Takes a worker back: keeps it if it is clean, else destroys it. Bound, so that it can be passed as a callback. */
  readonly giveBack = (worker: UcxWorker, clean: boolean): void => {
    // Up to twice as many as are made ahead: a used one is configured for peers like its last, which halves the time of
    // the next connection.
    const room = this.#idle.length < 2 * this.#warm;
    const keep = clean && room && !this.#isClosed && (this.#uses.get(worker) ?? 0) < MAX_USES;
    if (keep) this.#idle.push(worker);
    else worker.destroy();
  };

  /** Makes workers, one after another, when no connection is being made, until enough are ready. */
  refill(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#idle.length >= this.#warm) return;
    this.#timer = setTimeout(() => {
      if (this.#isClosed || this.#idle.length >= this.#warm) return;
      try {
        this.#idle.push(new UcxWorker(this.#context));
      } catch {
        return; // the next `take` reports the error
      }
      this.refill();
    }, REFILL_AFTER_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Destroys the idle workers; others are destroyed when they come back. Idempotent. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const worker of this.#idle.splice(0)) worker.destroy();
  }
}
