/**
 * The rows of a query as a dataset, which is executed anew for each run.
 *
 * @module
 */
import type { ForeignStream } from "../c_data/foreign_stream.ts";
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { checkOptionNames } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import type { AdbcConnection } from "./connection.ts";
import type { AdbcDatabase } from "./database.ts";
import type { AdbcOptions } from "./options.ts";

/** Options of {@linkcode fromQuery}. */
export interface QueryDatasetOptions {
  /** Options of each connection. */
  connectionOptions?: AdbcOptions;
  /** Options of each statement. */
  statementOptions?: AdbcOptions;
}

/**
 * Makes a dataset of a query, for `serve`. Each run opens a connection of its own and executes the query, so that every client gets
 * what the database has by then.
 *
 * @example Usage
 * ```ts
 * import { fromQuery, openDatabase } from "@arrow-ucx/dipc/adbc";
 * import { connect, serve } from "@arrow-ucx/dipc";
 *
 * await using database = await openDatabase("adbc_driver_sqlite", { uri: ":memory:" });
 * await using server = await serve({ datasets: { one: await fromQuery(database, "select 1 as one") } });
 * const table = await (await connect(server.datasets[0].uris[0])).toTable();
 * console.log(table.numRows);
 * ```
 *
 * @param database The database, which stays open; it must outlive the dataset
 * @param sql The query
 * @param options Options of connections and statements
 * @throws {DipcError} What the driver reports about the query, whose schema is read at once; `closed`
 */
export async function fromQuery(
  database: AdbcDatabase,
  sql: string,
  options: QueryDatasetOptions = {},
): Promise<Dataset> {
  checkOptionNames("fromQuery", options, QUERY_KEYS);
  await using connection = await database.connect(options.connectionOptions);
  return new QueryDataset(database, sql, options, await schemaOf(connection, sql, options));
}

const QUERY_KEYS: Record<keyof QueryDatasetOptions, true> = { connectionOptions: true, statementOptions: true };

/** The schema of the result; drivers that cannot tell it execute the query, the rest of which is cancelled. */
async function schemaOf(
  connection: AdbcConnection,
  sql: string,
  { statementOptions }: QueryDatasetOptions,
): Promise<MessageHeader> {
  await using statement = await connection.createStatement(statementOptions);
  await statement.setSqlQuery(sql);
  try {
    return (await statement.executeSchema()).schemaHeader;
  } catch (error) {
    if (!(error instanceof DipcError) || error.code !== "unsupported") throw error;
  }
  await using stream = await statement.query();
  return stream.schemaHeader;
}

class QueryDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = false;
  readonly hasFreeBatches = true;
  readonly #database: AdbcDatabase;
  readonly #sql: string;
  readonly #options: QueryDatasetOptions;
  readonly #runs = new Set<QueryRun>();
  #isClosed = false;

  constructor(database: AdbcDatabase, sql: string, options: QueryDatasetOptions, schema: MessageHeader) {
    this.#database = database;
    this.#sql = sql;
    this.#options = options;
    this.schema = schema;
  }

  async open({ signal, isPart = false }: { signal?: AbortSignal; isPart?: boolean } = {}): Promise<MessageStream> {
    if (isPart) {
      throw new DipcError(
        "unsupported",
        "cannot read metadata and bodies of a query apart: each is a run of its own, and the rows may change between " +
          "them; serve it without metadataPort",
      );
    }
    this.#checkOpen();
    const connection = await this.#database.connect(this.#options.connectionOptions);
    try {
      const { statementOptions: options } = this.#options;
      const stream = await connection.query(this.#sql, { options, signal });
      const run = new QueryRun(connection, stream, () => this.#runs.delete(run));
      this.#runs.add(run);
      this.#checkOpen();
      return run;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#runs].map((run) => run.close()));
  }

  #checkOpen(): void {
    if (this.#isClosed) {
      throw new DipcError("closed", "cannot read the query: its dataset was closed; make another one");
    }
  }
}

/** One execution. */
class QueryRun implements MessageStream {
  readonly schema: MessageHeader;
  readonly #connection: AdbcConnection;
  readonly #messages: AsyncGenerator<IpcMessage, undefined>;
  readonly #onClose: () => void;
  #closing: Promise<void> | null = null;

  constructor(connection: AdbcConnection, stream: ForeignStream, onClose: () => void) {
    this.schema = stream.schemaHeader;
    this.#connection = connection;
    this.#messages = stream.messages();
    this.#onClose = onClose;
  }

  async next(): Promise<IpcMessage | null> {
    for (;;) {
      const { done, value } = await this.#messages.next();
      if (done) return null;
      if (value.header.kind !== "schema") return value;
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#onClose();
    // A stream that is waited for ends with its connection.
    await this.#connection.close();
    await this.#messages.return(undefined);
  }
}
