/**
 * ADBC, Arrow's interface of databases: queries and tables as record batches, by the drivers that databases have. Does not need
 * UCX.
 *
 * @example Read rows of a database
 * ```ts ignore
 * import { openDatabase } from "@arrow-ucx/dipc/adbc";
 *
 * await using database = await openDatabase("adbc_driver_sqlite", { uri: ":memory:" });
 * await using connection = await database.connect();
 * for await (using batch of await connection.query("select 1 as one")) console.log(batch.numRows);
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
export type { AdbcConfigurable } from "./src/adbc/configurable.ts";
export type { AdbcConnection } from "./src/adbc/connection.ts";
export type {
  AdbcIngestMode,
  AdbcIngestOptions,
  AdbcObjectDepth,
  AdbcObjectFilter,
  AdbcObjectOptions,
  AdbcQueryOptions,
  AdbcStatisticOptions,
} from "./src/adbc/connection_options.ts";
export { type AdbcDatabase, type AdbcDriverOptions, openDatabase } from "./src/adbc/database.ts";
export type { AdbcVersion } from "./src/adbc/driver.ts";
export type { CallOptions } from "./src/adbc/handle.ts";
export type { AdbcInfo, AdbcInfoValue } from "./src/adbc/info.ts";
export type { AdbcOptions, AdbcOptionType, AdbcOptionTypes, AdbcOptionValue } from "./src/adbc/options.ts";
export { fromQuery, type QueryDatasetOptions } from "./src/adbc/query_dataset.ts";
export type { AdbcSchema } from "./src/adbc/schema.ts";
export type { AdbcPartitions, AdbcSource, AdbcStatement } from "./src/adbc/statement.ts";
export type { ForeignStream } from "./src/c_data/foreign_stream.ts";
export type { Dataset, MessageStream } from "./src/sources/dataset.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
