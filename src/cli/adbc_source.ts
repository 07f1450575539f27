/**
 * A query of a database, written as `adbc:DRIVER?uri=…&query=…`, as what `serve`, `get` and `schema` read.
 *
 * @module
 */
import type { AdbcOptions } from "../adbc/options.ts";
import { DRIVER_VARIABLES } from "../adbc/find_driver.ts";
import { isGranted } from "../permissions.ts";
import type { Dataset } from "../sources/dataset.ts";
import { parseQueryText, queryFault } from "./query_text.ts";

/** What the text says. */
export interface AdbcQuery {
  /** Path or name of the driver. */
  readonly driver: string;
  /** Name of its entry point, if it is given. */
  readonly entrypoint: string | undefined;
  /** Options of the database. */
  readonly options: AdbcOptions;
  /** The query. */
  readonly sql: string;
}

const FORM = "adbc:DRIVER?uri=URI&query=SQL";

/** Reads the text. @throws {UsageError} */
export function parseAdbc(text: string): AdbcQuery {
  if (/^adbc:(?:\?|$)/i.test(text)) throw queryFault(text, FORM, "it names no driver");
  const { name: driver, options: { entrypoint, ...options }, sql } = parseQueryText(text, FORM);
  return { driver, entrypoint, options, sql };
}

/** Requests what the search for a driver reads. It goes on without, and says what it could not read. */
export function requestDriverVariables(driver: string): void {
  for (const variable of driver.includes("/") ? [] : DRIVER_VARIABLES) {
    if (!isGranted({ name: "env", variable })) Deno.permissions.requestSync({ name: "env", variable });
  }
}

/**
 * Opens the database, and makes a dataset of the query that closes it.
 *
 * @throws {UsageError}
 * @throws {DipcError} As `openDatabase` and `fromQuery` do
 */
export async function openAdbc(text: string): Promise<Dataset> {
  const { driver, entrypoint, options, sql } = parseAdbc(text);
  requestDriverVariables(driver);
  const { openDatabase } = await import("../adbc/database.ts");
  const { fromQuery } = await import("../adbc/query_dataset.ts");
  const database = await openDatabase(driver, options, { entrypoint });
  try {
    const dataset = await fromQuery(database, sql);
    return {
      schema: dataset.schema,
      readOnce: false,
      hasFreeBatches: true,
      open: (options) => dataset.open(options),
      close: () => database.close(),
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}
