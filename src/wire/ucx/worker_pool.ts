/**
 * Workers made ahead, because making one takes milliseconds.
 *
 * @module
 */
import type { UcxContext } from "./context.ts";
import { UcxWorker } from "./worker.ts";

/** A worker is destroyed after this many streams, so that whatever UCX keeps for one does not add up for ever. */
const MAX_USES = 1000;

/** Idle workers of one context. */
export class WorkerPool {
  readonly #context: UcxContext;
  readonly #warm: number;
  readonly #idle: UcxWorker[] = [];
  readonly #uses = new WeakMap<UcxWorker, number>();
  #refilling = false;
  #closed = false;

  /**
   * @param context The context of the workers
   * @param warm Workers to keep ready, once asked to
   */
  constructor(context: UcxContext, warm: number) {
    this.#context = context;
    this.#warm = warm;
  }

  /** A worker without endpoints and without messages. */
  take(): UcxWorker {
    const worker = this.#idle.pop() ?? new UcxWorker(this.#context);
    this.#uses.set(worker, (this.#uses.get(worker) ?? 0) + 1);
    return worker;
  }

  /** Takes a worker back: kept where it is clean, else destroyed. Bound, so that it can be handed on. */
  readonly giveBack = (worker: UcxWorker, clean: boolean): void => {
    const keep = clean && !this.#closed && this.#idle.length < this.#warm && (this.#uses.get(worker) ?? 0) < MAX_USES;
    if (keep) this.#idle.push(worker);
    else worker.destroy();
  };

  /** Makes workers, one a turn of the event loop, until enough are ready. */
  refill(): void {
    if (this.#refilling || this.#closed || this.#idle.length >= this.#warm) return;
    this.#refilling = true;
    setImmediate(() => {
      this.#refilling = false;
      if (this.#closed || this.#idle.length >= this.#warm) return;
      try {
        this.#idle.push(new UcxWorker(this.#context));
      } catch {
        return; // the one who needs a worker gets the error
      }
      this.refill();
    });
  }

  /** Destroys the idle workers; others are destroyed when they come back. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#idle.splice(0)) worker.destroy();
  }
}
