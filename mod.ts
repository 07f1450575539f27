/**
 * Moves Apache Arrow data between processes with the Dissociated IPC protocol over UCX: metadata and bodies travel apart.
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
 * Importing this module opens no native library and reads nothing; `connect` and `serve` do.
 *
 * @module
 */
export { connect, type ConnectOptions, type FlightRoadOptions } from "./src/client.ts";
export type { Servable } from "./src/datasets.ts";
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export type { FlightTlsOptions } from "./src/flight/client_options.ts";
export { describeSchema, type FieldDescription } from "./src/ipc/describe.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader, MessageKind } from "./src/ipc/message.ts";
export { defaultReaderLimits, type ReaderLimits } from "./src/limits.ts";
export type { Block, Body, Pool } from "./src/memory/block.ts";
export { HostPool, type HostPoolOptions, type HostPoolStats } from "./src/memory/host_pool.ts";
export { type DissociatedStreamReader, type EndpointStats, type ReaderStats, type Via } from "./src/reader.ts";
export {
  serve,
  type ServedDataset,
  type ServeOptions,
  type Server,
  type ServerEventDetail,
  type ServerStats,
} from "./src/server.ts";
export { arrowFile, type ArrowFileOptions } from "./src/sources/arrow_file.ts";
export { arrowStream, type ArrowStreamOptions } from "./src/sources/arrow_stream.ts";
export type { ByteReader } from "./src/sources/byte_input.ts";
export type { Dataset, MessageStream } from "./src/sources/dataset.ts";
export { openPath, type OpenPathOptions } from "./src/sources/open_path.ts";
export type { SourceOptions } from "./src/sources/options.ts";
export { parquetFile, type ParquetFileOptions } from "./src/sources/parquet.ts";
export { repeat, resident } from "./src/sources/resident.ts";
export { type BatchSource, fromBatches, fromTable, type TableOptions } from "./src/sources/table.ts";
export type { OutgoingTotals } from "./src/stream/outgoing.ts";
export { releaseTransports } from "./src/ucx_stream.ts";
