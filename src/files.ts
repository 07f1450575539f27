/**
 * Files as datasets, with the engines that can decode them.
 *
 * @module
 */
import type { Dataset } from "./sources/dataset.ts";
import { openPath as openPathBy, type OpenPathOptions } from "./sources/open_path.ts";
import { parquetFile as parquetFileBy, type ParquetFileOptions } from "./sources/parquet.ts";
import type { LoadNative } from "./sources/parquet/engine.ts";

/** DuckDB, which is loaded when a file is to be read by it. */
const loadDuckDb: LoadNative = async () => (await import("./duckdb/parquet/engine.ts")).duckDbParquet;

/**
 * Opens an Arrow file (Feather V2 is the same), an Arrow stream or a Parquet file, whatever its name. `"-"` is an Arrow
 * stream on standard input; pipes are read as streams, too. What comes as a stream can be served only once.
 *
 * @example Usage
 * ```ts ignore
 * const trips = await openPath("trips.parquet", { batchRows: 100_000 });
 * ```
 *
 * @param path Path, or `"-"`
 * @param options Pool, limits, batch size, mapping, engine
 * @throws {DipcError} `not_found`, `permission_denied`, `invalid_argument` for a directory, `invalid_data` for an empty or
 * damaged file or one of no known format, `unsupported` for a known other format, or if the engine cannot read the file;
 * `library_not_found` if the engine is to be DuckDB, which is not installed
 */
export function openPath(path: string, options: OpenPathOptions = {}): Promise<Dataset> {
  return openPathBy(path, options, loadDuckDb);
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
 * @throws {DipcError} `not_found`, `permission_denied`, `io`, `invalid_data`, `invalid_argument`, `unsupported`,
 * `library_not_found`
 */
export function parquetFile(path: string, options: ParquetFileOptions = {}): Promise<Dataset> {
  return parquetFileBy(path, options, loadDuckDb);
}
