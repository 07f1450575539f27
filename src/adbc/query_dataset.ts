/**
 * The rows of a query as a dataset, which is executed anew for each run.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { checkOptionNames } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import { QueryDataset } from "../sources/query_dataset.ts";
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
  const schema = await schemaOf(connection, sql, options);
  return new QueryDataset(schema, (signal) => openRun(database, sql, options, signal));
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

/** Executes the query once, on a connection of its own. */
async function openRun(
  database: AdbcDatabase,
  sql: string,
  { connectionOptions, statementOptions }: QueryDatasetOptions,
  signal?: AbortSignal,
): Promise<MessageStream> {
  const connection = await database.connect(connectionOptions);
  try {
    const stream = await connection.query(sql, { options: statementOptions, signal });
    const messages = stream.messages();
    return {
      schema: stream.schemaHeader,
      async next(): Promise<IpcMessage | null> {
        for (;;) {
          const { done, value } = await messages.next();
          if (done) return null;
          if (value.header.kind !== "schema") return value;
        }
      },
      async close(): Promise<void> {
        // A stream that is waited for ends with its connection.
        await connection.close();
        await messages.return(undefined);
      },
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}
