/**
 * The GPUs that the streams of this isolate share: opened on first use and kept, because a context and pinned memory are
 * slow to make.
 *
 * @module
 */
import type { Gpu } from "../memory/cuda/device.ts";
import { openCuda } from "../memory/cuda/driver.ts";
import { parseSpace } from "../memory/cuda/space.ts";
import { DipcError } from "../errors.ts";
import { releaseTransportsOf } from "../wire/ucx/shared.ts";

const devices = new Map<string, Gpu>();

/**
 * A GPU, opened by the first caller and shared by all: its context, and pools of device memory and pinned memory. Closed by
 * {@linkcode releaseDevices} alone.
 *
 * @param space Memory space of the GPU, such as `"cuda:0"`
 * @throws {DipcError} `library_not_found` naming every path that was tried, `not_found`, `invalid_argument`, `unsupported`,
 * `permission_denied`; what the driver reports
 */
export function openGpu(space: string): Gpu {
  if (parseSpace(space) === null) {
    throw new DipcError(
      "invalid_argument",
      'cannot open a GPU: the memory space "host" is the memory of the CPU; name a GPU, such as "cuda:0"',
    );
  }
  let device = devices.get(space);
  if (device === undefined) devices.set(space, device = openCuda().openDevice(space));
  return device;
}

/**
 * Releases what is kept of all GPUs for the next stream: contexts, pools, CUDA streams. Useful only if a program continues
 * for long without device memory. Streams must have ended; batches that are still held keep their memory until disposed.
 *
 * @throws {DipcError} `timeout`; what the driver reported if it failed to release something
 */
export async function releaseDevices(): Promise<void> {
  const open = [...devices.values()];
  devices.clear();
  // UCX uses the GPU's context, which must outlive it.
  for (const { space } of open) await releaseTransportsOf(space);
  const results = await Promise.allSettled(open.map((device) => device.close()));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
