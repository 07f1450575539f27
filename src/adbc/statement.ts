/**
 * Statements: queries, updates, parameters, partitions.
 *
 * @module
 */
import { RecordBatch } from "apache-arrow";
import { ADBC_LAYOUT } from "../../ffi/adbc.ts";
import { exportRecordBatch } from "../c_data/export.ts";
import type { StreamSource } from "../c_data/export_source.ts";
import { ForeignBatch } from "../c_data/foreign_batch.ts";
import type { ForeignStream } from "../c_data/foreign_stream.ts";
import { readSchema } from "../c_data/schema_in.ts";
import { exportStream, type ExportStreamOptions } from "../c_data/stream_out.ts";
import { CStruct } from "../c_data/structs.ts";
import { Arena, copyOf } from "../c_data/arena.ts";
import { AdbcConfigurable } from "./configurable.ts";
import { type CallOptions, type Handle, unwatch } from "./handle.ts";
import type { AdbcOptionType, AdbcOptionValue } from "./options.ts";
import { takePartitions } from "./partitions.ts";
import { abortableCall, checkOrigin, openResult, signalOf, untilAborted } from "./result.ts";
import { AdbcSchema, fetchSchema } from "./schema.ts";
import { Turns } from "../c_data/turns.ts";

/** What can be bound to a statement: a batch, or anything that can be exported as a stream. */
export type AdbcSource = RecordBatch | ForeignBatch | StreamSource;

/** Parts of a result that can be read apart, also by other connections and processes. */
export interface AdbcPartitions {
  /** The schema of each part, `null` if the driver does not know it yet. */
  readonly schema: AdbcSchema | null;
  /** An opaque name of each part, for `readPartition`. */
  readonly partitions: readonly Uint8Array<ArrayBuffer>[];
  /** Rows that a change has affected, `null` if the driver does not say. */
  readonly affectedRows: number | null;
}

/**
 * A statement. It may be executed many times, with other parameters. Executing it ends the streams that earlier executions gave.
 *
 * Disposing it lets a stream that it gave go on: it is released after its last stream.
 */
export class AdbcStatement extends AdbcConfigurable implements AsyncDisposable {
  readonly #handle: Handle;
  /** What changes the statement does so one after another, because each ends the streams that it gave before. */
  readonly #changes = new Turns();

  /** @ignore Use `createStatement` of a connection. */
  constructor(handle: Handle) {
    super(handle);
    this.#handle = handle;
  }

  /**
   * Sets the query, in the database's own dialect of SQL.
   *
   * @param sql The query
   * @throws {DipcError} What the driver reports; `closed`
   */
  setSqlQuery(sql: string): Promise<void> {
    return this.#change(async () => {
      using arena = new Arena();
      await this.#handle.call("StatementSetSqlQuery", "set the query", [arena.text("the query", sql)]);
    });
  }

  /**
   * Sets a Substrait plan instead of a query.
   *
   * @param plan The serialised plan
   * @throws {DipcError} `unsupported` with most drivers; `closed`
   */
  setSubstraitPlan(plan: Uint8Array): Promise<void> {
    return this.#change(async () => {
      using arena = new Arena();
      const args = [arena.bytes(plan), BigInt(plan.byteLength)];
      await this.#handle.call("StatementSetSubstraitPlan", "set the Substrait plan", args);
    });
  }

  /** Prepares the query for being executed many times. @throws {DipcError} What the driver reports; `closed` */
  prepare(): Promise<void> {
    return this.#change(() => this.#handle.call("StatementPrepare", "prepare the query"));
  }

  /**
   * Binds parameters, one execution for each row, or the rows to be ingested. They are not copied: the driver keeps them until it
   * has used them or the statement is closed.
   *
   * @param source A batch, or a stream of batches; taken over as `exportRecordBatch` and `exportStream` do
   * @param options Schema of an iterable that may be empty
   * @throws {DipcError} What the driver reports; `closed`
   */
  bind(source: AdbcSource, options: ExportStreamOptions = {}): Promise<void> {
    return this.#change(async () => {
      checkOrigin(source, this.#handle);
      if (source instanceof RecordBatch || source instanceof ForeignBatch) return await this.#bindBatch(source);
      using stream = new CStruct("ArrowArrayStream");
      await exportStream(source, stream.address, options);
      await this.#handle.call("StatementBindStream", "bind parameters", [stream.address]);
    });
  }

  async #bindBatch(batch: RecordBatch | ForeignBatch): Promise<void> {
    using array = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    exportRecordBatch(batch, array.address, schema.address);
    await this.#handle.call("StatementBind", "bind parameters", [array.address, schema.address]);
  }

  /**
   * Executes the query, and gives its rows.
   *
   * @param options Cancels it
   * @returns The rows; dispose the stream unless it is read to its end
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async query(options: CallOptions = {}): Promise<ForeignStream> {
    const signal = signalOf("query", options);
    const action = "execute the query";
    const execute = (): Promise<ForeignStream> =>
      openResult(this.#handle, "StatementExecuteQuery", action, (out) => [out, 0n], { signal });
    return await untilAborted(this.#change(execute), action, signal, (stream) => void stream.cancel());
  }

  /**
   * Executes a statement that gives no rows.
   *
   * @param options Cancels it
   * @returns Rows that it has affected, `null` if the driver does not say
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async execute(options: CallOptions = {}): Promise<number | null> {
    const signal = signalOf("execute", options);
    const action = "execute the statement";
    const execute = async (): Promise<number | null> => {
      using arena = new Arena();
      const rows = arena.words([UNKNOWN]);
      await abortableCall(this.#handle, "StatementExecuteQuery", action, [0n, rows], signal);
      return rowsAt(rows);
    };
    return await untilAborted(this.#change(execute), action, signal);
  }

  /**
   * Executes the query, and gives names of the parts of its result.
   *
   * @param options Cancels it
   * @throws {DipcError} `unsupported` with drivers of databases that are not distributed; what the driver reports; `cancelled`
   */
  async executePartitions(options: CallOptions = {}): Promise<AdbcPartitions> {
    const signal = signalOf("executePartitions", options);
    const action = "execute the query in partitions";
    const execute = async (): Promise<AdbcPartitions> => {
      using arena = new Arena();
      using schema = new CStruct("ArrowSchema");
      const rows = arena.words([UNKNOWN]);
      const out = arena.zeros(ADBC_LAYOUT.AdbcPartitions.size);
      await abortableCall(this.#handle, "StatementExecutePartitions", action, [schema.address, out, rows], signal);
      const partitions = takePartitions(out);
      // A driver that executes in steps may give no schema.
      const taken = schema.isReleased ? null : new AdbcSchema(readSchema(schema.address));
      return { schema: taken, partitions, affectedRows: rowsAt(rows) };
    };
    return await untilAborted(this.#change(execute), action, signal);
  }

  /** The schema of the parameters, after {@linkcode prepare}. @throws {DipcError} `unsupported`; what the driver reports */
  parameterSchema(): Promise<AdbcSchema> {
    const action = "read the schema of the parameters";
    return fetchSchema(this.#handle, "StatementGetParameterSchema", action, (out) => [out]);
  }

  /** The schema of the result, without executing the query. @throws {DipcError} `unsupported`; what the driver reports */
  executeSchema(): Promise<AdbcSchema> {
    const action = "read the schema of the result";
    return this.#change(() => fetchSchema(this.#handle, "StatementExecuteSchema", action, (out) => [out]));
  }

  /** Cancels the execution that is under way. @throws {DipcError} What the driver reports if there is none; `unsupported` */
  async cancel(): Promise<void> {
    this.#handle.checkOpen("cancel the statement");
    await this.#handle.interrupt();
  }

  /** Sets an option, which ends the streams that the statement gave before. */
  override setOption(name: string, value: AdbcOptionValue, type?: AdbcOptionType): Promise<void> {
    return this.#change(() => super.setOption(name, value, type));
  }

  /** Closes the statement: at once, or after the last stream that it gave. Idempotent. */
  close(): Promise<void> {
    unwatch(this.#handle);
    return this.#handle.leave();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    return this.#changes.run(async () => {
      this.#handle.checkOpen("use the statement");
      await this.#handle.closeUsers();
      return await change();
    });
  }
}

/** `rows_affected` of what is not known. */
const UNKNOWN = BigInt.asUintN(64, -1n);

function rowsAt(address: bigint): number | null {
  const rows = new BigInt64Array(copyOf(address, 8).buffer)[0];
  return rows < 0n ? null : Number(rows);
}
