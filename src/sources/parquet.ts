/**
 * Parquet files as datasets.
 *
 * @module
 */
import type { Dataset } from "./dataset.ts";
import type { SourceOptions } from "./options.ts";
import type { LoadNative } from "./parquet/engine.ts";

/** Options of {@linkcode parquetFile}. */
export interface ParquetFileOptions extends SourceOptions {
  /**
   * Rows of each batch. The last one of a row group may have fewer, and so do batches that would have more than 512 MiB. Default
   * 65,536, or fewer if a batch would have more than 64 MiB.
   */
  batchRows?: number;
  /**
   * What decodes the file: `"wasm"` is Arrow's reader in Rust, compiled to WebAssembly; `"duckdb"` is DuckDB (`dipc setup duckdb`),
   * which has several threads. Both give the same rows, types and batches; `"duckdb"` refuses files of which it would make something
   * else. Default `"auto"`: DuckDB if it is installed, does not refuse the file, and the file has 4 MiB or more.
   */
  engine?: "auto" | "wasm" | "duckdb";
}

/**
 * A Parquet file as a dataset that can be served many times. Each run decodes the file again, a few batches ahead of the
 * reader, and large row groups in pieces, so that memory does not grow with the file; it does grow with the largest page. The
 * worker that decodes ends with the dataset's `close()`, or a second after the last run.
 *
 * @example Usage
 * ```ts ignore
 * const flights = await parquetFile("flights.parquet", { batchRows: 100_000 });
 * ```
 *
 * @param path Path of the file
 * @param options Rows per batch, engine, and limits
 * @param native DuckDB, if it may be used
 * @throws {DipcError} `not_found`, `permission_denied`, `io`, `invalid_data`, `invalid_argument`, `unsupported`
 */
export async function parquetFile(
  path: string,
  options: ParquetFileOptions = {},
  native?: LoadNative,
): Promise<Dataset> {
  // Loads the decoder's side only now: most programs import this module for other things.
  const { openParquet } = await import("./parquet/dataset.ts");
  return await openParquet(path, options, native);
}
