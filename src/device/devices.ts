/**
 * The GPUs that the streams of this isolate share: opened when first needed, kept, because a context and pinned memory are
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
 * `permission_denied`; what the driver says
 */
export function openGpu(space: string): Gpu {
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
