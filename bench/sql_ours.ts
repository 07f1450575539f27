/**
 * Our side of Flight SQL: a client's queries, in our client's process, and a server on DuckDB in our server's.
 *
 * @module
 */
import { type DuckDbEngine, duckDbEngine, FlightSqlClient } from "../flight_sql.ts";
import { serve, type Server } from "../mod.ts";

let open: { uri: string; client: FlightSqlClient } | null = null;

async function clientOf(uri: string): Promise<FlightSqlClient> {
  if (open?.uri !== uri) {
    await closeSql();
    open = { uri, client: await FlightSqlClient.connect(uri) };
  }
  return open!.client;
}

/** What a run took in seconds, and its rows. */
interface Run {
  readonly seconds: number;
  readonly rows: number;
}

/** Executes a query, and reads all batches. */
export async function runSql(uri: string, sql: string): Promise<Run> {
  const client = await clientOf(uri);
  const start = performance.now();
  let rows = 0;
  for await (using batch of await client.query(sql)) rows += batch.numRows;
  return { seconds: (performance.now() - start) / 1000, rows };
}

/** Executes one prepared query after another, with the parameters 1, 2, 3, 4, 1 … */
export async function runSmallSql(uri: string, sql: string, count: number): Promise<Run> {
  await using statement = await (await clientOf(uri)).prepare(sql);
  const start = performance.now();
  let rows = 0;
  for (let i = 0; i < count; i++) {
    const result = await statement.query({ parameters: [BigInt(i % 4 + 1)] });
    for await (using batch of result) rows += batch.numRows;
  }
  return { seconds: (performance.now() - start) / 1000, rows };
}

/** Executes statements that change something. */
export async function changeBySql(uri: string, statements: readonly string[]): Promise<void> {
  const client = await clientOf(uri);
  for (const statement of statements) await client.update(statement);
}

/** Closes the connection. */
export async function closeSql(): Promise<void> {
  await open?.client.close();
  open = null;
}

let serving: { engine: DuckDbEngine; server: Server } | null = null;

/** Serves a folder of tables by SQL, with its results in shared memory, or ends that. @returns the server's location */
export async function serveSql(folder: string | undefined, library: string): Promise<{ location?: string }> {
  await serving?.server.shutdown();
  await serving?.engine.close();
  serving = null;
  if (folder === undefined) return {};
  const engine = await duckDbEngine({ tables: {}, write: folder, library });
  serving = { engine, server: await serve({ datasets: {}, flight: { sql: engine, sqlShare: true } }) };
  return { location: serving.server.flight!.location };
}
