/**
 * What the driver reports about a device without a context.
 *
 * @module
 */
import { cStringIn } from "../../../ffi/c_string.ts";
import { CUDA, CUDA_SIZES } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import { deviceSpace } from "./space.ts";

/** Bytes for a name or a PCI address; the driver cuts what does not fit. */
const TEXT_BYTES = 256;

/** A GPU. */
export interface DeviceInfo {
  /** Number of the device as the driver counts: `CUDA_VISIBLE_DEVICES` changes it. */
  readonly ordinal: number;
  /** Memory space, such as `"cuda:0"`. */
  readonly space: string;
  /** Such as `"NVIDIA H100 80GB HBM3"`. */
  readonly name: string;
  /** As `nvidia-smi -L` prints it, such as `"GPU-5cd7b3f1-…"`. */
  readonly uuid: string;
  /** PCI address, such as `"0000:1b:00.0"`. */
  readonly pciBusId: string;
  /** Total memory in bytes. */
  readonly memoryBytes: number;
  /** Compute capability, such as `"9.0"`. */
  readonly computeCapability: string;
  /** How many copies can run concurrently, with each other and with kernels. */
  readonly copyEngines: number;
  /** Whether it shares the host's memory. */
  readonly isIntegrated: boolean;
  /** Whether `cuMemAllocAsync` works. */
  readonly hasMemoryPools: boolean;
  /** Whether network adapters may reach its memory by the driver's peer memory module. */
  readonly hasGpuDirectRdma: boolean;
  /** Whether its memory can be shared as a dmabuf. */
  readonly hasDmabuf: boolean;
  /** `CUdevice`. */
  readonly handle: number;
}

/** A UUID as `nvidia-smi` writes it. */
export function uuidText(bytes: Uint8Array): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return "GPU-" +
    [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]].map(([from, to]) => hex.slice(from, to)).join("-");
}

/** The 16 bytes of a UUID that is written so. */
export function uuidBytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.slice("GPU-".length).replaceAll("-", ""));
}

/**
 * Asks the driver about a device.
 *
 * @param ordinal 0 … number of devices − 1
 * @throws {DipcError} What the driver reports
 */
export function readDeviceInfo(symbols: CudaSymbols, ordinal: number): DeviceInfo {
  const space = deviceSpace(ordinal);
  const check = (result: number, what: string): void => {
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(symbols, result, `query ${what} of ${space}`);
  };
  const int = new Int32Array(1);
  check(symbols.cuDeviceGet(int, ordinal), "the handle");
  const handle = int[0];
  const attribute = (number: number, what: string): number => {
    check(symbols.cuDeviceGetAttribute(int, number, handle), what);
    return int[0];
  };
  // Drivers return 1 (invalid value) for attributes that are newer than they are.
  const flag = (number: number): boolean =>
    symbols.cuDeviceGetAttribute(int, number, handle) === CUDA.CUDA_SUCCESS && int[0] !== 0;

  const text = new Uint8Array(TEXT_BYTES);
  check(symbols.cuDeviceGetName(text, TEXT_BYTES, handle), "the name");
  const name = cStringIn(text);
  check(symbols.cuDeviceGetPCIBusId(text, TEXT_BYTES, handle), "the PCI address");
  const pciBusId = cStringIn(text);
  const uuid = new Uint8Array(CUDA_SIZES.CUuuid);
  check((symbols.cuDeviceGetUuid_v2 ?? symbols.cuDeviceGetUuid)(uuid, handle), "the UUID");
  const bytes = new BigUint64Array(1);
  check(symbols.cuDeviceTotalMem_v2(bytes, handle), "the memory size");
  const major = attribute(CUDA.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, "the compute capability");
  const minor = attribute(CUDA.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "the compute capability");
  return {
    ordinal,
    space,
    name,
    uuid: uuidText(uuid),
    pciBusId,
    memoryBytes: Number(bytes[0]),
    computeCapability: `${major}.${minor}`,
    copyEngines: attribute(CUDA.CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, "the copy engines"),
    isIntegrated: flag(CUDA.CU_DEVICE_ATTRIBUTE_INTEGRATED),
    hasMemoryPools: flag(CUDA.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED),
    hasGpuDirectRdma: flag(CUDA.CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED),
    hasDmabuf: flag(CUDA.CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED),
    handle,
  };
}
