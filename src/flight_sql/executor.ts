/**
 * What can be executed: by a client, each statement on its own, and by a transaction.
 *
 * @module
 */
import type { RecordBatch, Table } from "apache-arrow";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";
import type { FlightInfo } from "../flight/model.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { checkOptionNames, oneOf } from "../options.ts";
import type { DissociatedStreamReader } from "../reader.ts";
import type { Dataset } from "../sources/dataset.ts";
import { packMessage } from "./any.ts";
import * as sql from "./gen/flight_sql_pb.ts";
import type {
  SqlCallOptions,
  SqlExecuteOptions,
  SqlIngestMode,
  SqlIngestOptions,
  SqlQueryOptions,
  SqlStatement,
} from "./options.ts";
import { datasetOf } from "./parameters.ts";
import type { SqlSession } from "./session.ts";
import { planOf } from "./plan.ts";
import { type FlightSqlStatement, prepareStatement } from "./statement.ts";

const { TableNotExistOption: Missing, TableExistsOption: Present } = {
  TableNotExistOption: sql.CommandStatementIngest_TableDefinitionOptions_TableNotExistOption,
  TableExistsOption: sql.CommandStatementIngest_TableDefinitionOptions_TableExistsOption,
};

/** What each mode does if there is no table, and if there is one. */
const MODES: Readonly<Record<SqlIngestMode, { ifNotExist: number; ifExists: number }>> = {
  create: { ifNotExist: Missing.CREATE, ifExists: Present.FAIL },
  append: { ifNotExist: Missing.FAIL, ifExists: Present.APPEND },
  replace: { ifNotExist: Missing.CREATE, ifExists: Present.REPLACE },
  create_append: { ifNotExist: Missing.CREATE, ifExists: Present.APPEND },
};

const INGEST_KEYS = {
  ...{ mode: true, catalog: true, dbSchema: true, temporary: true, options: true, signal: true, timeoutMs: true },
} as const satisfies Record<keyof SqlIngestOptions, true>;

/** Executes statements. */
export abstract class SqlExecutor {
  /** @ignore */
  protected readonly _session: SqlSession;
  /** The transaction that everything belongs to; `undefined` without one. */
  protected readonly _transactionId: Uint8Array | undefined;

  /** @ignore */
  constructor(session: SqlSession, transactionId?: Uint8Array) {
    this._session = session;
    this._transactionId = transactionId;
  }

  /**
   * Executes a query and reads its rows: of all endpoints, several at a time, in order if they have one.
   *
   * @param statement The query
   * @param options Parameters, progress, cancellation
   * @returns The reader, once the schema has arrived. Read it to its end, or dispose it
   * @throws {DipcError} What the server answers; `invalid_argument`, `timeout`, `cancelled`, `connection_lost`
   */
  async query(statement: SqlStatement, options: SqlQueryOptions = {}): Promise<DissociatedStreamReader> {
    const startedMs = performance.now();
    if (options.parameters === undefined) {
      const schema = () => this.#preparedSchema(statement);
      return await this._session.open(await this.execute(statement, options), options, { startedMs, schema });
    }
    const prepared = await this.prepare(statement, options);
    try {
      // Its tickets may be those of the prepared statement, which has to be there until they have been used.
      return await prepared._queryThenClose(options, startedMs);
    } catch (error) {
      await prepared.close().catch(() => {});
      throw error;
    }
  }

  /**
   * Executes a query without reading its rows.
   *
   * @param statement The query
   * @param options Progress, cancellation
   * @returns The endpoints of its result, for `read` of the client, or for other readers
   * @throws {DipcError} As `query`
   */
  async execute(
    statement: SqlStatement,
    options: Pick<SqlQueryOptions, "onProgress" | keyof SqlCallOptions> = {},
  ): Promise<FlightInfo> {
    return await this._session.info(this.#queryCommand(statement), options);
  }

  /**
   * The schema of a query's rows, without executing it.
   *
   * @param statement The query
   * @param options Cancellation
   * @throws {DipcError} As `query`
   */
  async querySchema(statement: SqlStatement, options: SqlCallOptions = {}): Promise<MessageHeader> {
    const bytes = await this._session.flight.getSchema({ command: this.#queryCommand(statement) }, options);
    return readEncapsulatedSchema(bytes);
  }

  /**
   * Executes a statement that changes rows, or gives none.
   *
   * @param statement The statement
   * @param options Parameters, cancellation
   * @returns Rows that were changed, `null` if the server does not say
   * @throws {DipcError} As `query`
   */
  async update(statement: SqlStatement, options: SqlExecuteOptions = {}): Promise<number | null> {
    if (options.parameters === undefined) {
      return await this._session.change(this.#updateCommand(statement), null, options);
    }
    await using prepared = await this.prepare(statement, options);
    return await prepared.update(options);
  }

  /**
   * Prepares a statement, for what is executed many times or with parameters.
   *
   * @param statement The statement
   * @param options Cancellation
   * @throws {DipcError} As `query`
   */
  async prepare(statement: SqlStatement, options: SqlCallOptions = {}): Promise<FlightSqlStatement> {
    return await prepareStatement(this._session, statement, this._transactionId, options);
  }

  /**
   * Writes rows into a table.
   *
   * @param table Name of the table
   * @param source The rows: a dataset, or a table or batch of apache-arrow
   * @param options What to do about the table, its place
   * @returns Rows that were written, `null` if the server does not say
   * @throws {DipcError} As `query`
   */
  async ingest(
    table: string,
    source: Dataset | Table | RecordBatch,
    options: SqlIngestOptions = {},
  ): Promise<number | null> {
    checkOptionNames("ingest", options, INGEST_KEYS);
    const { mode = "create", catalog, dbSchema, temporary = false, options: serverOptions = {}, ...call } = options;
    const command = packMessage(sql.CommandStatementIngestSchema, {
      tableDefinitionOptions: MODES[oneOf("mode", mode, ["create", "append", "replace", "create_append"])],
      table,
      catalog,
      schema: dbSchema,
      temporary,
      transactionId: this._transactionId,
      options: { ...serverOptions },
    });
    const { dataset, isOurs } = await datasetOf(source);
    try {
      return await this._session.change(command, dataset, call);
    } finally {
      if (isOurs) await dataset.close();
    }
  }

  /** The schema of a query's rows as the server prepares it. */
  async #preparedSchema(statement: SqlStatement): Promise<MessageHeader | null> {
    await using prepared = await this.prepare(statement);
    return prepared.resultSchema;
  }

  #queryCommand(statement: SqlStatement): Uint8Array {
    const transactionId = this._transactionId;
    return typeof statement === "string"
      ? packMessage(sql.CommandStatementQuerySchema, { query: statement, transactionId })
      : packMessage(sql.CommandStatementSubstraitPlanSchema, { plan: planOf(statement), transactionId });
  }

  #updateCommand(statement: SqlStatement): Uint8Array {
    return typeof statement === "string"
      ? packMessage(sql.CommandStatementUpdateSchema, { query: statement, transactionId: this._transactionId })
      : this.#queryCommand(statement);
  }
}
