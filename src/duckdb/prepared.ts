/**
 * Statements that DuckDB has prepared.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { DUCKDB_RESULT_BYTES, DUCKDB_TYPE } from "../../ffi/duckdb.ts";
import { Arena } from "../c_data/arena.ts";
import { DipcError } from "../errors.ts";
import { destroyBy, duckDbError, wordAt } from "./library.ts";
import type { NativeConnection } from "./native.ts";
import { type DuckDbColumns, statementColumns } from "./schema.ts";

const ACTION = "execute the query";

/** A statement that was prepared. */
export class Prepared implements Disposable {
  readonly #connection: NativeConnection;
  /** A `duckdb_prepared_statement`. */
  readonly statement: bigint;

  private constructor(connection: NativeConnection, statement: bigint) {
    this.#connection = connection;
    this.statement = statement;
  }

  /** Its `duckdb_statement_type`. */
  get type(): number {
    return this.#connection.library.symbols.duckdb_prepared_statement_type(this.statement);
  }

  get parameterCount(): number {
    return Number(this.#connection.library.symbols.duckdb_nparams(this.statement));
  }

  /**
   * Prepares the last statement of a text, which has no parameters; those before it are executed. Within `run` of the connection.
   *
   * @throws {DipcError} What DuckDB reports; `unsupported` for a statement with parameters
   */
  static create(connection: NativeConnection, sql: string): Promise<Prepared> {
    return Prepared.#extract(connection, sql, async (list, count) => {
      for (let i = 0n;; i++) {
        const prepared = await Prepared.#one(connection, list, i);
        const { parameterCount } = prepared;
        if (i + 1n === count && parameterCount === 0) return prepared;
        using _ = prepared;
        if (parameterCount > 0) {
          throw new DipcError(
            "unsupported",
            `cannot ${ACTION}: it has ${parameterCount} parameters; write their values into the query, or use ADBC, which ` +
              "binds them",
          );
        }
        await prepared.#execute();
      }
    });
  }

  /**
   * Prepares a text that is one statement, which may have parameters. Within `run` of the connection.
   *
   * @throws {DipcError} What DuckDB reports; `invalid_argument` for several statements
   */
  static single(connection: NativeConnection, sql: string): Promise<Prepared> {
    return Prepared.#extract(connection, sql, (list, count) => {
      if (count === 1n) return Prepared.#one(connection, list, 0n);
      throw new DipcError(
        "invalid_argument",
        `cannot ${ACTION}: the text has ${count} statements; send one statement at a time`,
      );
    });
  }

  static async #extract(
    connection: NativeConnection,
    sql: string,
    take: (list: bigint, count: bigint) => Promise<Prepared>,
  ): Promise<Prepared> {
    const { symbols } = connection.library;
    using arena = new Arena();
    const list = arena.zeros(8);
    const count = await symbols.duckdb_extract_statements(connection.handle, arena.text("the query", sql), list);
    try {
      if (count > 0n) return await take(wordAt(list), count);
      const text = cStringAt(symbols.duckdb_extract_statements_error(wordAt(list)));
      throw duckDbError(ACTION, text || "Parser Error: the text has no statement");
    } finally {
      symbols.duckdb_destroy_extracted(list);
    }
  }

  static async #one(connection: NativeConnection, list: bigint, index: bigint): Promise<Prepared> {
    const { symbols } = connection.library;
    using arena = new Arena();
    const out = arena.zeros(8);
    const status = await symbols.duckdb_prepare_extracted_statement(connection.handle, list, index, out);
    const prepared = new Prepared(connection, wordAt(out));
    if (status === 0) return prepared;
    using _ = prepared;
    throw duckDbError(ACTION, cStringAt(symbols.duckdb_prepare_error(prepared.statement)));
  }

  async #execute(): Promise<void> {
    await this.executeWhole(() => {});
  }

  /**
   * Executes it to its end, and drops its rows. Within `run` of the connection.
   *
   * @param look Called with the address of the `duckdb_result`
   * @throws {DipcError} What DuckDB reports
   */
  async executeWhole<T>(look: (result: bigint) => T): Promise<T> {
    const { symbols } = this.#connection.library;
    using arena = new Arena();
    const result = arena.zeros(DUCKDB_RESULT_BYTES);
    const status = await symbols.duckdb_execute_prepared(this.statement, result);
    try {
      if (status !== 0) throw resultError(this.#connection, result);
      return look(result);
    } finally {
      await symbols.duckdb_destroy_result(result);
    }
  }

  /** The columns of its rows; those whose type depends on the parameters are of nulls. */
  get columns(): DuckDbColumns {
    const { library } = this.#connection;
    const columns = statementColumns(library, this.statement);
    return {
      ...columns,
      typeOf(index) {
        const { symbols } = library;
        const type = columns.typeOf(index);
        const id = type === 0n ? DUCKDB_TYPE.invalid : symbols.duckdb_get_type_id(type);
        if (id !== DUCKDB_TYPE.invalid && id !== DUCKDB_TYPE.any) return type;
        destroyBy(symbols.duckdb_destroy_logical_type, type);
        return symbols.duckdb_create_logical_type(DUCKDB_TYPE.sqlNull);
      },
    };
  }

  /** The parameters, in order; those whose type depends on the value are texts. */
  get parameters(): DuckDbColumns {
    const { symbols } = this.#connection.library;
    const { statement, parameterCount: count } = this;
    return {
      count,
      typeOf(index) {
        const type = symbols.duckdb_param_logical_type(statement, BigInt(index + 1));
        if (type !== 0n && !TEXTUAL.has(symbols.duckdb_get_type_id(type))) return type;
        destroyBy(symbols.duckdb_destroy_logical_type, type);
        return symbols.duckdb_create_logical_type(DUCKDB_TYPE.varchar);
      },
      nameOf: (index) => symbols.duckdb_parameter_name(statement, BigInt(index + 1)),
      freeName: (name) => symbols.duckdb_free(name),
    };
  }

  [Symbol.dispose](): void {
    destroyBy(this.#connection.library.symbols.duckdb_destroy_prepare, this.statement);
  }
}

/** Types of parameters whose values are given as texts. */
const TEXTUAL: ReadonlySet<number> = new Set([
  ...[DUCKDB_TYPE.invalid, DUCKDB_TYPE.any, DUCKDB_TYPE.enum, DUCKDB_TYPE.sqlNull],
]);

/** The error of a `duckdb_result`, given by its address. */
export function resultError({ library: { symbols } }: NativeConnection, result: bigint): DipcError {
  return duckDbError(
    ACTION,
    cStringAt(symbols.duckdb_result_error(result)),
    symbols.duckdb_result_error_type(result),
  );
}
