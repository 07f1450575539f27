/**
 * Transactions and savepoints.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { runAction } from "./action_call.ts";
import { SQL_ACTIONS } from "./actions.ts";
import { SqlExecutor } from "./executor.ts";
import {
  ActionEndSavepointRequest_EndSavepoint as EndSavepoint,
  ActionEndTransactionRequest_EndTransaction as EndTransaction,
} from "./gen/flight_sql_pb.ts";
import type { SqlCallOptions } from "./options.ts";
import type { SqlSession } from "./session.ts";

/** A transaction. Made by `beginTransaction`. Disposing it rolls it back, unless it was ended. */
export class FlightSqlTransaction extends SqlExecutor implements AsyncDisposable {
  #hasEnded = false;

  /** @ignore Use `beginTransaction`. */
  constructor(session: SqlSession, readonly id: Uint8Array) {
    super(session, id);
  }

  /** Ends it; its changes stay. @throws {DipcError} What the server answers; `closed` if it was ended */
  async commit(options: SqlCallOptions = {}): Promise<void> {
    await this.#end(EndTransaction.COMMIT, options);
  }

  /** Ends it; its changes are undone. @throws {DipcError} What the server answers; `closed` if it was ended */
  async rollback(options: SqlCallOptions = {}): Promise<void> {
    await this.#end(EndTransaction.ROLLBACK, options);
  }

  /**
   * Begins a savepoint, to which the transaction can be rolled back.
   *
   * @param name Its name
   * @param options Cancellation
   * @throws {DipcError} What the server answers
   */
  async savepoint(name: string, options: SqlCallOptions = {}): Promise<FlightSqlSavepoint> {
    const request = { transactionId: this.id, name };
    const { savepointId } = await runAction(this._session.flight, SQL_ACTIONS.beginSavepoint, request, options);
    return new FlightSqlSavepoint(this._session, savepointId);
  }

  /** Rolls it back, unless it was ended; what the server answers does not count. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) await this.rollback().catch(() => {});
  }

  async #end(action: EndTransaction, options: SqlCallOptions): Promise<void> {
    if (this.#hasEnded) throw new LocalError("closed", "cannot end the transaction: it was ended before");
    await runAction(this._session.flight, SQL_ACTIONS.endTransaction, { transactionId: this.id, action }, options);
    this.#hasEnded = true;
  }
}

/** A savepoint of a transaction. Made by `savepoint`. */
export class FlightSqlSavepoint {
  readonly #session: SqlSession;
  /** What the server calls it. */
  readonly id: Uint8Array;

  /** @ignore Use `savepoint` of a transaction. */
  constructor(session: SqlSession, id: Uint8Array) {
    this.#session = session;
    this.id = id;
  }

  /** Forgets it; the changes since then stay in the transaction. @throws {DipcError} What the server answers */
  async release(options: SqlCallOptions = {}): Promise<void> {
    await this.#end(EndSavepoint.RELEASE, options);
  }

  /** Undoes the changes since then. @throws {DipcError} What the server answers */
  async rollback(options: SqlCallOptions = {}): Promise<void> {
    await this.#end(EndSavepoint.ROLLBACK, options);
  }

  async #end(action: EndSavepoint, options: SqlCallOptions): Promise<void> {
    await runAction(this.#session.flight, SQL_ACTIONS.endSavepoint, { savepointId: this.id, action }, options);
  }
}
