/**
 * The result of one query, from which DuckDB's chunks of rows are fetched, and all that belongs to it.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { DUCKDB_RESULT_BYTES } from "../../ffi/duckdb.ts";
import { Arena } from "../c_data/arena.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { FieldLayout } from "../ipc/layout.ts";
import { destroyBy, type DuckDbLibrary } from "./library.ts";
import type { NativeConnection } from "./native.ts";
import { Prepared, resultError } from "./prepared.ts";
import {
  type ArrowOptions,
  arrowSchemaOf,
  changedColumns,
  destroyOptions,
  resultColumns,
  statementColumns,
} from "./schema.ts";

/**
 * The schema of the result of a query, which is not executed; statements before it in the same text are.
 *
 * @throws {DipcError} What DuckDB reports; `unsupported` for a type that it does not convert to Arrow
 */
export async function schemaOfQuery(connection: NativeConnection, sql: string): Promise<VerifiedHeader> {
  using prepared = await Prepared.create(connection, sql);
  const { library } = connection;
  const columns = statementColumns(library, prepared.statement);
  const options = await connection.arrowOptions(changedColumns(library, columns));
  try {
    return arrowSchemaOf(library, columns, options);
  } finally {
    destroyOptions(library, options);
  }
}

/** A column that a query gives. */
export interface QueryColumn {
  /** Number of its type. */
  readonly id: number;
  /** What DuckDB makes of it in Arrow. */
  readonly arrow: FieldLayout;
}

/** The columns of the result of a query, which is not executed. As {@linkcode schemaOfQuery}. */
export async function columnsOfQuery(connection: NativeConnection, sql: string): Promise<QueryColumn[]> {
  using prepared = await Prepared.create(connection, sql);
  const { library } = connection;
  const columns = statementColumns(library, prepared.statement);
  const options = await connection.arrowOptions(changedColumns(library, columns));
  try {
    const { layout } = arrowSchemaOf(library, columns, options);
    return layout!.fields.map((arrow, column) => ({ id: typeId(library, columns.typeOf(column)), arrow }));
  } finally {
    destroyOptions(library, options);
  }
}

/** The number of a type, which is destroyed. */
function typeId({ symbols }: DuckDbLibrary, type: bigint): number {
  const id = symbols.duckdb_get_type_id(type);
  destroyBy(symbols.duckdb_destroy_logical_type, type);
  return id;
}

/** What belongs to a result natively. Known to the finalizer of the stream that reads it. */
export class NativeResult {
  readonly connection: NativeConnection;
  readonly schema: VerifiedHeader;
  readonly options: ArrowOptions;
  readonly #prepared: Prepared | null;
  readonly #arena: Arena;
  readonly #result: bigint;
  /** The structure, to give it by value. It is where it was made, because memory of JavaScript goes with the isolate. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The first chunk of rows until it is taken, 0 for none. */
  #first = 0n;
  #hasEnded = false;

  private constructor(
    connection: NativeConnection,
    prepared: Prepared | null,
    arena: Arena,
    result: bigint,
    options: ArrowOptions,
  ) {
    this.connection = connection;
    this.#prepared = prepared;
    this.#arena = arena;
    this.#result = result;
    this.options = options;
    const { library } = connection;
    this.schema = arrowSchemaOf(library, resultColumns(library, result), options);
    const pointer = Deno.UnsafePointer.create(result)!;
    this.bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, DUCKDB_RESULT_BYTES) as ArrayBuffer);
  }

  /**
   * Executes a query, as far as its first rows. Within `run` of the connection.
   *
   * @throws {DipcError} What DuckDB reports; `unsupported` for a type that it does not convert to Arrow
   */
  static async execute(connection: NativeConnection, sql: string): Promise<NativeResult> {
    const prepared = await Prepared.create(connection, sql);
    try {
      return await NativeResult.of(connection, prepared, prepared);
    } catch (error) {
      prepared[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Executes a statement whose parameters are bound. As {@linkcode execute}.
   *
   * @param prepared The statement
   * @param owned The same if it is disposed of with the result
   */
  static async of(connection: NativeConnection, prepared: Prepared, owned: Prepared | null): Promise<NativeResult> {
    const { library } = connection;
    const { symbols } = library;
    const arena = new Arena();
    let options: ArrowOptions | null = null;
    const result = arena.zeros(DUCKDB_RESULT_BYTES);
    let native: NativeResult;
    try {
      // A setting cannot be changed while a result is streamed.
      options = await connection.arrowOptions(changedColumns(library, statementColumns(library, prepared.statement)));
      const status = await symbols.duckdb_execute_prepared_streaming(prepared.statement, result);
      if (status !== 0) throw resultError(connection, result);
      native = new NativeResult(connection, owned, arena, result, options);
    } catch (error) {
      connection.interrupt();
      await symbols.duckdb_destroy_result(result);
      if (options !== null) destroyOptions(library, options);
      arena[Symbol.dispose]();
      throw error;
    }
    try {
      // DuckDB 1.5 waits for the first rows, 2.0 only begins the query.
      do native.#first = await native.fetch(); while (native.#dropsEmpty());
      return native;
    } catch (error) {
      await native.#destroy(null);
      throw error;
    }
  }

  /** Destroys the first chunk if it has no rows. @returns whether it had none */
  #dropsEmpty(): boolean {
    const { symbols } = this.connection.library;
    if (this.#first === 0n || symbols.duckdb_data_chunk_get_size(this.#first) !== 0n) return false;
    destroyBy(symbols.duckdb_destroy_data_chunk, this.takeFirst());
    return true;
  }

  /** Whether no rows follow but those of the first chunk, if that was not taken. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Takes the first chunk, which the caller destroys. @returns A `duckdb_data_chunk`; 0 if there is none, or it was taken */
  takeFirst(): bigint {
    const first = this.#first;
    this.#first = 0n;
    return first;
  }

  /**
   * The next chunk of rows. Within a call of the connection.
   *
   * @returns A `duckdb_data_chunk`, which the caller destroys; 0 at the end
   * @throws {DipcError} What DuckDB reports
   */
  async fetch(): Promise<bigint> {
    const first = this.takeFirst();
    if (first !== 0n || this.#hasEnded) return first;
    const chunk = await this.connection.library.symbols.duckdb_fetch_chunk(this.bytes);
    if (chunk === 0n) this.checkEnd();
    return chunk;
  }

  /** At the end of the rows: throws if it is an error. @throws {DipcError} What DuckDB reports */
  checkEnd(): void {
    this.#hasEnded = true;
    const { symbols } = this.connection.library;
    if (cStringAt(symbols.duckdb_result_error(this.#result))) throw resultError(this.connection, this.#result);
  }

  /** The numbers of the types of the columns. */
  typeIds(): number[] {
    const { library } = this.connection;
    const columns = resultColumns(library, this.#result);
    return Array.from({ length: columns.count }, (_, column) => typeId(library, columns.typeOf(column)));
  }

  /** Destroys everything, and ends the query. Called once, within a call of the connection. */
  async destroy(): Promise<void> {
    await this.#destroy(this.#prepared);
  }

  async #destroy(prepared: Prepared | null): Promise<void> {
    const { library } = this.connection;
    destroyBy(library.symbols.duckdb_destroy_data_chunk, this.takeFirst());
    // DuckDB 2.0 waits for its threads, and they would execute the query to its end.
    if (!this.#hasEnded) this.connection.interrupt();
    await library.symbols.duckdb_destroy_result(this.#result);
    destroyOptions(library, this.options);
    prepared?.[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }
}
