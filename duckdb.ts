/**
 * DuckDB in this process: queries as record batches, for every type, and as datasets to be served. Does not need UCX.
 *
 * DuckDB comes with `dipc setup duckdb`, or is the `libduckdb.so` that `DIPC_LIBDUCKDB` names.
 *
 * @example Read rows
 * ```ts ignore
 * import { openDuckDb } from "@arrow-ucx/dipc/duckdb";
 *
 * await using database = await openDuckDb();
 * await using connection = await database.connect();
 * for await (using batch of await connection.query("from range(10)")) console.log(batch.numRows);
 * ```
 *
 * Importing this module opens no native library.
 *
 * @module
 */
export {
  DipcError,
  type DipcErrorCode,
  type DipcErrorOptions,
  type ForeignDetail,
  type ForeignStatus,
} from "./src/errors.ts";
export type { DuckDbConnection, DuckDbDatabase, DuckDbOptions } from "./src/duckdb/database.ts";
export { openDuckDb } from "./src/duckdb/database.ts";
export { type DuckDbDatasetOptions, fromDuckDb } from "./src/duckdb/query_dataset.ts";
export type { DuckDbRegistration } from "./src/duckdb/registration.ts";
export type { MessageDataset, MessageReader, MessageRun, StreamSource } from "./src/c_data/export_source.ts";
export type { DuckDbQueryOptions, DuckDbStream } from "./src/duckdb/stream.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader, MessageKind } from "./src/ipc/message.ts";
export type { Body } from "./src/memory/block.ts";
export type { Dataset, MessageStream } from "./src/sources/dataset.ts";
