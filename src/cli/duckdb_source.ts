/**
 * A query of a database of DuckDB, written as `duckdb:FILE?query=…`, as what `serve`, `get` and `schema` read.
 *
 * @module
 */
import { isGranted } from "../permissions.ts";
import type { Dataset } from "../sources/dataset.ts";
import { DUCKDB_VARIABLES } from "./permissions.ts";
import { parseQueryText, type QueryText } from "./query_text.ts";

/** Reads the text; without a file the database is one in memory. @throws {UsageError} */
export function parseDuckDb(text: string): QueryText {
  return parseQueryText(text, "duckdb:FILE?query=SQL");
}

/** Requests what finding the library needs; it may be found without. */
export function requestDuckDbVariables(): void {
  for (const variable of DUCKDB_VARIABLES) {
    if (!isGranted({ name: "env", variable })) Deno.permissions.requestSync({ name: "env", variable });
  }
}

/**
 * Opens the database, read-only unless the text says otherwise, and makes a dataset of the query that closes it.
 *
 * @throws {UsageError}
 * @throws {DipcError} As `openDuckDb` and `fromDuckDb` do
 */
export async function openDuckDbQuery(text: string): Promise<Dataset> {
  const { name: file, options, sql } = parseDuckDb(text);
  requestDuckDbVariables();
  const { fromDuckDb, openDuckDb } = await import("../../duckdb.ts");
  const config = file === "" ? options : { access_mode: "READ_ONLY", ...options };
  const database = await openDuckDb(file === "" ? undefined : file, { config });
  try {
    const dataset = await fromDuckDb(database, sql);
    return {
      schema: dataset.schema,
      readOnce: false,
      hasFreeBatches: true,
      open: (options) => dataset.open(options),
      close: async () => {
        await dataset.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}
