/**
 * A GPU whose memory is used: its context, its pools, and its copies.
 *
 * @module
 */
import type { CudaLibrary } from "../../../ffi/cuda.ts";
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import type { DipcError } from "../../errors.ts";
import { PrimaryContext, releaseTwice } from "./context.ts";
import { CopyEngine } from "./copies.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { DeviceInfo } from "./device_info.ts";
import { type CudaPoolOptions, DevicePool } from "./device_pool.ts";
import { DeviceIpc } from "./ipc.ts";
import { PinnedPool } from "./pinned_pool.ts";
import { checkDeviceRange, describePointer, type PointerInfo } from "./pointer.ts";
import type { RawMemory } from "./slabs.ts";
import type { CopyWaitOptions } from "./wait.ts";

/** What a device needs of the driver. */
export interface DeviceDriver {
  /** Its functions, and where they came from. */
  readonly library: CudaLibrary;
  readonly symbols: CudaSymbols;
  /** The newest CUDA that it supports, such as `"12.9"`. */
  readonly version: string;
  /** Number of devices that this process may see. */
  readonly deviceCount: number;
  /** @throws {DipcError} for a result other than `CUDA_SUCCESS` */
  check(result: number, action: string): void;
}

/** Options of a {@linkcode Gpu}. */
export interface GpuOptions {
  /** Limits of its device memory. */
  pool?: CudaPoolOptions;
  /** Limits of its pinned host memory. */
  pinned?: CudaPoolOptions;
}

/** A GPU with pools and streams of its own. */
export class Gpu implements AsyncDisposable {
  /** The driver. */
  readonly driver: DeviceDriver;
  /** @ignore Its functions */
  readonly symbols: CudaSymbols;
  /** What the driver reports about it. */
  readonly info: DeviceInfo;
  /** Its memory space, such as `"cuda:0"`. */
  readonly space: string;
  /** Its primary context, and what makes it current. */
  readonly context: PrimaryContext;
  /** Its memory. */
  readonly pool: DevicePool;
  /** Pinned host memory for its copies. */
  readonly pinned: PinnedPool;
  /** Copies to, from and within its memory. */
  readonly copies: CopyEngine;
  /** What it shares with other processes. */
  readonly ipc: DeviceIpc;
  #closing: Promise<void> | null = null;
  #isClosed = false;
  #lateFailure: DipcError | null = null;

  /**
   * @ignore Made by `CudaDriver.openDevice`
   * @throws {DipcError} What the driver reports
   */
  constructor(driver: DeviceDriver, info: DeviceInfo, options: GpuOptions = {}) {
    this.driver = driver;
    this.symbols = driver.symbols;
    this.info = info;
    this.space = info.space;
    this.context = new PrimaryContext(driver.symbols, info.handle, info.space);
    this.pool = new DevicePool(info.space, this.#deviceMemory(), options.pool);
    this.pinned = new PinnedPool(this.#pinnedMemory(), options.pinned);
    this.copies = new CopyEngine(this);
    this.ipc = new DeviceIpc(this, () => this.#releaseIfEmpty());
  }

  /**
   * Runs `fn` with the device's context current on this thread, as UCX needs it on every call with device memory. What was
   * current before is restored afterwards.
   *
   * @param fn Must not be asynchronous: after an `await` the context is no longer current
   * @throws {DipcError} What the driver reports; what `fn` threw
   */
  withContext<T>(fn: () => T): T {
    return this.context.run(fn);
  }

  /** Free and total memory of the device, of all processes, in bytes. @throws {DipcError} What the driver reports */
  memory(): { freeBytes: number; totalBytes: number } {
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
    this.driver.check(
      this.context.run(() => this.symbols.cuMemGetInfo_v2(free, total)),
      `query the free memory of ${this.space}`,
    );
    return { freeBytes: Number(free[0]), totalBytes: Number(total[0]) };
  }

  /**
   * What the driver knows of an address: host or device memory, of which device, and the allocation around it.
   *
   * @throws {DipcError} What the driver reports
   */
  describePointer(address: bigint): PointerInfo {
    return this.context.run(() => describePointer(this.symbols, address));
  }

  /**
   * Checks that all of a range is memory of this device before the range is used: an address of other memory would crash
   * the process or corrupt data.
   *
   * @param address First byte
   * @param byteLength 0 or more; a range of 0 bytes may have any address
   * @param what Name of the range, for the message, such as `"the validity buffer of column 2"`
   * @throws {DipcError} `invalid_argument` stating what the memory is instead, and from which byte on
   */
  checkRange(address: bigint, byteLength: number, what: string): void {
    this.context.run(() => checkDeviceRange(this.symbols, this.space, this.info.ordinal, address, byteLength, what));
  }

  /**
   * An event for work of other code on this device: what is on a stream now, or what a recorded event stands for.
   *
   * @param work A `CUstream` of the primary context (0 for the default stream), or a recorded `CUevent`, which
   * may be destroyed or recorded again from now on
   * @throws {DipcError} What the driver reports
   */
  eventOf(work: { stream: bigint } | { event: bigint }): DeviceEvent {
    return this.copies.eventOf(work);
  }

  /**
   * Waits for its copies, then releases streams, events and free memory. Blocks that are still out go back to the driver
   * when they are released; the context follows the last one. Idempotent; after a `timeout` or `cancelled` it may be called
   * again.
   *
   * @throws {DipcError} `timeout`, `cancelled`; what the driver reported if it refused to take something back
   */
  close(options: CopyWaitOptions = {}): Promise<void> {
    return this.#closing ??= this.#close(options).catch((error) => {
      if (!this.#isClosed) this.#closing = null;
      throw error;
    });
  }

  /** The same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(options: CopyWaitOptions): Promise<void> {
    await this.copies.drain(options);
    this.ipc.afterCopies.reap();
    this.#isClosed = true;
    const failures = [this.pool._close(), this.pinned._close(), this.copies.close(), this.ipc.firstFailure];
    this.#releaseIfEmpty();
    const failure = [...failures, this.#lateFailure].find((error) => error !== null);
    if (failure) throw failure;
  }

  #releaseIfEmpty(): void {
    if (this.#isClosed && this.pool._isEmpty && this.pinned._isEmpty && this.ipc.isEmpty && this.copies.isClosed) {
      this.#lateFailure ??= this.context.release();
    }
  }

  /**
   * Gives something back to the driver, even if it reports errors. @ignore
   *
   * @param call Returns a `CUresult`
   * @returns why it failed twice, or null
   */
  _release(action: string, call: () => number): DipcError | null {
    try {
      this.context.push();
    } catch {
      try {
        this.context.push();
      } catch (error) {
        return error as DipcError;
      }
    }
    const result = releaseTwice(call);
    const failure = result === CUDA.CUDA_SUCCESS ? null : cudaError(this.symbols, result, action);
    try {
      this.context.pop();
    } catch (error) {
      return failure ?? error as DipcError;
    }
    return failure;
  }

  #allocate(byteLength: number, what: string, call: (out: BigUint64Array<ArrayBuffer>) => number): bigint {
    const out = new BigUint64Array(1);
    const result = this.context.run(() => call(out));
    if (result !== CUDA.CUDA_SUCCESS) {
      throw cudaError(this.symbols, result, `allocate ${byteLength} bytes of ${what}`);
    }
    return out[0];
  }

  #deviceMemory(): RawMemory {
    const what = `device memory of ${this.space}`;
    const { symbols } = this;
    return {
      what,
      allocate: (byteLength) =>
        this.#allocate(byteLength, what, (out) => symbols.cuMemAlloc_v2(out, BigInt(byteLength))),
      free: (address) => {
        const failure = this._release(`free ${what}`, () => symbols.cuMemFree_v2(address));
        this.#releaseIfEmpty();
        return failure;
      },
    };
  }

  #pinnedMemory(): RawMemory {
    const what = `pinned host memory for ${this.space}`;
    const { symbols } = this;
    const flags = CUDA.CU_MEMHOSTALLOC_PORTABLE;
    return {
      what,
      allocate: (byteLength) =>
        this.#allocate(byteLength, what, (out) => symbols.cuMemHostAlloc(out, BigInt(byteLength), flags)),
      free: (address) => {
        const failure = this._release(`free ${what}`, () => symbols.cuMemFreeHost(address));
        this.#releaseIfEmpty();
        return failure;
      },
    };
  }
}
