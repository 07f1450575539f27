/**
 * Our side of the results of ADBC, in our client's process.
 *
 * @module
 */
import { type AdbcConnection, type AdbcDatabase, openDatabase } from "../adbc.ts";

let open: { database: AdbcDatabase; connection: AdbcConnection } | null = null;

/**
 * Executes a query, and reads all batches.
 *
 * @returns Seconds from the execution to the last batch, and the rows
 */
export async function readQuery(
  driver: string,
  uri: string,
  sql: string,
): Promise<{ readonly seconds: number; readonly rows: number }> {
  if (open === null) {
    const database = await openDatabase(driver, { uri });
    open = { database, connection: await database.connect() };
  }
  const start = performance.now();
  let rows = 0;
  for await (using batch of await open.connection.query(sql)) rows += batch.numRows;
  return { seconds: (performance.now() - start) / 1000, rows };
}

/** Closes the connection. */
export async function closeDatabase(): Promise<void> {
  await open?.database.close();
  open = null;
}
