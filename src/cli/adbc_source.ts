/**
 * A query of a database, written as `adbc:DRIVER?uri=…&query=…`, as what `serve`, `get` and `schema` read.
 *
 * @module
 */
import type { AdbcOptions } from "../adbc/options.ts";
import { DRIVER_VARIABLES } from "../adbc/find_driver.ts";
import { isGranted } from "../permissions.ts";
import type { Dataset } from "../sources/dataset.ts";
import { UsageError } from "./args.ts";

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

/** Whether a text is a query of a database. */
export function isAdbc(text: string): boolean {
  return /^adbc:/i.test(text);
}

/**
 * Reads the text. `query` comes last: all that follows is SQL as it stands. The values before it are percent-decoded.
 *
 * @throws {UsageError}
 */
export function parseAdbc(text: string): AdbcQuery {
  const fail = (what: string): UsageError =>
    new UsageError(`cannot use ${JSON.stringify(text)}: ${what}; write adbc:DRIVER?uri=URI&query=SQL`);
  const [, driver, rest = ""] = /^adbc:([^?]*)(?:\?(.*))?$/is.exec(text)!;
  if (driver === "") throw fail("it names no driver");
  const at = /(?:^|&)query=/.exec(rest);
  if (at === null) throw fail("it has no query");
  const sql = rest.slice(at.index + at[0].length);
  if (sql.trim() === "") throw fail("its query is empty");
  const options: Record<string, string> = Object.create(null);
  for (const part of rest.slice(0, at.index).split("&").filter((part) => part !== "")) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(part) ?? [];
    if (name === undefined) throw fail(`"${part}" is not an option with its value`);
    options[decoded(name, fail)] = decoded(value, fail);
  }
  const { entrypoint, ...others } = options;
  return { driver: decoded(driver, fail), entrypoint, options: others, sql };
}

function decoded(text: string, fail: (what: string) => UsageError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw fail(`"${text}" has a "%" that is not followed by two digits`);
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
  // The search goes on without them, and says what it could not read.
  for (const variable of driver.includes("/") ? [] : DRIVER_VARIABLES) {
    if (!isGranted({ name: "env", variable })) Deno.permissions.requestSync({ name: "env", variable });
  }
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
