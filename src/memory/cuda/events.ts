/**
 * Recycled `CUevent`s: making one for each copy would cost more than a small copy.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import type { DipcError } from "../../errors.ts";
import { releaseTwice } from "./context.ts";

/** Free events kept. */
const MAX_FREE = 256;

/** Events of one context. Its context must be current on every call. */
export class EventHandles {
  readonly #symbols: CudaSymbols;
  readonly #free: bigint[] = [];
  readonly #out = new BigUint64Array(1);
  #made = 0;
  #firstFailure: DipcError | null = null;

  /** Makes none yet. @param symbols The driver */
  constructor(symbols: CudaSymbols) {
    this.#symbols = symbols;
  }

  /** Events that exist. */
  get count(): number {
    return this.#made;
  }

  /** An event without timing. @throws {DipcError} What the driver reports */
  take(): bigint {
    const known = this.#free.pop();
    if (known !== undefined) return known;
    const result = this.#symbols.cuEventCreate(this.#out, CUDA.CU_EVENT_DISABLE_TIMING);
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(this.#symbols, result, "make an event");
    this.#made++;
    return this.#out[0];
  }

  /** Keeps an event whose work is done for the next copy. */
  giveBack(handle: bigint): void {
    if (this.#free.length < MAX_FREE) this.#free.push(handle);
    else this.#destroy(handle);
  }

  /** Destroys the free events. @returns why the driver refused, if it did */
  close(): DipcError | null {
    for (const handle of this.#free.splice(0)) this.#destroy(handle);
    return this.#firstFailure;
  }

  #destroy(handle: bigint): void {
    const result = releaseTwice(() => this.#symbols.cuEventDestroy_v2(handle));
    if (result === CUDA.CUDA_SUCCESS) this.#made--;
    else this.#firstFailure ??= cudaError(this.#symbols, result, "destroy an event");
  }
}
