/**
 * Statements of a client that DuckDB has prepared.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { DUCKDB_STATEMENT } from "../../ffi/duckdb.ts";
import type {
  EngineCallOptions,
  EngineExecuteOptions,
  EngineParameters,
  EngineRows,
  EngineStatement,
} from "../flight_sql/engine.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { NativeConnection } from "../duckdb/native.ts";
import { Prepared } from "../duckdb/prepared.ts";
import { NativeResult } from "../duckdb/result.ts";
import {
  arrowSchemaOf,
  changedColumns,
  destroyOptions,
  type DuckDbColumns,
  statementColumns,
} from "../duckdb/schema.ts";
import { DuckDbStream } from "../duckdb/stream.ts";
import { forClient } from "./failure.ts";
import { checkKind, checkText } from "./guard.ts";
import { bindParameters } from "./parameters.ts";

const ACTION = "execute the statement";
/** Only what is executed after this has a progress, and a connection that has it takes longer to be used. Nothing is printed. */
const WATCHED = "set enable_progress_bar_print = false; set enable_progress_bar = true";
/** Kinds of statements whose result is a count, unless they return rows. */
const COUNTING: ReadonlySet<number> = new Set([
  ...[DUCKDB_STATEMENT.insert, DUCKDB_STATEMENT.update, DUCKDB_STATEMENT.delete, DUCKDB_STATEMENT.mergeInto],
]);
const QUERIES: ReadonlySet<number> = new Set([
  ...[DUCKDB_STATEMENT.select, DUCKDB_STATEMENT.explain, DUCKDB_STATEMENT.relation],
]);

/** What holds for a statement. */
export interface StatementOptions extends EngineCallOptions {
  /** Whether nothing may be changed. */
  readonly isReadOnly: boolean;
  /** Gives the connection the place of the statement. Within `run`. */
  usePlace(): Promise<void>;
}

/** A statement. */
export class DuckDbStatement implements EngineStatement {
  readonly schema: MessageHeader | null;
  readonly parameterSchema: MessageHeader;
  readonly isOrdered: boolean;
  readonly #connection: NativeConnection;
  readonly #prepared: Prepared;
  /** DuckDB may look for the names again when it executes. */
  readonly #usePlace: () => Promise<void>;
  #isClosed = false;

  private constructor(
    connection: NativeConnection,
    prepared: Prepared,
    schemas: { schema: MessageHeader | null; parameterSchema: MessageHeader; isOrdered: boolean },
    usePlace: () => Promise<void>,
  ) {
    this.#usePlace = usePlace;
    this.#connection = connection;
    this.#prepared = prepared;
    this.schema = schemas.schema;
    this.parameterSchema = schemas.parameterSchema;
    this.isOrdered = schemas.isOrdered;
  }

  /**
   * Prepares a statement.
   *
   * @throws {DipcError} `permission_denied` if clients may not execute it; what DuckDB reports
   */
  static async prepare(
    connection: NativeConnection,
    sql: string,
    { signal, isReadOnly, usePlace }: StatementOptions,
  ): Promise<DuckDbStatement> {
    checkText(sql, isReadOnly);
    return await connection.run("prepare the statement", signal, async () => {
      await usePlace();
      const prepared = await Prepared.single(connection, sql);
      try {
        checkKind(prepared.type, sql, isReadOnly);
        const schemas = {
          schema: hasRows(connection, prepared) ? await headerOf(connection, prepared.columns) : null,
          parameterSchema: await headerOf(connection, prepared.parameters),
          isOrdered: /\border\s+by\b/i.test(sql),
        };
        return new DuckDbStatement(connection, prepared, schemas, usePlace);
      } catch (error) {
        prepared[Symbol.dispose]();
        throw error;
      }
    });
  }

  async query(parameters: EngineParameters | null, { signal, isWatched }: EngineExecuteOptions): Promise<EngineRows> {
    const stream = await forClient(() =>
      DuckDbStream.open(this.#connection, this, async () => {
        await this.#usePlace();
        if (isWatched) await this.#connection.execute(ACTION, WATCHED);
        bindParameters(this.#connection.library, this.#prepared, parameters);
        return await NativeResult.of(this.#connection, this.#prepared, null);
      }, { signal })
    );
    return {
      schema: stream.schemaHeader,
      next: () => forClient(() => stream.next()),
      close: () => stream.close(),
    };
  }

  async update(parameters: EngineParameters | null, { signal, isWatched }: EngineExecuteOptions): Promise<number> {
    const { symbols } = this.#connection.library;
    return await forClient(() =>
      this.#connection.run(ACTION, signal, async () => {
        await this.#usePlace();
        if (isWatched) await this.#connection.execute(ACTION, WATCHED);
        bindParameters(this.#connection.library, this.#prepared, parameters);
        return await this.#prepared.executeWhole((result) => Number(symbols.duckdb_rows_changed(result)));
      })
    );
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#connection.stream?.close();
    await this.#connection.runLate(() => Promise.resolve(this.#prepared[Symbol.dispose]()));
  }
}

/** Whether it gives rows, rather than their count. */
function hasRows({ library }: NativeConnection, prepared: Prepared): boolean {
  if (QUERIES.has(prepared.type)) return true;
  if (!COUNTING.has(prepared.type)) return false;
  const columns = statementColumns(library, prepared.statement);
  if (columns.count !== 1) return true;
  const name = columns.nameOf(0);
  const isCount = cStringAt(name) === "Count";
  columns.freeName(name);
  return !isCount;
}

async function headerOf(connection: NativeConnection, columns: DuckDbColumns): Promise<MessageHeader> {
  const { library } = connection;
  const options = await connection.arrowOptions(changedColumns(library, columns));
  try {
    return arrowSchemaOf(library, columns, options);
  } finally {
    destroyOptions(library, options);
  }
}
