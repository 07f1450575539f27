/**
 * A point in the work of a GPU that can be waited for.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import type { DipcError } from "../../errors.ts";
import type { PrimaryContext } from "./context.ts";
import { type CopyWaitOptions, waitUntil } from "./wait.ts";

/** State of a {@linkcode DeviceEvent}; the same values as those of a transport's operations. */
export const PENDING = 0, DONE = 1, FAILED = 2;

/** What an event needs to know of its device. */
export interface EventOwner {
  /** The driver. */
  readonly symbols: CudaSymbols;
  /** The context that the event was made in. */
  readonly context: PrimaryContext;
  /** Takes the `CUevent` back, once the work before it is done. */
  giveBack(handle: bigint): void;
}

/**
 * The end of a copy, or of all work that was on a stream at a moment. Settled once; cheap to poll.
 *
 * Nothing has to be released: an event that is dropped is still watched by its device.
 */
export class DeviceEvent {
  readonly #owner: EventOwner;
  readonly #action: string;
  readonly #isOurs: boolean;
  #handle: bigint;
  #state: 0 | 1 | 2 = PENDING;
  #error: DipcError | null = null;
  #isFinished = false;
  #isLost = false;
  #keep: unknown;

  /**
   * @ignore Made by a device
   * @param handle `CUevent`, recorded
   * @param action What the work does, such as `"copy 8 bytes to cuda:0"`, for messages
   * @param isOurs Whether it goes back to the device's pool of events
   * @param keep Objects that must not be collected before the work is done
   */
  constructor(owner: EventOwner, handle: bigint, action: string, isOurs: boolean, keep?: unknown) {
    this.#owner = owner;
    this.#handle = handle;
    this.#action = action;
    this.#isOurs = isOurs;
    this.#keep = keep;
  }

  /** The `CUevent`, for `cuStreamWaitEvent`; `0n` once the work is done, when there is nothing to wait for. */
  get handle(): bigint {
    return this.#handle;
  }

  /** Why it failed, if it did. */
  get error(): DipcError | null {
    return this.#error;
  }

  /**
   * Asks the driver whether the work is done. Never blocks, never throws; may be called after it has settled.
   *
   * @returns `PENDING`, `DONE` or `FAILED`
   */
  poll(): 0 | 1 | 2 {
    if (this.#state !== PENDING) return this.#state;
    try {
      const result = this.#query();
      if (result === CUDA.CUDA_SUCCESS) {
        this.#state = DONE;
        this.#finish();
      } else if (result !== CUDA.CUDA_ERROR_NOT_READY) {
        this.#error = cudaError(this.#owner.symbols, result, this.#action);
        this.#state = FAILED;
      }
    } catch (error) {
      this.#error = error as DipcError;
      this.#state = FAILED;
    }
    return this.#state;
  }

  /**
   * Waits until the work is done.
   *
   * @throws {DipcError} `timeout`, `cancelled`, or what the driver reports for the work
   */
  async done(options: CopyWaitOptions = {}): Promise<void> {
    if (this.poll() === PENDING) await waitUntil(() => this.poll() !== PENDING, this.#action, options);
    if (this.#error !== null) throw this.#error;
  }

  /**
   * Whether the GPU is certainly done with it, so that memory it used may be reused. The work of a failed event may still
   * be under way: the driver is queried again.
   */
  isFinished(): boolean {
    if (this.#isFinished) return true;
    if (this.#state === PENDING) this.poll();
    if (this.#state === PENDING || this.#isLost || this.#isFinished) return this.#isFinished;
    try {
      if (this.#query() === CUDA.CUDA_SUCCESS) this.#finish();
    } catch {
      // The context could not be made current: nothing is known yet.
    }
    return this.#isFinished;
  }

  /** @ignore Called by the device if the event could not be recorded and work before it may be under way. */
  _lose(error: DipcError): void {
    this.#error = error;
    this.#state = FAILED;
    this.#isLost = true;
  }

  /** @ignore Called by the device when nothing in its context can still be running. */
  _finishBySynchronisation(): void {
    if (this.#isFinished) return;
    if (this.#state === PENDING) this.#state = DONE;
    this.#finish();
  }

  #query(): number {
    const { context, symbols } = this.#owner;
    context.push();
    try {
      return symbols.cuEventQuery(this.#handle);
    } finally {
      context.pop();
    }
  }

  #finish(): void {
    this.#isFinished = true;
    this.#keep = undefined;
    const handle = this.#handle;
    this.#handle = 0n;
    if (this.#isOurs) this.#owner.giveBack(handle);
  }
}
