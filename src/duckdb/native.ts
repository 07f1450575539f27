/**
 * DuckDB's own objects: a database and a connection, each destroyed once, after everything that uses it.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { DUCKDB_RESULT_BYTES } from "../../ffi/duckdb.ts";
import { Arena } from "../c_data/arena.ts";
import { scratch } from "../c_data/raw.ts";
import { Turns } from "../c_data/turns.ts";
import { DipcError } from "../errors.ts";
import {
  checkAborted,
  closedError,
  destroyBy,
  destroyLater,
  duckDbError,
  type DuckDbLibrary,
  takeText,
  wordAt,
} from "./library.ts";
import { ScanFunction } from "./scan_function.ts";
import type { ArrowOptions } from "./schema.ts";

/** How long a call that was interrupted may go on before it is interrupted again, in milliseconds. */
const INTERRUPT_AGAIN_MS = 20;

/** Something that is ended before what it uses. */
interface User {
  close(): Promise<void>;
}

/** A stream that queries of a connection can read. */
interface Registration {
  /** What its source has thrown, `null` for nothing. */
  readonly failure: unknown;
  /** Makes a query that is reading it fail. */
  stop(): void;
  /** Ends it after the connection was closed. */
  free(): void;
}

function connectionId({ symbols }: DuckDbLibrary, connection: bigint): bigint {
  const place = scratch(8);
  symbols.duckdb_connection_get_client_context(connection, place.address);
  const id = symbols.duckdb_client_context_get_connection_id(place.words[0]);
  symbols.duckdb_destroy_client_context(place.address);
  return id;
}

/** A `duckdb_database`. */
export class NativeDatabase {
  readonly library: DuckDbLibrary;
  readonly handle: bigint;
  /** Uses of settings that all connections share. */
  readonly settings: Turns = new Turns();
  readonly #users = new Set<User>();
  #function: Promise<ScanFunction> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(library: DuckDbLibrary, handle: bigint) {
    this.library = library;
    this.handle = handle;
  }

  /** @throws {DipcError} What DuckDB reports */
  static async open(
    library: DuckDbLibrary,
    path: string | null,
    config: Readonly<Record<string, string>>,
  ): Promise<NativeDatabase> {
    const { symbols } = library;
    const action = path === null ? "open a database in memory" : `open the database ${path}`;
    using arena = new Arena();
    const settings = arena.zeros(8), out = arena.zeros(8), error = arena.zeros(8);
    symbols.duckdb_create_config(settings);
    try {
      for (const [name, value] of Object.entries(config)) {
        const texts = [arena.text("the name of a setting", name), arena.text(`the setting ${name}`, value)] as const;
        if (symbols.duckdb_set_config(wordAt(settings), ...texts) !== 0) {
          throw duckDbError(action, `Invalid Configuration Error: there is no setting ${name}, or not with this value`);
        }
      }
      const place = arena.optionalText("the path of the database", path);
      const status = await symbols.duckdb_open_ext(place, out, wordAt(settings), error);
      if (status !== 0) throw duckDbError(action, takeText(library, wordAt(error)));
      return new NativeDatabase(library, wordAt(out));
    } finally {
      symbols.duckdb_destroy_config(settings);
    }
  }

  get isClosed(): boolean {
    return this.#closing !== null;
  }

  hold(user: User): void {
    this.#users.add(user);
  }

  drop(user: User): void {
    this.#users.delete(user);
  }

  /** The function that reads streams, registered when it is first needed. @param connection A `duckdb_connection` */
  scanFunction(connection: bigint): Promise<ScanFunction> {
    return this.#function ??= ScanFunction.register(this.library, connection);
  }

  /** Closes its connections, and then itself. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#users].map((user) => user.close()));
    await destroyLater(this.library.symbols.duckdb_close, this.handle);
    (await this.#function?.catch(() => null))?.free();
  }
}

/** A `duckdb_connection`. Its calls take turns. */
export class NativeConnection {
  readonly library: DuckDbLibrary;
  readonly database: NativeDatabase;
  readonly handle: bigint;
  /** The stream that is open: another call would end it. */
  stream: User | null = null;
  /** Streams that its queries can read. */
  readonly registrations: Set<Registration> = new Set();
  /** DuckDB's number of it. */
  readonly id: bigint;
  readonly #turns = new Turns();
  #isRunning = false;
  #interrupting: ReturnType<typeof setInterval> | undefined = undefined;
  #closing: Promise<void> | null = null;

  private constructor(database: NativeDatabase, handle: bigint) {
    this.library = database.library;
    this.database = database;
    this.handle = handle;
    this.id = connectionId(this.library, handle);
    database.hold(this);
  }

  /** @throws {DipcError} What DuckDB reports; `closed` */
  static async open(database: NativeDatabase): Promise<NativeConnection> {
    const action = "connect to the database";
    if (database.isClosed) throw closedError(action, "database");
    const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
    // The database is not destroyed while another thread connects to it.
    const opening: User = { close: () => settled };
    database.hold(opening);
    try {
      using arena = new Arena();
      const out = arena.zeros(8);
      const status = await database.library.symbols.duckdb_connect(database.handle, out);
      if (status !== 0) throw duckDbError(action, null);
      const connection = new NativeConnection(database, wordAt(out));
      if (!database.isClosed) return connection;
      await connection.close();
      throw closedError(action, "database");
    } finally {
      database.drop(opening);
      settle();
    }
  }

  get isClosed(): boolean {
    return this.#closing !== null;
  }

  /** @throws {DipcError} `closed` */
  checkOpen(action: string): void {
    if (this.#closing !== null) throw closedError(action, "connection");
  }

  /**
   * Runs a call when no other runs and no stream is open. An abort of the signal interrupts it.
   *
   * @throws {DipcError} `closed`, `busy`, `cancelled`; what the call throws
   */
  async run<T>(action: string, signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    this.#checkFree(action);
    return await this.#turns.run(async () => {
      this.#checkFree(action);
      checkAborted(action, signal);
      return await this.#interruptible(signal, call);
    });
  }

  /** @throws {DipcError} `closed`, `busy` */
  #checkFree(action: string): void {
    this.checkOpen(action);
    if (this.stream === null) return;
    throw new DipcError(
      "busy",
      `cannot ${action}: a stream of this connection is open, which it would end; read it to its end, close it, or use another ` +
        "connection",
    );
  }

  /** Runs a call of a stream, which may also come when the connection is being closed. */
  runLate<T>(call: () => Promise<T>): Promise<T> {
    return this.#turns.run(() => this.#interruptible(undefined, call));
  }

  async #interruptible<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    const onAbort = (): void => this.interrupt();
    signal?.addEventListener("abort", onAbort);
    this.#isRunning = true;
    try {
      return await call();
    } catch (error) {
      throw this.#errorOf(error);
    } finally {
      this.#isRunning = false;
      clearInterval(this.#interrupting);
      this.#interrupting = undefined;
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Makes the call that is under way end with an error. Does nothing without one. */
  interrupt(): void {
    this.stopSources();
    if (!this.#isRunning || this.#interrupting !== undefined) return;
    const interrupt = (): void => this.library.symbols.duckdb_interrupt(this.handle);
    // DuckDB forgets it if the call has not begun on its thread yet.
    this.#interrupting = setInterval(interrupt, INTERRUPT_AGAIN_MS);
    interrupt();
  }

  /** The error of a query: DuckDB has only the text of what the source of a stream has thrown. */
  #errorOf(error: unknown): unknown {
    if (!(error instanceof DipcError) || error.foreign?.system !== "duckdb") return error;
    for (const { failure } of this.registrations) {
      if (failure instanceof DipcError && error.foreign.text.includes(failure.message.slice(0, 40))) return failure;
    }
    return error;
  }

  /** Makes queries fail that wait for a stream: DuckDB's threads cannot be interrupted then. */
  stopSources(): void {
    for (const registration of this.registrations) registration.stop();
  }

  /**
   * Executes statements and drops their rows. Within {@linkcode run}.
   *
   * @param count Which rows of the last one are counted
   * @returns Rows that the last one has changed, or has
   * @throws {DipcError} What DuckDB reports
   */
  async execute(action: string, sql: string, count: "changed" | "rows" = "changed"): Promise<number> {
    const { symbols } = this.library;
    using arena = new Arena();
    const result = arena.zeros(DUCKDB_RESULT_BYTES);
    const status = await symbols.duckdb_query(this.handle, arena.text("the query", sql), result);
    try {
      if (status === 0) {
        return Number(count === "rows" ? symbols.duckdb_row_count(result) : symbols.duckdb_rows_changed(result));
      }
      const type = symbols.duckdb_result_error_type(result);
      throw duckDbError(action, cStringAt(symbols.duckdb_result_error(result)), type);
    } finally {
      await symbols.duckdb_destroy_result(result);
    }
  }

  /** How values are converted to Arrow now. Within {@linkcode run}, and without an open stream. */
  async arrowOptions(losslessColumns: readonly number[]): Promise<ArrowOptions> {
    return await this.database.settings.run(async () => {
      const usual = this.#currentOptions();
      if (losslessColumns.length === 0) return { usual, lossless: 0n, losslessColumns };
      const action = "read DuckDB's settings for Arrow";
      try {
        // The user may have set it.
        const isSet = await this.execute(action, "select 1 where current_setting('arrow_lossless_conversion')", "rows");
        await this.execute(action, "set arrow_lossless_conversion = true");
        const lossless = this.#currentOptions();
        if (isSet === 0) await this.execute(action, "set arrow_lossless_conversion = false");
        return { usual, lossless, losslessColumns };
      } catch (error) {
        destroyBy(this.library.symbols.duckdb_destroy_arrow_options, usual);
        throw error;
      }
    });
  }

  #currentOptions(): bigint {
    const place = scratch(8);
    place.words[0] = 0n;
    this.library.symbols.duckdb_connection_get_arrow_options(this.handle, place.address);
    return place.words[0];
  }

  /** Interrupts the call that is under way, ends the stream that is open, and disconnects. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.interrupt();
    await this.stream?.close();
    // The call that was under way may have opened one.
    await this.#turns.run(() => {});
    await this.stream?.close();
    await this.#turns.run(async () => {
      await destroyLater(this.library.symbols.duckdb_disconnect, this.handle);
      for (const registration of this.registrations) registration.free();
    });
    this.database.drop(this);
  }
}
