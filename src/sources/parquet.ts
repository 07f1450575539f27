/**
 * Parquet files as datasets.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Dataset } from "./dataset.ts";
import type { OpenPathOptions } from "./open_path.ts";

/** A Parquet file as a dataset. */
export function parquetFile(path: string, _options: OpenPathOptions = {}): Promise<Dataset> {
  return Promise.reject(new DipcError("unsupported", `cannot open "${path}": Parquet is not supported yet`));
}
