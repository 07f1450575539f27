/**
 * Queries of databases as sources of the command: by an ADBC driver, or by DuckDB.
 *
 * @module
 */
import type { Dataset } from "../sources/dataset.ts";
import { openAdbc, parseAdbc } from "./adbc_source.ts";
import { openDuckDbQuery, parseDuckDb } from "./duckdb_source.ts";

/** How the text of each begins. */
const SCHEMES = {
  adbc: { parse: parseAdbc, open: openAdbc },
  duckdb: { parse: parseDuckDb, open: openDuckDbQuery },
} as const;

type Scheme = keyof typeof SCHEMES;

/** The scheme of a text that is a query of a database; `null` for anything else. */
export function queryScheme(text: string): Scheme | null {
  const scheme = /^([a-z]+):/i.exec(text)?.[1].toLowerCase();
  return scheme === undefined || !Object.hasOwn(SCHEMES, scheme) ? null : scheme as Scheme;
}

/** Checks the text of a query. @throws {UsageError} */
export function checkQuery(text: string): void {
  SCHEMES[queryScheme(text)!].parse(text);
}

/**
 * Opens the database, and makes a dataset of the query that closes it.
 *
 * @throws {UsageError}
 * @throws {DipcError} What the driver or DuckDB reports
 */
export function openQuery(text: string): Promise<Dataset> {
  return SCHEMES[queryScheme(text)!].open(text);
}
