/**
 * The rows of a query as a dataset, which is executed anew for each run.
 *
 * @module
 */
import { checkOptionNames } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import { QueryDataset } from "../sources/query_dataset.ts";
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
  const schema = await connection.schemaOf(sql);
  return new QueryDataset(schema, (signal) => openRun(database, sql, { ...options, signal }));
}

/** Executes the query once, on a connection of its own. */
async function openRun(
  database: DuckDbDatabase,
  sql: string,
  options: DuckDbQueryOptions,
): Promise<MessageStream> {
  const connection = await database.connect();
  try {
    const stream = await connection.query(sql, options);
    return {
      schema: stream.schemaHeader,
      next: () => stream.next(),
      close: async () => {
        await stream.close();
        await connection.close();
      },
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}
