/**
 * A GPU in the public API: its properties, and memory allocated on it.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceBlock } from "../memory/cuda/device_block.ts";
import { integerIn } from "../options.ts";
import { openGpu } from "./devices.ts";

/** Memory of a GPU; disposing it frees it. */
export interface CudaMemory extends Disposable {
  /** Device address, a multiple of 256. Not to be dereferenced by the CPU. */
  readonly address: bigint;
  /** Size in bytes. */
  readonly byteLength: number;
}

/** A GPU that streams and batches of this process use. */
export interface CudaDevice {
  /** Memory space, such as `"cuda:0"`. */
  readonly space: string;
  /** Name of the model, such as `"NVIDIA H100 80GB HBM3"`. */
  readonly name: string;
  /** Compute capability, such as `"9.0"`. */
  readonly computeCapability: string;
  /** Free and total memory of the whole GPU in bytes. @throws {DipcError} what the driver reports */
  memory(): { freeBytes: number; totalBytes: number };
  /**
   * Allocates memory from the pool that streams use too.
   *
   * @param byteLength Size in bytes
   * @throws {DipcError} `invalid_argument`, `out_of_memory`; what the driver reports
   */
  allocate(byteLength: number): CudaMemory;
  /**
   * Sets every byte of the memory to one value, and waits until that is done.
   *
   * @param memory Memory that {@linkcode CudaDevice.allocate} of this device returned
   * @param value 0 to 255
   * @throws {DipcError} `invalid_argument`, `closed` for memory that was disposed; what the driver reports
   */
  fill(memory: CudaMemory, value: number): Promise<void>;
}

class Allocation implements CudaMemory {
  readonly block: DeviceBlock;
  readonly address: bigint;
  readonly byteLength: number;

  constructor(block: DeviceBlock, byteLength: number) {
    this.block = block;
    this.address = block.address;
    this.byteLength = byteLength;
  }

  [Symbol.dispose](): void {
    this.block.release();
  }
}

class SharedDevice implements CudaDevice {
  readonly gpu: Gpu;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  get space(): string {
    return this.gpu.space;
  }

  get name(): string {
    return this.gpu.info.name;
  }

  get computeCapability(): string {
    return this.gpu.info.computeCapability;
  }

  memory(): { freeBytes: number; totalBytes: number } {
    return this.gpu.memory();
  }

  allocate(byteLength: number): CudaMemory {
    return new Allocation(this.gpu.pool.acquire(byteLength), byteLength);
  }

  async fill(memory: CudaMemory, value: number): Promise<void> {
    if (!(memory instanceof Allocation) || memory.block.space !== this.space) {
      throw new DipcError(
        "invalid_argument",
        `cannot fill memory: it was not allocated by the cudaDevice() of ${this.space}`,
      );
    }
    integerIn("value", value, 0, 255);
    const { block, address, byteLength } = memory;
    await this.gpu.copies.fill(address, value, byteLength, { uses: [block] }).done();
  }
}

const known = new WeakMap<Gpu, SharedDevice>();

/** The public view of a GPU. */
export function publicDevice(gpu: Gpu): CudaDevice {
  let device = known.get(gpu);
  if (device === undefined) known.set(gpu, device = new SharedDevice(gpu));
  return device;
}

/**
 * The GPU behind its public view, or of a memory space.
 *
 * @throws {DipcError} `invalid_argument` for a device that {@linkcode cudaDevice} did not return; as `openGpu`
 */
export function gpuOf(device: CudaDevice | string): Gpu {
  if (typeof device === "string") return openGpu(device);
  if (device instanceof SharedDevice) return device.gpu;
  throw new DipcError(
    "invalid_argument",
    'cannot open a GPU: a device is a memory space such as "cuda:0", or what cudaDevice() returned',
  );
}

/**
 * A GPU, opened by the first caller and shared by all streams of the process. Closed by {@linkcode releaseDevices} alone.
 *
 * @example Print the free memory of a GPU
 * ```ts
 * import { DipcError } from "@arrow-ucx/dipc";
 * import { cudaDevice } from "@arrow-ucx/dipc/cuda";
 *
 * try {
 *   const device = cudaDevice("cuda:0");
 *   console.log(device.name, device.memory().freeBytes);
 * } catch (error) {
 *   if (!(error instanceof DipcError)) throw error;
 *   console.log(error.code); // such as "library_not_found" without a driver
 * }
 * ```
 *
 * @param space Memory space of the GPU, such as `"cuda:0"`
 * @throws {DipcError} `library_not_found` naming every path that was tried, `not_found`, `invalid_argument`, `unsupported`,
 * `permission_denied`; what the driver reports
 */
export function cudaDevice(space: string): CudaDevice {
  return publicDevice(openGpu(space));
}
