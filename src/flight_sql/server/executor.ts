/**
 * Executes the statements of clients: on the connection of their transaction, or on one of their own.
 *
 * @module
 */
import { Field, Int64, Schema, type Table } from "apache-arrow";
import type { MessageHeader } from "../../ipc/message.ts";
import type { ResidentDataset } from "../../sources/resident.ts";
import { fromTable } from "../../sources/table.ts";
import type {
  EngineConnection,
  EngineExecuteOptions,
  EngineIngest,
  EngineParameters,
  EnginePlace,
  EngineRowSource,
  EngineStatement,
  SqlEngine,
} from "../engine.ts";
import { engineError, fromEngine, notOffered } from "./failure.ts";
import { type Caller, Handles } from "./handles.ts";
import type { SqlLimits } from "./limits.ts";
import { type Instance, ParameterMemory, PreparedStatement } from "./prepared.ts";
import { resultOf, SmallResult, type SqlResult } from "./result.ts";
import { StoredResult } from "./stored_result.ts";
import { tableOf } from "./rows.ts";
import { Budget, Run } from "./run.ts";
import { atomically, rowsFor, unhurried } from "./execution.ts";
import { Transaction } from "./transaction.ts";
import type { ProgressWatch } from "./watch.ts";

/** The rows of a statement that has none: how many it has changed. */
const COUNT = new Schema([new Field("Count", new Int64(), false)]);
/** Most results that are kept after they were fetched. */
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

/** What is executed. */
interface Work {
  readonly transaction: Transaction | null;
  readonly textBytes: number;
  open(signal: AbortSignal): Promise<Ready>;
}

/** A statement that is ready to be executed, and what follows its execution. */
interface Ready {
  readonly connection: EngineConnection;
  readonly statement: EngineStatement;
  readonly parameters: readonly EngineParameters[];
  readonly release: () => Promise<void>;
}

/** Executes statements, and keeps what clients have open. */
export class Executor {
  readonly engine: SqlEngine;
  readonly limits: SqlLimits;
  readonly handles: Handles;
  readonly parameterMemory = new ParameterMemory();
  /** Results by their handles, oldest first. */
  readonly #results = new Map<string, StoredResult>();

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
    const textBytes = sizeOf(text);
    this.handles.checkRoom(caller, textBytes);
    const prepare = (signal: AbortSignal): Promise<Instance> =>
      within(transaction, () => this.#instance(text, transaction, signal));
    const first = await this.#timed(signal, (signal) => prepare(signal));
    const prepared = new PreparedStatement(first, transaction, prepare, textBytes);
    try {
      // Others may have come meanwhile, and by now it has schemas.
      this.handles.checkRoom(caller, prepared.statementBytes);
      return { handle: this.handles.add(prepared, caller), prepared };
    } catch (error) {
      await prepared.close();
      throw error;
    }
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
    execution: Execution,
  ): Promise<StoredResult> {
    const open = async (signal: AbortSignal): Promise<Ready> => {
      const { connection, statement } = await this.#instance(text, transaction, signal);
      const release = () => transaction === null ? connection.close() : statement.close();
      return { connection, statement, parameters: [], release };
    };
    return await this.#execute({ transaction, textBytes: sizeOf(text), open }, execution);
  }

  /** Executes a prepared statement for its rows. */
  async queryPrepared(prepared: PreparedStatement, execution: Execution): Promise<StoredResult> {
    const { transaction, textBytes } = prepared;
    const open = async (signal: AbortSignal): Promise<Ready> => {
      const instance = await prepared.take(signal);
      // The client may bind others while the rows are fetched.
      const bound = prepared.holdParameters();
      const release = (): Promise<void> => {
        bound?.[Symbol.dispose]();
        return prepared.giveBack(instance);
      };
      return { ...instance, parameters: bound?.rows ?? [], release };
    };
    return await this.#execute({ transaction, textBytes, open }, execution);
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
    return await this.#timed(signal, (signal, budget) =>
      within(transaction, async () => {
        const connection = transaction?.connection ?? await this.engine.connect();
        try {
          return await connection.ingest(target, unhurried(rows, budget), { signal, place });
        } finally {
          if (transaction === null) await connection.close();
        }
      }));
  }

  /** Keeps rows as a result. */
  async store(table: Table, caller: Caller): Promise<StoredResult> {
    this.handles.checkRoom(caller);
    return this.#keep(new SmallResult(await fromTable(table) as ResidentDataset), caller, 0);
  }

  /** The handle of a result. */
  handleOf(stored: StoredResult): string {
    return this.#handles.get(stored)!;
  }

  readonly #handles = new WeakMap<StoredResult, string>();
  /** Bytes for small results that are being computed. */
  #reserved = 0;

  async #execute(
    { transaction, textBytes, open }: Work,
    { caller, signal, watch }: Execution,
  ): Promise<StoredResult> {
    this.#dropRead();
    this.handles.checkRoom(caller, textBytes);
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(signal.reason);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    try {
      return await within(transaction, async () => {
        const budget = new Budget(this.limits.statementTimeoutMs, abort);
        const { connection, statement, parameters, release } = await budget.spend(() => open(abort.signal));
        const statementBytes = textBytes + (statement.schema?.bytes.byteLength ?? 0);
        try {
          this.handles.checkRoom(caller, statementBytes);
        } catch (error) {
          await release();
          throw error;
        }
        watch?.begin(connection);
        const options = { signal: abort.signal, isWatched: watch !== undefined };
        const room = this.#reserve();
        try {
          const result = statement.schema === null
            ? await this.#counted(statement, parameters, budget, options).finally(release)
            : await this.#rows(statement, parameters, options, { budget, abort, room, release });
          transaction?.keep(result);
          return this.#keep(result, caller, statementBytes);
        } finally {
          this.#reserved -= room;
        }
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
    { budget, abort, room, release }: {
      budget: Budget;
      abort: AbortController;
      room: number;
      release: () => Promise<void>;
    },
  ): Promise<SqlResult> {
    let rows;
    try {
      rows = await budget.spend(() => rowsFor(statement, parameters, options));
    } catch (error) {
      await release();
      throw error;
    }
    const run = new Run({ rows, budget, abort, limits: this.limits, release });
    return await resultOf(run, statement.isOrdered, room, this.limits.parts);
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

  #keep(result: SqlResult, caller: Caller, statementBytes: number): StoredResult {
    const stored = new StoredResult(result, this.limits.resultTimeoutMs, statementBytes);
    const handle = this.handles.add(stored, caller).toHex();
    this.#handles.set(stored, handle);
    this.#results.set(handle, stored);
    return stored;
  }

  /** Forgets results that were fetched, if there are many, or no room for another small one. */
  #dropRead(): void {
    for (const handle of this.#results.keys()) if (!this.handles.has(handle)) this.#results.delete(handle);
    let missing = Math.min(this.limits.smallResultBytes, this.limits.maxKeptBytes) - this.#free();
    for (const [handle, { result }] of this.#results) {
      if (this.#results.size <= MAX_KEPT && missing <= 0) return;
      if (!result.wasRead || result.isBeingRead) continue;
      missing -= result.keptBytes;
      this.#results.delete(handle);
      this.handles.drop(handle);
    }
  }

  /** Bytes that may be kept of results to come. */
  #free(): number {
    let free = this.limits.maxKeptBytes - this.#reserved;
    for (const { result } of this.#results.values()) free -= result.keptBytes;
    return Math.max(0, free);
  }

  /** Reserves what is kept of a result that comes, if it is small. @returns how many bytes; they are to be given back */
  #reserve(): number {
    const room = Math.min(this.limits.smallResultBytes, this.#free());
    this.#reserved += room;
    return room;
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
  async #timed<T>(outer: AbortSignal, call: (signal: AbortSignal, budget: Budget) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(outer.reason);
    outer.addEventListener("abort", onAbort);
    if (outer.aborted) onAbort();
    try {
      const budget = new Budget(this.limits.statementTimeoutMs, abort);
      return await budget.spend(() => call(abort.signal, budget));
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

/** Bytes of a text. */
function sizeOf(text: StatementText): number {
  return "query" in text ? new TextEncoder().encode(text.query).byteLength : text.plan.byteLength;
}

function within<T>(transaction: Transaction | null, call: () => Promise<T>): Promise<T> {
  return transaction === null ? call() : transaction.use(call);
}
