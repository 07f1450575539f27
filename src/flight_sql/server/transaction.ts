/**
 * Transactions of clients.
 *
 * @module
 */
import type { PeerError } from "../../tell_peer.ts";
import type { EngineConnection } from "../engine.ts";
import { fromEngine, notNow } from "./failure.ts";
import type { Open } from "./handles.ts";
import type { SqlResult } from "./result.ts";

/** A transaction, which has a connection of its own. */
export class Transaction implements Open {
  readonly kind = "transaction";
  readonly timeoutMs: number;
  readonly connection: EngineConnection;
  /** Results of its statements that are not in memory. */
  readonly #results = new Set<SqlResult>();
  /** Names of savepoints by their handles. */
  readonly #savepoints = new Set<string>();
  #calls = 0;
  #isEnded = false;

  constructor(connection: EngineConnection, timeoutMs: number) {
    this.connection = connection;
    this.timeoutMs = timeoutMs;
  }

  get isBusy(): boolean {
    return this.#calls > 0 || [...this.#results].some((result) => result.isBeingRead);
  }

  /** Runs a call on its connection, which a result must not occupy. */
  async use<T>(call: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    this.#calls++;
    try {
      await this.#endResults(
        notNow("cannot fetch the result: another statement of its transaction was executed before it was fetched"),
      );
      return await call();
    } finally {
      this.#calls--;
    }
  }

  /** Keeps a result that occupies the connection until it was read. */
  keep(result: SqlResult): void {
    if (!result.isSmall) this.#results.add(result);
  }

  /** Commits it, or rolls it back. */
  async end(action: "commit" | "rollback"): Promise<void> {
    try {
      await this.use(() => fromEngine(() => this.connection[action]()));
    } finally {
      await this.close(notNow("cannot use the transaction: it was ended"));
    }
  }

  /** Begins a savepoint. @param name Chosen by the server */
  async beginSavepoint(name: string): Promise<void> {
    await this.use(() => fromEngine(() => this.connection.savepoints!.begin(name)));
    this.#savepoints.add(name);
  }

  /** Releases a savepoint, or rolls back to it. @returns whether it is one of this transaction */
  async endSavepoint(name: string, action: "release" | "rollback"): Promise<boolean> {
    if (!this.#savepoints.has(name)) return false;
    await this.use(() => fromEngine(() => this.connection.savepoints![action](name)));
    // After a rollback it is still there.
    if (action === "release") this.#savepoints.delete(name);
    return true;
  }

  /** Rolls it back unless it was ended, and closes its connection. */
  async close(error: PeerError): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const result of this.#results) await result.close(error);
    await this.connection.close();
  }

  #checkOpen(): void {
    if (this.#isEnded) throw notNow("cannot use the transaction: it was ended; begin another one");
  }

  async #endResults(error: PeerError): Promise<void> {
    for (const result of [...this.#results]) {
      if (result.isBeingRead && !result.wasRead) {
        throw notNow(
          "cannot execute the statement: a result of its transaction is being fetched; fetch it to its end, or use another transaction",
        );
      }
      this.#results.delete(result);
      await result.close(error);
    }
  }
}
