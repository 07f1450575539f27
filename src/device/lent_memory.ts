/**
 * Memory of a GPU that a server lends, opened by CUDA IPC.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { uuidText } from "../memory/cuda/device_info.ts";
import { ImportedRegion } from "../memory/cuda/imported_region.ts";
import type { MemoryOpener } from "../routes/shared.ts";

/**
 * What opens memory that lies on a GPU.
 *
 * @param device The GPU that bodies are received into
 */
export function memoryOn(device: Gpu): MemoryOpener {
  return {
    kind: "cuda",
    sameProcess: "and CUDA opens memory in other processes only",
    async open({ generation, byteLength, cuda }, _descriptor, options) {
      const { memory, event, gpu } = cuda!;
      const [there, here] = [uuidText(gpu), device.info.uuid];
      if (there !== here) {
        throw new LocalError(
          "unsupported",
          `cannot use the server's memory: it lies on the GPU ${there}, ${device.space} is ${here}`,
        );
      }
      return await ImportedRegion.open(device, { generation, byteLength, memory, event }, options);
    },
  };
}
