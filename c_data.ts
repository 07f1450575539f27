/**
 * Arrow's C Data, Stream and Device interfaces: record batches to and from any library that is loaded into this process, without
 * copying them. Does not need UCX.
 *
 * @example Give a batch to a library in C
 * ```ts ignore
 * import { CStruct, exportRecordBatch } from "@arrow-ucx/dipc/c-data";
 *
 * using array = new CStruct("ArrowArray");
 * using schema = new CStruct("ArrowSchema");
 * exportRecordBatch(batch, array.address, schema.address);
 * library.symbols.consume(array.address, schema.address);
 * ```
 *
 * Importing this module opens no native library.
 *
 * @module
 */
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export { type AsyncForeignStream, importAsyncStream, type ImportAsyncStreamOptions } from "./src/c_data/async_in.ts";
export { type AsyncExportResult, exportAsyncStream, type ExportAsyncStreamOptions } from "./src/c_data/async_out.ts";
export type { ForeignBuffer, ForeignColumn } from "./src/c_data/columns.ts";
export { importDeviceBatch, importDeviceStream } from "./src/c_data/device_in.ts";
export { type DeviceBatchLike, type DeviceColumnLike, exportDeviceBatch } from "./src/c_data/device_out.ts";
export { exportRecordBatch } from "./src/c_data/export.ts";
export type { MessageDataset, MessageReader, MessageRun, StreamSource } from "./src/c_data/export_source.ts";
export type { ForeignBatch, ForeignDevice } from "./src/c_data/foreign_batch.ts";
export type { ForeignStream, ImportStreamOptions } from "./src/c_data/foreign_stream.ts";
export { importRecordBatch, importStream } from "./src/c_data/import.ts";
export { importSchema } from "./src/c_data/schema_in.ts";
export { exportSchema } from "./src/c_data/schema_out.ts";
export { exportDeviceStream, exportStream, type ExportStreamOptions } from "./src/c_data/stream_out.ts";
export { CStruct, type ReleasableName } from "./src/c_data/structs.ts";
export type { ArrowType, TimeUnitName } from "./src/ipc/layout.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader, MessageKind } from "./src/ipc/message.ts";
export type { Body } from "./src/memory/block.ts";
