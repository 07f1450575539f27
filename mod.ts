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
export { connect, type ConnectOptions, type DeviceConnectOptions, type FlightRoadOptions } from "./src/connect.ts";
export type { PlacedSource, Servable, ServableSource } from "./src/serving/datasets.ts";
export type { DeviceBuffer, DeviceColumn } from "./src/device/columns.ts";
export {
  deviceBatch,
  type DeviceBatchSource,
  type DeviceBufferSource,
  type DeviceColumnSource,
} from "./src/device/device_batch.ts";
export { type DeviceBatches, type DeviceBatchesOptions, fromDeviceBatches } from "./src/device/device_dataset.ts";
export { cudaDevice, releaseDevices } from "./src/device/devices.ts";
export type { DeviceReaderStats, DeviceStreamReader } from "./src/device/reader.ts";
export type { DeviceRecordBatch, ToHostOptions } from "./src/device/record_batch.ts";
export type { Road } from "./src/device/staging.ts";
export { deviceResident } from "./src/device/upload.ts";
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export type { FlightTlsOptions } from "./src/grpc/tls.ts";
export { describeSchema, type FieldDescription } from "./src/ipc/describe.ts";
export type { ArrowType, TimeUnitName } from "./src/ipc/layout.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader, MessageKind } from "./src/ipc/message.ts";
export { defaultReaderLimits, type ReaderLimits } from "./src/limits.ts";
export type { Block, Body, Pool } from "./src/memory/block.ts";
export type { PrimaryContext } from "./src/memory/cuda/context.ts";
export type { CopyEngine, CopyOptions } from "./src/memory/cuda/copies.ts";
export type { CudaDevice, CudaDeviceOptions } from "./src/memory/cuda/device.ts";
export type { DeviceBlock, DeviceBody, DeviceMemory, UsedByCopies } from "./src/memory/cuda/device_block.ts";
export type { DeviceEvent } from "./src/memory/cuda/device_event.ts";
export type { DeviceInfo } from "./src/memory/cuda/device_info.ts";
export type { CudaPoolOptions, DevicePool } from "./src/memory/cuda/device_pool.ts";
export type { CudaDriver } from "./src/memory/cuda/driver.ts";
export type { PinnedBlock, PinnedBody, PinnedMemory, PinnedPool } from "./src/memory/cuda/pinned_pool.ts";
export type { PointerInfo, PointerKind } from "./src/memory/cuda/pointer.ts";
export type { SlabStats } from "./src/memory/cuda/slabs.ts";
export type { HostRange, StagedCopyOptions } from "./src/memory/cuda/staging.ts";
export type { CopyWaitOptions } from "./src/memory/cuda/wait.ts";
export { HostPool, type HostPoolOptions, type HostPoolStats } from "./src/memory/host_pool.ts";
export { type DissociatedStreamReader, type EndpointStats, type ReaderStats, type Via } from "./src/reader.ts";
export {
  serve,
  type ServedDataset,
  type ServeOptions,
  type Server,
  type ServerEventDetail,
  type ServerStats,
} from "./src/serving/server.ts";
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
export { releaseTransports } from "./src/routes/ucx.ts";
