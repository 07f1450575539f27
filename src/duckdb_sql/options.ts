/**
 * The options of DuckDB as an engine.
 *
 * @module
 */
import type { StreamSource } from "../c_data/export_source.ts";

/** What can be a table: the path of a Parquet or Arrow file, a dataset, or a table in memory. */
export type DuckDbTableSource = string | StreamSource;

/** Options of {@linkcode duckDbEngine}. */
export interface DuckDbEngineOptions {
  /**
   * What can be queried, by the name of the table. DuckDB reads Parquet files itself, and the batches of Arrow files and datasets where
   * they lie; what is not a file is read into memory once.
   */
  tables: Readonly<Record<string, DuckDbTableSource>>;
  /**
   * Folder in which clients may create tables, in DuckDB's file `tables.duckdb`.
   *
   * @default Clients can change nothing
   */
  write?: string;
  /**
   * Most memory that DuckDB uses for all queries, such as `"2GB"`.
   *
   * @default 80 % of the machine's
   */
  memoryLimit?: string;
  /**
   * Threads that execute queries, 1 or more.
   *
   * @default one for each processor
   */
  threads?: number;
  /** Path of `libduckdb.so`; see `DuckDbOptions.library`. */
  library?: string;
}
