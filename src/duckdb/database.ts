/**
 * Databases of DuckDB and connections to them.
 *
 * @module
 */
import { checkOptionNames } from "../options.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { StreamSource } from "../c_data/export_source.ts";
import { DuckDbRegistration } from "./registration.ts";
import { duckDbLibrary } from "./library.ts";
import { NativeConnection, NativeDatabase } from "./native.ts";
import { NativeResult, schemaOfQuery } from "./result.ts";
import { type DuckDbQueryOptions, DuckDbStream } from "./stream.ts";

/** Options of {@linkcode openDuckDb}. */
export interface DuckDbOptions {
  /** DuckDB's own settings, such as `{ access_mode: "READ_ONLY", threads: "2", memory_limit: "1GB" }`. */
  config?: Readonly<Record<string, string>>;
  /**
   * Path of `libduckdb.so`.
   *
   * @default That of `DIPC_LIBDUCKDB`, else the copy that `dipc setup duckdb` has made
   */
  library?: string;
}

const OPEN_KEYS: Record<keyof DuckDbOptions, true> = { config: true, library: true };
const QUERY_KEYS: Record<keyof DuckDbQueryOptions, true> = { batchRows: true, batchBytes: true, signal: true };
const EXECUTE_KEYS: Record<"signal", true> = { signal: true };

/** Closes databases and connections that were dropped without being closed. */
const dropped = new FinalizationRegistry<NativeDatabase | NativeConnection>((native) => void native.close());

/**
 * Opens a database of DuckDB, in this process. DuckDB is loaded when this is first called.
 *
 * @example Usage
 * ```ts ignore
 * import { openDuckDb } from "@arrow-ucx/dipc/duckdb";
 *
 * await using database = await openDuckDb();
 * await using connection = await database.connect();
 * for await (using batch of await connection.query("from range(10)")) console.log(batch.numRows);
 * ```
 *
 * @param path Path of its file, which is created if it is not there; default: a database in memory
 * @param options Settings, and which library
 * @throws {DipcError} `library_not_found` with what to do; what DuckDB reports; `permission_denied`
 */
export async function openDuckDb(path?: string, options: DuckDbOptions = {}): Promise<DuckDbDatabase> {
  checkOptionNames("openDuckDb", options, OPEN_KEYS);
  const library = duckDbLibrary(options.library);
  return new DuckDbDatabase(await NativeDatabase.open(library, path ?? null, options.config ?? {}));
}

/** A database. Connections to it may be used concurrently; they are closed with it. */
export class DuckDbDatabase implements AsyncDisposable {
  readonly #native: NativeDatabase;

  /** @ignore Use {@linkcode openDuckDb}. */
  constructor(native: NativeDatabase) {
    this.#native = native;
    dropped.register(this, native, this);
  }

  /** Version of DuckDB, such as `"v1.5.6"`. */
  get version(): string {
    return this.#native.library.version;
  }

  /** Path of the library. */
  get library(): string {
    return this.#native.library.path;
  }

  /** Opens a connection. @throws {DipcError} `closed`; what DuckDB reports */
  async connect(): Promise<DuckDbConnection> {
    return new DuckDbConnection(await NativeConnection.open(this.#native), this);
  }

  /** Closes the database, after its connections. Idempotent. */
  close(): Promise<void> {
    dropped.unregister(this);
    return this.#native.close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * A connection. Its calls run one after another, on other threads; while a stream of it is open, nothing else can be executed on it.
 */
export class DuckDbConnection implements AsyncDisposable {
  readonly #native: NativeConnection;
  /** Kept: a database that nobody refers to is closed. */
  #database: DuckDbDatabase | null;

  /** @ignore Use `connect` of a database. */
  constructor(native: NativeConnection, database: DuckDbDatabase) {
    this.#native = native;
    this.#database = database;
    dropped.register(this, native, this);
  }

  /**
   * Executes a query, and gives its rows as they are computed. Of several statements, the rows of the last one.
   *
   * @param sql The query
   * @param options Size of the batches, cancellation
   * @returns The rows; dispose the stream unless it is read to its end
   * @throws {DipcError} What DuckDB reports; `busy` while another stream of the connection is open; `cancelled`, `closed`
   */
  async query(sql: string, options: DuckDbQueryOptions = {}): Promise<DuckDbStream> {
    checkOptionNames("query", options, QUERY_KEYS);
    return await DuckDbStream.open(this.#native, this, () => NativeResult.execute(this.#native, sql), options);
  }

  /**
   * Executes statements, and drops the rows of those that have some.
   *
   * @param sql The statements
   * @param options Cancels them
   * @returns Rows that the last one has changed
   * @throws {DipcError} As {@linkcode query}
   */
  async execute(sql: string, options: Pick<DuckDbQueryOptions, "signal"> = {}): Promise<number> {
    checkOptionNames("execute", options, EXECUTE_KEYS);
    const action = "execute the statement";
    return await this.#native.run(action, options.signal, () => this.#native.execute(action, sql));
  }

  /**
   * Makes a stream readable by queries of this connection, as a temporary view. DuckDB reads it as it executes the query, without
   * copying more than a few batches: memory stays bounded. It can be read once; to read it more often, write it into a table.
   *
   * @example Usage
   * ```ts ignore
   * await using reader = await connect(uri);
   * await using _ = await connection.registerStream("t", reader);
   * for await (using batch of await connection.query("select city, sum(fare) from t group by city")) …
   * ```
   *
   * @param name Name of the view
   * @param source A table, batches, a reader such as that of `connect`, or a dataset
   * @returns The registration; closing it drops the view
   * @throws {DipcError} `unsupported`, naming the column, for a type that DuckDB does not have; `busy` while a stream of the
   * connection is open; `limit_exceeded`; what the source throws. Its later errors are those of the query
   */
  async registerStream(name: string, source: StreamSource): Promise<DuckDbRegistration> {
    const action = "register the stream";
    return await this.#native.run(action, undefined, () => DuckDbRegistration.create(this.#native, name, source));
  }

  /**
   * The schema of the result of a query, which is not executed; statements before it in the same text are.
   *
   * @param sql The query
   * @throws {DipcError} As {@linkcode query}
   */
  async schemaOf(sql: string): Promise<MessageHeader> {
    const action = "read the schema of the query";
    return await this.#native.run(action, undefined, () => schemaOfQuery(this.#native, sql));
  }

  /** Ends the streams of the connection and closes it. Idempotent. */
  close(): Promise<void> {
    dropped.unregister(this);
    this.#database = null;
    return this.#native.close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
