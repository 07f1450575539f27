/**
 * Executes the statements of clients: on the connection of their transaction, or on one of their own.
 *
 * @module
 */
import { Field, Int64, Schema, type Table } from "apache-arrow";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import type { ResidentDataset } from "../../sources/resident.ts";
import { fromTable } from "../../sources/table.ts";
import type { PeerError } from "../../tell_peer.ts";
import type {
  EngineConnection,
  EngineExecuteOptions,
  EngineIngest,
  EngineParameters,
  EnginePlace,
  EngineRows,
  EngineRowSource,
  EngineStatement,
  SqlEngine,
} from "../engine.ts";
import { engineError, fromEngine, notOffered } from "./failure.ts";
import { type Caller, Handles, type Open } from "./handles.ts";
import type { SqlLimits } from "./limits.ts";
import { type Instance, ParameterMemory, PreparedStatement } from "./prepared.ts";
import { resultOf, SmallResult, type SqlResult } from "./result.ts";
import { tableOf } from "./rows.ts";
import { Budget, Run } from "./run.ts";
import { Transaction } from "./transaction.ts";
import type { ProgressWatch } from "./watch.ts";

/** The rows of a statement that has none: how many it has changed. */
const COUNT = new Schema([new Field("Count", new Int64(), false)]);
/** Most small results that are kept after they were fetched. */
const MAX_KEPT = 128;

/** What a client wants to be executed. */
export type StatementText =
  & ({ readonly query: string } | { readonly plan: Uint8Array; readonly version: string })
  /** The place of its names. */
  & { readonly place?: EnginePlace };

/** Who executes a statement for its rows. */
export interface Execution {
  readonly caller: Caller;
  readonly signal: AbortSignal;
  /** Learns how far it is. */
  readonly watch?: ProgressWatch;
}

/** A statement that is ready to be executed, and what follows its execution. */
interface Ready {
  readonly connection: EngineConnection;
  readonly statement: EngineStatement;
  readonly release: () => Promise<void>;
}

/** A result, by the handle of which its parts are found. */
export class StoredResult implements Open {
  readonly kind = "result";
  readonly result: SqlResult;
  readonly timeoutMs: number;

  constructor(result: SqlResult, timeoutMs: number) {
    this.result = result;
    this.timeoutMs = timeoutMs;
  }

  get isBusy(): boolean {
    return this.result.isBeingRead;
  }

  close(error: PeerError): Promise<void> {
    return this.result.close(error);
  }
}

/** Executes statements, and keeps what clients have open. */
export class Executor {
  readonly engine: SqlEngine;
  readonly limits: SqlLimits;
  readonly handles: Handles;
  readonly parameterMemory = new ParameterMemory();
  /** Handles of results that are in memory, oldest first. */
  readonly #small = new Map<string, StoredResult>();

  constructor(engine: SqlEngine, limits: SqlLimits) {
    this.engine = engine;
    this.limits = limits;
    this.handles = new Handles(limits);
  }

  /** Begins a transaction. @returns its handle */
  async begin(caller: Caller): Promise<Uint8Array> {
    this.handles.checkRoom(caller);
    return await fromEngine(async () => {
      const connection = await this.engine.connect();
      try {
        await connection.begin();
      } catch (error) {
        await connection.close();
        throw error;
      }
      return this.handles.add(new Transaction(connection, this.limits.transactionTimeoutMs), caller);
    });
  }

  /** The transaction of a call; `null` for none. @throws {DipcError} `not_found` */
  transaction(handle: Uint8Array | undefined, caller: Caller): Transaction | null {
    if (handle === undefined || handle.byteLength === 0) return null;
    return this.handles.find(Transaction, "transaction", handle, caller);
  }

  /** A prepared statement. @throws {DipcError} `not_found` */
  prepared(handle: Uint8Array, caller: Caller): PreparedStatement {
    return this.handles.find(PreparedStatement, "prepared statement", handle, caller);
  }

  /** Prepares a statement. */
  async prepare(
    text: StatementText,
    transaction: Transaction | null,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<{ readonly handle: Uint8Array; readonly prepared: PreparedStatement }> {
    this.handles.checkRoom(caller);
    const prepare = (signal: AbortSignal): Promise<Instance> =>
      within(transaction, () => this.#instance(text, transaction, signal));
    const first = await this.#timed(signal, (signal) => prepare(signal));
    const prepared = new PreparedStatement(first, transaction, prepare);
    return { handle: this.handles.add(prepared, caller), prepared };
  }

  /** The schema of what a statement gives. */
  async schemaOf(text: StatementText, transaction: Transaction | null, signal: AbortSignal): Promise<MessageHeader> {
    return await this.#timed(signal, (signal) =>
      within(transaction, async () => {
        const { connection, statement } = await this.#instance(text, transaction, signal);
        const { schema } = statement;
        await (transaction === null ? connection.close() : statement.close());
        return schema ?? await countSchema();
      }));
  }

  /** Executes a statement for its rows. */
  async query(
    text: StatementText,
    transaction: Transaction | null,
    { caller, signal, watch }: Execution,
  ): Promise<StoredResult> {
    return await this.#execute(transaction, [], { caller, signal, watch }, async (signal) => {
      const { connection, statement } = await this.#instance(text, transaction, signal);
      return { connection, statement, release: () => transaction === null ? connection.close() : statement.close() };
    });
  }

  /** Executes a prepared statement for its rows. */
  async queryPrepared(prepared: PreparedStatement, execution: Execution): Promise<StoredResult> {
    return await this.#execute(prepared.transaction, prepared.parameters, execution, async (signal) => {
      const instance = await prepared.take(signal);
      return { ...instance, release: () => prepared.giveBack(instance) };
    });
  }

  /** Executes a statement that changes something. @returns the rows that were changed */
  async update(text: StatementText, transaction: Transaction | null, signal: AbortSignal): Promise<number> {
    return await this.#timed(signal, (signal) =>
      within(transaction, async () => {
        const { connection, statement } = await this.#instance(text, transaction, signal);
        try {
          return await statement.update(null, { signal });
        } finally {
          await (transaction === null ? connection.close() : statement.close());
        }
      }));
  }

  /** Executes a prepared statement once for each row of parameters, all or none. @returns the rows that were changed */
  async updatePrepared(
    prepared: PreparedStatement,
    rows: readonly EngineParameters[],
    signal: AbortSignal,
  ): Promise<number> {
    const { transaction } = prepared;
    return await this.#timed(signal, (signal) =>
      within(transaction, async () => {
        const instance = await prepared.take(signal);
        const { connection, statement } = instance;
        const each = async (): Promise<number> => {
          let changed = 0;
          for (const row of rows.length === 0 ? [null] : rows) changed += await statement.update(row, { signal });
          return changed;
        };
        try {
          const isOwn = transaction === null && rows.length > 1 && this.engine.facts.transactions !== "none";
          return isOwn ? await atomically(connection, each) : await each();
        } finally {
          await prepared.giveBack(instance);
        }
      }));
  }

  /** Writes uploaded rows into a table. @returns their number */
  async ingest(
    target: EngineIngest,
    rows: EngineRowSource,
    transaction: Transaction | null,
    { signal, place }: Caller,
  ): Promise<number> {
    if (!this.engine.facts.canIngest) throw notOffered("write the rows into the table");
    return await fromEngine(() =>
      within(transaction, async () => {
        const connection = transaction?.connection ?? await this.engine.connect();
        try {
          return await connection.ingest(target, rows, { signal, place });
        } finally {
          if (transaction === null) await connection.close();
        }
      }), signal);
  }

  /** Keeps rows as a result. */
  async store(table: Table, caller: Caller): Promise<StoredResult> {
    this.handles.checkRoom(caller);
    return this.#keep(new SmallResult(await fromTable(table) as ResidentDataset), caller);
  }

  /** The handle of a result. */
  handleOf(stored: StoredResult): string {
    return this.#handles.get(stored)!;
  }

  readonly #handles = new WeakMap<StoredResult, string>();

  async #execute(
    transaction: Transaction | null,
    parameters: readonly EngineParameters[],
    { caller, signal, watch }: Execution,
    open: (signal: AbortSignal) => Promise<Ready>,
  ): Promise<StoredResult> {
    this.#dropRead();
    this.handles.checkRoom(caller);
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(signal.reason);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    try {
      return await within(transaction, async () => {
        const budget = new Budget(this.limits.statementTimeoutMs, abort);
        const { connection, statement, release } = await budget.spend(() => open(abort.signal));
        watch?.begin(connection);
        const options = { signal: abort.signal, isWatched: watch !== undefined };
        const result = statement.schema === null
          ? await this.#counted(statement, parameters, budget, options).finally(release)
          : await this.#rows(statement, parameters, options, { budget, abort, release });
        transaction?.keep(result);
        return this.#keep(result, caller);
      });
    } catch (error) {
      throw engineError(error, abort.signal);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #rows(
    statement: EngineStatement,
    parameters: readonly EngineParameters[],
    options: EngineExecuteOptions,
    { budget, abort, release }: { budget: Budget; abort: AbortController; release: () => Promise<void> },
  ): Promise<SqlResult> {
    let rows;
    try {
      rows = await budget.spend(() => rowsFor(statement, parameters, options));
    } catch (error) {
      await release();
      throw error;
    }
    const run = new Run({ rows, budget, abort, limits: this.limits, release });
    return await resultOf(run, statement.isOrdered, this.limits);
  }

  async #counted(
    statement: EngineStatement,
    parameters: readonly EngineParameters[],
    budget: Budget,
    options: EngineExecuteOptions,
  ): Promise<SqlResult> {
    const changed = await budget.spend(() => statement.update(parameters[0] ?? null, options));
    return new SmallResult(await fromTable(tableOf(COUNT, [{ Count: BigInt(changed) }])) as ResidentDataset);
  }

  #keep(result: SqlResult, caller: Caller): StoredResult {
    const stored = new StoredResult(result, this.limits.resultTimeoutMs);
    const handle = this.handles.add(stored, caller).toHex();
    this.#handles.set(stored, handle);
    if (result.isSmall) this.#small.set(handle, stored);
    return stored;
  }

  /** Forgets results that were fetched, if there are many. */
  #dropRead(): void {
    let bytes = 0;
    for (const [handle, { result }] of this.#small) {
      if (this.handles.has(handle)) bytes += result.bytes;
      else this.#small.delete(handle);
    }
    for (const [handle, { result }] of this.#small) {
      if (this.#small.size <= MAX_KEPT && bytes <= this.limits.maxKeptBytes) return;
      if (!result.wasRead || result.isBeingRead) continue;
      bytes -= result.bytes;
      this.#small.delete(handle);
      this.handles.drop(handle);
    }
  }

  async #instance(
    text: StatementText,
    transaction: Transaction | null,
    signal: AbortSignal,
  ): Promise<Instance> {
    const connection = transaction?.connection ?? await this.engine.connect();
    try {
      const options = { signal, place: text.place };
      if ("query" in text) return { connection, statement: await connection.prepare(text.query, options) };
      if (connection.preparePlan === undefined) throw notOffered("execute a plan of Substrait");
      return { connection, statement: await connection.preparePlan(text.plan, text.version, options) };
    } catch (error) {
      if (transaction === null) await connection.close();
      throw error;
    }
  }

  /** Runs a call that the client or the time limit ends. */
  async #timed<T>(outer: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(outer.reason);
    outer.addEventListener("abort", onAbort);
    if (outer.aborted) onAbort();
    try {
      return await new Budget(this.limits.statementTimeoutMs, abort).spend(() => call(abort.signal));
    } catch (error) {
      throw engineError(error, abort.signal);
    } finally {
      outer.removeEventListener("abort", onAbort);
    }
  }
}

/** The schema of a count. */
async function countSchema(): Promise<MessageHeader> {
  return (await fromTable(tableOf(COUNT, []))).schema;
}

function within<T>(transaction: Transaction | null, call: () => Promise<T>): Promise<T> {
  return transaction === null ? call() : transaction.use(call);
}

async function atomically<T>(connection: EngineConnection, call: () => Promise<T>): Promise<T> {
  await connection.begin();
  try {
    const result = await call();
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback().catch(() => {});
    throw error;
  }
}

/** The rows for one row of parameters, or for several, one execution after another. */
async function rowsFor(
  statement: EngineStatement,
  parameters: readonly EngineParameters[],
  options: EngineExecuteOptions,
): Promise<EngineRows> {
  let current = await statement.query(parameters[0] ?? null, options);
  if (parameters.length <= 1) return current;
  let at = 1;
  return {
    schema: current.schema,
    async next(): Promise<IpcMessage | null> {
      for (;;) {
        const message = await current.next();
        if (message !== null || at === parameters.length) return message;
        await current.close();
        current = await statement.query(parameters[at++], options);
      }
    },
    close: () => current.close(),
  };
}
