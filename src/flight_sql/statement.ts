/**
 * Prepared statements.
 *
 * @module
 */
import { arrowSchema } from "../ipc/arrow_schema.ts";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";
import type { FlightInfo } from "../flight/model.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { VerifiedHeader } from "../ipc/header.ts";
import type { DissociatedStreamReader } from "../reader.ts";
import { runAction } from "./action_call.ts";
import { SQL_ACTIONS } from "./actions.ts";
import { packMessage, readAnswer } from "./any.ts";
import * as sql from "./gen/flight_sql_pb.ts";
import type { SqlCallOptions, SqlExecuteOptions, SqlQueryOptions, SqlStatement } from "./options.ts";
import { datasetOfParameters, type SqlParameters } from "./parameters.ts";
import { planOf } from "./plan.ts";
import type { SqlSession } from "./session.ts";
import { isUnimplemented } from "./unimplemented.ts";

/**
 * A prepared statement. Made by `prepare`.
 *
 * It may be executed many times, with other parameters; executions begin one after another. Close it after its last result
 * has been read: servers may need it until then.
 */
export class FlightSqlStatement implements AsyncDisposable {
  readonly #session: SqlSession;
  #handle: Uint8Array;
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Schema of the rows that it gives; `null` if it gives none, or the server does not know yet. */
  readonly resultSchema: MessageHeader | null;
  /** Schema of its parameters, one column for each; `null` if the server does not say. */
  readonly parameterSchema: MessageHeader | null;
  /** Whether it changes rows, and is for `update`; `null` if the server does not say. */
  readonly isUpdate: boolean | null;

  /** @ignore Use `prepare`. */
  constructor(session: SqlSession, prepared: sql.ActionCreatePreparedStatementResult) {
    this.#session = session;
    this.#handle = prepared.preparedStatementHandle;
    this.resultSchema = schemaOf(prepared.datasetSchema);
    this.parameterSchema = schemaOf(prepared.parameterSchema);
    this.isUpdate = prepared.isUpdate ?? null;
  }

  /**
   * Executes it and reads its rows.
   *
   * @param options Parameters, progress, cancellation
   * @throws {DipcError} As `query` of the client; `invalid_argument` for parameters that do not fit
   */
  async query(options: SqlQueryOptions = {}): Promise<DissociatedStreamReader> {
    const startedMs = performance.now();
    return await this.#session.open(await this.execute(options), options, { startedMs, schema: this.#schema });
  }

  /** @ignore As `query`, and closes the statement when the result is over. */
  async _queryThenClose(options: SqlQueryOptions, startedMs: number): Promise<DissociatedStreamReader> {
    const close = (): Promise<void> => this.close().catch(() => {});
    return await this.#session.open(await this.execute(options), options, { startedMs, schema: this.#schema, close });
  }

  /**
   * Executes it without reading its rows.
   *
   * @param options Parameters, progress, cancellation
   * @returns The endpoints of its result, for `read` of the client
   * @throws {DipcError} As `query`
   */
  async execute(options: SqlQueryOptions = {}): Promise<FlightInfo> {
    const { parameters, ...others } = options;
    // What is bound stays bound to the handle: another execution must not come between.
    return await this.#inTurn(async () => {
      if (parameters !== undefined) await this.#bind(parameters, options);
      return await this.#session.info(this.#queryCommand(), others);
    });
  }

  /**
   * The schema of its rows, from the server.
   *
   * @param options Cancellation
   * @throws {DipcError} As `query`
   */
  async querySchema(options: SqlCallOptions = {}): Promise<MessageHeader> {
    return readEncapsulatedSchema(await this.#session.flight.getSchema({ command: this.#queryCommand() }, options));
  }

  /**
   * Executes it, once for each row of its parameters, if it changes rows or gives none.
   *
   * @param options Parameters, cancellation
   * @returns Rows that were changed, `null` if the server does not say
   * @throws {DipcError} As `query`
   */
  async update(options: SqlExecuteOptions = {}): Promise<number | null> {
    const preparedStatementHandle = this.#handle;
    const command = packMessage(sql.CommandPreparedStatementUpdateSchema, { preparedStatementHandle });
    if (options.parameters === undefined) return await this.#session.change(command, null, options);
    const { dataset, isOurs } = await this.#datasetOf(options.parameters);
    try {
      return await this.#inTurn(() => this.#session.change(command, dataset, options));
    } finally {
      if (isOurs) await dataset.close();
    }
  }

  /** Closes it at the server. Idempotent. @throws {DipcError} What the server answers */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const request = { preparedStatementHandle: this.#handle };
    await runAction(this.#session.flight, SQL_ACTIONS.closePreparedStatement, request).catch((error) => {
      if (!isUnimplemented(error)) throw error;
    });
  }

  /** As {@linkcode close}, but what the server answers does not count. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  #schema = (): Promise<MessageHeader | null> => Promise.resolve(this.resultSchema);

  #queryCommand(): Uint8Array {
    return packMessage(sql.CommandPreparedStatementQuerySchema, { preparedStatementHandle: this.#handle });
  }

  #datasetOf(parameters: SqlParameters): ReturnType<typeof datasetOfParameters> {
    const { parameterSchema } = this;
    const expected = parameterSchema instanceof VerifiedHeader ? arrowSchema(parameterSchema.layout) : null;
    return datasetOfParameters(parameters, expected);
  }

  async #bind(parameters: SqlParameters, options: SqlCallOptions): Promise<void> {
    const { dataset, isOurs } = await this.#datasetOf(parameters);
    try {
      const answers = await this.#session.put(this.#queryCommand(), dataset, options);
      const peer = this.#session.flight.location.uri;
      // Servers that keep no state put the parameters into a new handle; older ones answer with nothing.
      const answer = answers.length === 0 ? null : readAnswer(sql.DoPutPreparedStatementResultSchema, answers[0], peer);
      this.#handle = answer?.preparedStatementHandle ?? this.#handle;
    } finally {
      if (isOurs) await dataset.close();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/**
 * Prepares a statement or a plan.
 *
 * @param session The server
 * @param statement The statement
 * @param transactionId Its transaction, if there is one
 * @param options Cancellation
 */
export async function prepareStatement(
  session: SqlSession,
  statement: SqlStatement,
  transactionId: Uint8Array | undefined,
  { signal, timeoutMs }: SqlCallOptions,
): Promise<FlightSqlStatement> {
  const call = { signal, timeoutMs };
  const prepared = typeof statement === "string"
    ? await runAction(session.flight, SQL_ACTIONS.createPreparedStatement, { query: statement, transactionId }, call)
    : await runAction(
      session.flight,
      SQL_ACTIONS.createPreparedSubstraitPlan,
      { plan: planOf(statement), transactionId },
      call,
    );
  return new FlightSqlStatement(session, prepared);
}

function schemaOf(bytes: Uint8Array): MessageHeader | null {
  return bytes.byteLength === 0 ? null : readEncapsulatedSchema(bytes);
}
