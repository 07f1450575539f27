/**
 * Bodies in the memory of NVIDIA GPUs: receives a stream into it, and serves data from it.
 *
 * @example Receive into a GPU
 * ```ts ignore
 * import { connectCuda } from "@arrow-ucx/dipc/cuda";
 *
 * await using stream = await connectCuda(Deno.args[0]);
 * for await (using batch of stream) {
 *   await batch.ready();
 *   console.log(batch.columns[0].data?.address);
 * }
 * ```
 *
 * Importing this module opens no native library.
 *
 * @module
 */
export { connectCuda, type ConnectCudaOptions } from "./src/connect_cuda.ts";
export type { DeviceBuffer, DeviceColumn } from "./src/device/columns.ts";
export { type CudaDevice, cudaDevice, type CudaMemory } from "./src/device/cuda_device.ts";
export {
  deviceBatch,
  type DeviceBatchSource,
  type DeviceBufferSource,
  type DeviceColumnSource,
} from "./src/device/device_batch.ts";
export { type DeviceBatches, type DeviceBatchesOptions, fromDeviceBatches } from "./src/device/device_dataset.ts";
export { releaseDevices } from "./src/device/devices.ts";
export type { DeviceReaderStats, DeviceStreamReader } from "./src/device/reader.ts";
export type { DeviceRecordBatch, ToHostOptions } from "./src/device/record_batch.ts";
export { deviceResident } from "./src/device/upload.ts";
export type { DeviceEvent } from "./src/memory/cuda/device_event.ts";
export type { CopyWaitOptions } from "./src/memory/cuda/wait.ts";
