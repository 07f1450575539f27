/**
 * Flight SQL: SQL at servers of Arrow Flight, whose results arrive by the best route, all endpoints of them. Does not need UCX.
 *
 * @example Rows of a query
 * ```ts ignore
 * import { FlightSqlClient } from "@arrow-ucx/dipc/flight-sql";
 *
 * await using client = await FlightSqlClient.connect("grpc://127.0.0.1:31337");
 * for await (using batch of await client.query("select 1 as one")) console.log(batch.numRows);
 * ```
 *
 * @module
 */
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export type { FlightClient } from "./src/flight/client.ts";
export type { FlightMiddleware } from "./src/flight/client_options.ts";
export type { CancelStatus, FlightEndpoint, FlightInfo } from "./src/flight/model.ts";
export { FlightSqlClient } from "./src/flight_sql/client.ts";
export { duckDbEngine } from "./src/duckdb_sql/open.ts";
export type { DuckDbEngine } from "./src/duckdb_sql/engine.ts";
export type { DuckDbEngineOptions, DuckDbTableSource } from "./src/duckdb_sql/options.ts";
export type {
  EngineCallOptions,
  EngineCatalog,
  EngineConnection,
  EngineExecuteOptions,
  EngineFacts,
  EngineForeignKey,
  EngineInfoValue,
  EngineIngest,
  EngineKeyRule,
  EngineParameters,
  EnginePlace,
  EnginePlaceOptions,
  EnginePrimaryKey,
  EngineRows,
  EngineRowSource,
  EngineStatement,
  EngineTable,
  EngineTableName,
  EngineTypeInfo,
  SqlEngine,
} from "./src/flight_sql/engine.ts";
export type { SqlLimits } from "./src/flight_sql/server/limits.ts";
export type { SqlExecutor } from "./src/flight_sql/executor.ts";
export { SqlInfo } from "./src/flight_sql/gen/flight_sql_pb.ts";
export type {
  SqlDbSchema,
  SqlForeignKey,
  SqlKeyRule,
  SqlMetadata,
  SqlPrimaryKey,
  SqlTable,
  SqlTableFilter,
  SqlTableName,
} from "./src/flight_sql/metadata.ts";
export type {
  FlightSqlOptions,
  SqlCallOptions,
  SqlExecuteOptions,
  SqlIngestMode,
  SqlIngestOptions,
  SqlQueryOptions,
  SqlStatement,
  SubstraitPlan,
} from "./src/flight_sql/options.ts";
export type { SqlParameters, SqlValue } from "./src/flight_sql/parameters.ts";
export { RESULT_SCHEMAS, type SqlMetadataCall } from "./src/flight_sql/result_schemas.ts";
export type { SqlInfoMap } from "./src/flight_sql/sql_info.ts";
export type { FlightSqlStatement } from "./src/flight_sql/statement.ts";
export type { FlightSqlSavepoint, FlightSqlTransaction } from "./src/flight_sql/transaction.ts";
export type { FlightTlsOptions } from "./src/grpc/tls.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { MessageHeader } from "./src/ipc/message.ts";
export type { PlainValue } from "./src/ipc/plain_value.ts";
export type { ReaderLimits } from "./src/limits.ts";
export type { DissociatedStreamReader } from "./src/reader.ts";
export type { Dataset } from "./src/sources/dataset.ts";
