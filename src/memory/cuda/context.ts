/**
 * The primary context of a device, and the one place that makes it current on the calling thread.
 *
 * The driver keeps a stack of contexts for each thread. Whatever another part of the process has made current is
 * restored afterwards.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import type { DipcError } from "../../errors.ts";

/**
 * Calls a function that releases something. If it fails it is called once more: an error that the driver kept from
 * earlier work may be reported by any call.
 *
 * @param release Returns a `CUresult`
 * @returns 0, or the `CUresult` of the second call
 */
export function releaseTwice(release: () => number): number {
  const result = release();
  return result === CUDA.CUDA_SUCCESS ? result : release();
}

/** A retained primary context. */
export class PrimaryContext {
  /** `CUcontext`. */
  readonly handle: bigint;
  readonly #symbols: CudaSymbols;
  readonly #device: number;
  readonly #space: string;
  readonly #popped = new BigUint64Array(1);
  #isReleased = false;

  /**
   * Retains the context.
   *
   * @param symbols The driver
   * @param device `CUdevice`
   * @param space The device's memory space, for messages
   * @throws {DipcError} What the driver reports
   */
  constructor(symbols: CudaSymbols, device: number, space: string) {
    this.#symbols = symbols;
    this.#device = device;
    this.#space = space;
    const out = new BigUint64Array(1);
    const result = symbols.cuDevicePrimaryCtxRetain(out, device);
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(symbols, result, `retain the primary context of ${space}`);
    this.handle = out[0];
  }

  /**
   * Makes the context current on this thread until {@linkcode pop}. No `await` may come in between.
   *
   * @throws {DipcError} What the driver reports; then nothing must be popped
   */
  push(): void {
    const result = this.#symbols.cuCtxPushCurrent_v2(this.handle);
    if (result !== CUDA.CUDA_SUCCESS) {
      throw cudaError(this.#symbols, result, `make the context of ${this.#space} current`);
    }
  }

  /**
   * Makes current again what was current before {@linkcode push}.
   *
   * @throws {DipcError} What the driver reports, also at the second try
   */
  pop(): void {
    const result = releaseTwice(() => this.#symbols.cuCtxPopCurrent_v2(this.#popped));
    if (result !== CUDA.CUDA_SUCCESS) {
      throw cudaError(this.#symbols, result, `leave the context of ${this.#space}`);
    }
  }

  /**
   * Runs `fn` with the context current on this thread.
   *
   * @param fn Must not be asynchronous: after an `await` the context is no longer current
   * @returns What `fn` returned
   * @throws {DipcError} What the driver reports; what `fn` threw
   */
  run<T>(fn: () => T): T {
    this.push();
    try {
      return fn();
    } finally {
      this.pop();
    }
  }

  /** Gives the context back to the driver. Idempotent. @returns why it failed, if it did */
  release(): DipcError | null {
    if (this.#isReleased) return null;
    this.#isReleased = true;
    const result = releaseTwice(() => this.#symbols.cuDevicePrimaryCtxRelease_v2(this.#device));
    return result === CUDA.CUDA_SUCCESS
      ? null
      : cudaError(this.#symbols, result, `release the primary context of ${this.#space}`);
  }
}
