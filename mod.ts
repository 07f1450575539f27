/**
 * Moves Apache Arrow data between processes with the Dissociated IPC protocol over UCX: metadata and bodies travel separately.
 *
 * @example Serve a file and read it
 * ```ts ignore
 * import { connect, serve } from "@arrow-ucx/dipc";
 *
 * await using server = await serve({ datasets: { flights: "flights.arrow" } });
 * await using reader = await connect(server.datasets[0].uris);
 * for await (using batch of reader) console.log(batch.numRows);
 * ```
 *
 * Importing this module opens no native library and reads nothing; `connect` and `serve` do. For bodies in the memory of
 * a GPU see `@arrow-ucx/dipc/cuda`, for Arrow Flight on its own `@arrow-ucx/dipc/flight`.
 *
 * @module
 */
export { connect, type ConnectFlightOptions, type ConnectOptions } from "./src/connect.ts";
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export type { TypedEventTarget } from "./src/events.ts";
export { describeSchema, type FieldDescription } from "./src/ipc/describe.ts";
export type { ArrowType, TimeUnitName } from "./src/ipc/layout.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader } from "./src/ipc/message.ts";
export type { ReaderLimits } from "./src/limits.ts";
export type { Block, Body, Pool } from "./src/memory/block.ts";
export { HostPool, type HostPoolOptions, type HostPoolStats } from "./src/memory/host_pool.ts";
export type { DissociatedStreamReader, EndpointStats, ReaderStats, RouteName } from "./src/reader.ts";
export { serve } from "./src/serve.ts";
export type { PlacedSource, Servable, ServableSource } from "./src/serving/datasets.ts";
export type {
  ServedDataset,
  ServeOptions,
  ServerEventDetail,
  ServerEvents,
  ServerStats,
} from "./src/serving/options.ts";
export type { Server } from "./src/serving/server.ts";
export { arrowFile, type ArrowFileOptions } from "./src/sources/arrow_file.ts";
export { arrowStream, type ArrowStreamOptions } from "./src/sources/arrow_stream.ts";
export type { ByteReader } from "./src/sources/byte_input.ts";
export type { Dataset, MessageStream } from "./src/sources/dataset.ts";
export { openPath, parquetFile } from "./src/files.ts";
export type { OpenPathOptions } from "./src/sources/open_path.ts";
export type { SourceOptions } from "./src/sources/options.ts";
export type { ParquetFileOptions } from "./src/sources/parquet.ts";
export { resident } from "./src/sources/resident.ts";
export { type BatchSource, fromBatches, fromTable, type TableOptions } from "./src/sources/table.ts";
export { releaseTransports } from "./src/routes/release.ts";
export type { OutgoingTotals } from "./src/stream/outgoing.ts";
