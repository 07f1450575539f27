/**
 * Options of the calls of a connection.
 *
 * @module
 */
import type { ExportStreamOptions } from "../c_data/stream_out.ts";
import type { AdbcOptions } from "./options.ts";
import type { AdbcSource } from "./statement.ts";

/** Options of `query` and `execute` of a connection. */
export interface AdbcQueryOptions {
  /** Parameters of the query: one execution for each row. */
  parameters?: AdbcSource;
  /** Options of the statement; the driver's documentation has them. */
  options?: AdbcOptions;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** What to do about a table that exists, or does not. */
export type AdbcIngestMode = "create" | "append" | "replace" | "create_append";

/** Options of `ingest`. */
export interface AdbcIngestOptions extends ExportStreamOptions {
  /**
   * Whether the table is made (`"create"`, an error if there is one), must be there (`"append"`), is made anew (`"replace"`), or is made
   * if it is not there (`"create_append"`).
   *
   * @default {"create"}
   */
  mode?: AdbcIngestMode;
  /** Catalog of the table. */
  catalog?: string;
  /** Schema of the database that the table is in. */
  dbSchema?: string;
  /** Makes a table that is dropped with the connection. */
  temporary?: boolean;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** How much `getObjects` gives. */
export type AdbcObjectDepth = "all" | "catalogs" | "dbSchemas" | "tables";

/** What `getObjects` and `getStatistics` look for. Texts may be patterns of SQL, with `%` and `_`. */
export interface AdbcObjectFilter {
  /** Catalog; `""` for what has none. */
  catalog?: string;
  /** Schema of the database; `""` for what has none. */
  dbSchema?: string;
  /** Name of the table. */
  table?: string;
}

/** Options of `getObjects`. */
export interface AdbcObjectOptions extends AdbcObjectFilter {
  /**
   * How much of the tree is given.
   *
   * @default {"all"}
   */
  depth?: AdbcObjectDepth;
  /** Types of tables, such as `"view"`; default: all. */
  tableTypes?: readonly string[];
  /** Name of the column, or a pattern. */
  column?: string;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** Options of `getStatistics`. */
export interface AdbcStatisticOptions extends AdbcObjectFilter {
  /**
   * Whether estimates do.
   *
   * @default {true}
   */
  approximate?: boolean;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** Names of the options of each call. */
export const CONNECTION_KEYS = {
  query: { parameters: true, options: true, signal: true } satisfies Record<keyof AdbcQueryOptions, true>,
  ingest: {
    ...{ mode: true, catalog: true, dbSchema: true, temporary: true, schema: true, signal: true },
  } satisfies Record<keyof AdbcIngestOptions, true>,
  getObjects: {
    ...{ depth: true, catalog: true, dbSchema: true, table: true, tableTypes: true, column: true, signal: true },
  } satisfies Record<keyof AdbcObjectOptions, true>,
  getStatistics: {
    ...{ catalog: true, dbSchema: true, table: true, approximate: true, signal: true },
  } satisfies Record<keyof AdbcStatisticOptions, true>,
  tableSchema: { catalog: true, dbSchema: true },
} as const;
