/**
 * How far a statement is that its client polls.
 *
 * @module
 */
import type { EngineConnection } from "../engine.ts";

/** Watches the connection of one statement. */
export class ProgressWatch {
  #connection: EngineConnection | null = null;
  #last: number | null = null;

  /** The statement is about to be executed. */
  begin(connection: EngineConnection): void {
    this.#connection = connection;
  }

  /** How much is done, from 0 to 1, and never less than before; `null` while that is not known. */
  get progress(): number | null {
    const now = this.#connection?.progress?.() ?? null;
    if (now !== null && now >= 0 && now <= 1) this.#last = Math.max(now, this.#last ?? 0);
    return this.#last;
  }
}
