/**
 * The CUDA driver, opened and initialised on first use.
 *
 * @module
 */
import { type CudaLibrary, type FindLibcudaOptions, openLibcuda } from "../../../ffi/cuda.ts";
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import { LocalError } from "../../errors.ts";
import { Gpu, type GpuOptions } from "./device.ts";
import { type DeviceInfo, readDeviceInfo } from "./device_info.ts";
import { deviceSpace, parseSpace } from "./space.ts";

/** Options of {@linkcode openCuda}. */
export interface OpenCudaOptions {
  /** Path of libcuda. Default: what `DIPC_LIBCUDA` names, else `libcuda.so.1` by name. */
  library?: string;
  /** How to search, for tests and for unusual systems. */
  find?: FindLibcudaOptions;
}

/** The driver. */
export class CudaDriver {
  /** Path or name of the library that was opened. */
  readonly path: string;
  /** @ignore The library that was opened */
  readonly library: CudaLibrary;
  /** @ignore Its functions */
  readonly symbols: CudaSymbols;
  /** The newest CUDA that the driver supports, such as `"12.9"`. */
  readonly version: string;
  /** Number of devices that this process may see. */
  readonly deviceCount: number;

  /** @ignore Made by {@linkcode openCuda} */
  constructor(library: CudaLibrary) {
    this.library = library;
    this.path = library.path;
    const symbols = this.symbols = library.symbols;
    this.check(symbols.cuInit(0), `initialise the CUDA driver (${library.path})`);
    const int = new Int32Array(1);
    this.check(symbols.cuDriverGetVersion(int), "query the version of the CUDA driver");
    this.version = `${Math.floor(int[0] / 1000)}.${Math.floor((int[0] % 1000) / 10)}`;
    this.check(symbols.cuDeviceGetCount(int), "count the GPUs");
    this.deviceCount = int[0];
  }

  /**
   * Throws for a result other than `CUDA_SUCCESS`.
   *
   * @param result A `CUresult`
   * @param action What cannot be done, such as `"count the GPUs"`
   * @throws {DipcError} `out_of_memory`, `unsupported`, `not_found`, `permission_denied`, `library_not_found`, `cuda`
   */
  check(result: number, action: string): void {
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(this.symbols, result, action);
  }

  /**
   * What is known of a device, without making a context on it.
   *
   * @param device Number of the device, or its memory space such as `"cuda:0"`
   * @throws {DipcError} `not_found` if there is no such device; `invalid_argument`; what the driver reports
   */
  deviceInfo(device: number | string): DeviceInfo {
    const ordinal = typeof device === "number" ? device : parseSpace(device);
    if (ordinal === null) {
      throw new LocalError(
        "invalid_argument",
        'cannot open a GPU: the memory space "host" is the memory of the CPU; name a GPU, such as "cuda:0"',
      );
    }
    if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= this.deviceCount) {
      const known = Array.from({ length: this.deviceCount }, (_, i) => deviceSpace(i)).join(", ");
      throw new LocalError(
        "not_found",
        `cannot open ${deviceSpace(ordinal)}: there is no such GPU, the driver shows ${known || "none"}; ` +
          "CUDA_VISIBLE_DEVICES and a container's --gpus decide which it shows",
      );
    }
    return readDeviceInfo(this.symbols, ordinal);
  }

  /** All devices. @throws {DipcError} What the driver reports */
  devices(): DeviceInfo[] {
    return Array.from({ length: this.deviceCount }, (_, ordinal) => this.deviceInfo(ordinal));
  }

  /**
   * Opens a device: retains its primary context, with pools and streams of its own. To be closed by the caller.
   *
   * @param device Number of the device, or its memory space such as `"cuda:0"`
   * @throws {DipcError} `not_found`, `invalid_argument`, `out_of_memory`; what the driver reports
   */
  openDevice(device: number | string, options: GpuOptions = {}): Gpu {
    return new Gpu(this, this.deviceInfo(device), options);
  }
}

const ready = new Map<CudaSymbols, CudaDriver>();

/**
 * Opens libcuda and initialises the driver, once per library and isolate. A failure leaves nothing behind.
 *
 * @example Usage
 * ```ts ignore
 * const device = openCuda().openDevice("cuda:0");
 * try {
 *   const block = device.pool.acquire(1 << 20);
 *   await device.copies.upload(block.address, new Uint8Array(1 << 20), { uses: [block] });
 *   block.release();
 * } finally {
 *   await device.close();
 * }
 * ```
 *
 * @throws {DipcError} `library_not_found` naming every path tried; `permission_denied`; `unsupported` if there is no GPU;
 * what the driver reports
 */
export function openCuda(options: OpenCudaOptions = {}): CudaDriver {
  const library = openLibcuda(options.library, options.find);
  const known = ready.get(library.symbols);
  if (known !== undefined) return known;
  const driver = new CudaDriver(library);
  ready.set(library.symbols, driver);
  return driver;
}
