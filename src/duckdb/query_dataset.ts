/**
 * The rows of a query as a dataset, which is executed anew for each run.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { checkOptionNames } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import type { DuckDbDatabase } from "./database.ts";
import { batchSize, type DuckDbQueryOptions } from "./stream.ts";

/** Options of {@linkcode fromDuckDb}. */
export type DuckDbDatasetOptions = Omit<DuckDbQueryOptions, "signal">;

const KEYS: Record<keyof DuckDbDatasetOptions, true> = { batchRows: true, batchBytes: true };

/**
 * Makes a dataset of a query, for `serve`. Each run has a connection of its own and executes the query, so that every client gets
 * what the database has by then.
 *
 * @example Usage
 * ```ts ignore
 * import { fromDuckDb, openDuckDb } from "@arrow-ucx/dipc/duckdb";
 * import { serve } from "@arrow-ucx/dipc";
 *
 * await using database = await openDuckDb();
 * await using server = await serve({ datasets: { numbers: await fromDuckDb(database, "from range(10)") } });
 * ```
 *
 * @param database The database, which stays open; it must outlive the dataset
 * @param sql The query
 * @param options Size of the batches
 * @throws {DipcError} What DuckDB reports about the query, whose schema is read at once; `closed`
 */
export async function fromDuckDb(
  database: DuckDbDatabase,
  sql: string,
  options: DuckDbDatasetOptions = {},
): Promise<Dataset> {
  checkOptionNames("fromDuckDb", options, KEYS);
  batchSize(options);
  await using connection = await database.connect();
  return new DuckDbDataset(database, sql, options, await connection.schemaOf(sql));
}

class DuckDbDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = false;
  readonly hasFreeBatches = true;
  readonly #database: DuckDbDatabase;
  readonly #sql: string;
  readonly #options: DuckDbDatasetOptions;
  readonly #runs = new Set<MessageStream>();
  #isClosed = false;

  constructor(database: DuckDbDatabase, sql: string, options: DuckDbDatasetOptions, schema: MessageHeader) {
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
    const connection = await this.#database.connect();
    try {
      const stream = await connection.query(this.#sql, { ...this.#options, signal });
      const run: MessageStream = {
        schema: stream.schemaHeader,
        next: () => stream.next(),
        close: async () => {
          this.#runs.delete(run);
          await stream.close();
          await connection.close();
        },
      };
      this.#runs.add(run);
      if (this.#isClosed) await run.close();
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
