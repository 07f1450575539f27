/**
 * The GPUs that the streams of this isolate share: opened when first needed, kept, because a context and pinned memory are
 * slow to make.
 *
 * @module
 */
import type { CudaDevice } from "../memory/cuda/device.ts";
import { openCuda } from "../memory/cuda/driver.ts";
import { parseSpace } from "../memory/cuda/space.ts";
import { DipcError } from "../errors.ts";
import { releaseTransportsOf } from "../routes/ucx.ts";

const devices = new Map<string, CudaDevice>();

/**
 * A GPU, opened by the first caller and shared by all: its context, and pools of device memory and pinned memory. Closed by
 * {@linkcode releaseDevices} alone.
 *
 * @example What is in this machine
 * ```ts
 * import { cudaDevice, DipcError } from "@arrow-ucx/dipc";
 *
 * try {
 *   const device = cudaDevice("cuda:0");
 *   console.log(device.info.name, device.memory().freeBytes);
 * } catch (error) {
 *   if (!(error instanceof DipcError)) throw error;
 *   console.log(error.code); // such as "library_not_found" without a driver
 * }
 * ```
 *
 * @param space Memory space of the GPU, such as `"cuda:0"`
 * @throws {DipcError} `library_not_found` naming every path that was tried, `not_found`, `invalid_argument`, `unsupported`,
 * `permission_denied`; what the driver says
 */
export function cudaDevice(space: string): CudaDevice {
  if (parseSpace(space) === null) {
    throw new DipcError("invalid_argument", 'the memory space "host" belongs to no GPU; name one, such as "cuda:0"');
  }
  let device = devices.get(space);
  if (device === undefined) devices.set(space, device = openCuda().openDevice(space));
  return device;
}

/**
 * Gives back what is kept of all GPUs for the next stream: contexts, pools, streams. Only where a program goes on for long
 * without device memory. Streams must be over; batches that are still held keep their memory until they are disposed.
 *
 * @throws {DipcError} `timeout`; what the driver said where it refused to take something back
 */
export async function releaseDevices(): Promise<void> {
  const open = [...devices.values()];
  devices.clear();
  // UCX works in the GPU's context, which must outlive it.
  for (const { space } of open) await releaseTransportsOf(space);
  const results = await Promise.allSettled(open.map((device) => device.close()));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
