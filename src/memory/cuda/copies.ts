/**
 * Copies to, from and within the memory of a device, on streams of our own.
 *
 * A copy returns at once, with an event for its end. Memory that a copy uses is not recycled before that end, whoever
 * releases it when.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import { libc } from "../../../ffi/libc.ts";
import { DipcError } from "../../errors.ts";
import type { CudaDevice } from "./device.ts";
import type { UsedByCopies } from "./device_block.ts";
import { DeviceEvent, DONE, type EventOwner, FAILED } from "./device_event.ts";
import { EventHandles } from "./events.ts";
import { type CopyWaitOptions, waitUntil } from "./wait.ts";

/** Largest piece of a copy that the driver is given, so that long copies let others in between. */
const PIECE_BYTES = 32 << 20;

/** Options of a copy. */
export interface CopyOptions {
  /** What the copy waits for on the device, such as the end of another copy. */
  after?: readonly DeviceEvent[];
  /** Blocks and bodies that the copy reads or writes: released ones are recycled only after its end. */
  uses?: readonly UsedByCopies[];
  /** Anything that must not be collected before its end. */
  keep?: unknown;
}

/** Options of {@linkcode CopyEngine.upload} and {@linkcode CopyEngine.download}. */
export interface StagedCopyOptions extends CopyOptions, CopyWaitOptions {
  /**
   * Bytes staged at a time.
   *
   * @default {4194304}
   */
  chunkBytes?: number;
}

/** Host memory by its address; the caller keeps it. */
export interface HostRange {
  /** First byte. */
  readonly address: bigint;
  /** Its bytes. */
  readonly byteLength: number;
}

type Direction = "toDevice" | "toHost" | "onDevice";

/** The copies of one device. */
export class CopyEngine {
  readonly #device: CudaDevice;
  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /**
   * Starts a copy from pinned host memory to the device.
   *
   * @param target Device address
   * @param source Address of pinned memory; for other memory see {@linkcode upload}
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver says
   */
  copyToDevice(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    throw new DipcError("internal", `not there yet ${target} ${source} ${byteLength} ${options}`);
  }

  /**
   * Starts a copy from the device to pinned host memory, which must not be read before the event is done.
   *
   * @param target Address of pinned memory; for other memory see {@linkcode download}
   * @param source Device address
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver says
   */
  copyToHost(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    throw new DipcError("internal", `not there yet ${target} ${source} ${byteLength} ${options}`);
  }

  /**
   * Starts a copy within the memory of the device. The ranges must not overlap.
   *
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver says
   */
  copyOnDevice(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    throw new DipcError("internal", `not there yet ${target} ${source} ${byteLength} ${options}`);
  }

  /**
   * Starts a copy from the memory of another device to this one.
   *
   * @param target Address on this device
   * @param other The device that holds `source`
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver says
   */
  copyFromDevice(
    target: bigint,
    other: CudaDevice,
    source: bigint,
    byteLength: number,
    options: CopyOptions = {},
  ): DeviceEvent {
    throw new DipcError("internal", `not there yet ${target} ${other} ${source} ${byteLength} ${options}`);
  }

  /**
   * Starts to fill device memory with one byte.
   *
   * @param value 0 to 255
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver says
   */
  fill(target: bigint, value: number, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    throw new DipcError("internal", `not there yet ${target} ${value} ${byteLength} ${options}`);
  }

  /**
   * Copies any host memory to the device, staged through pinned memory in overlapped chunks. The event loop goes on
   * meanwhile; the source must not change until then.
   *
   * @param target Device address
   * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver says
   */
  upload(target: bigint, source: Uint8Array<ArrayBuffer> | HostRange, options: StagedCopyOptions = {}): Promise<void> {
    throw new DipcError("internal", `not there yet ${target} ${source} ${options}`);
  }

  /**
   * Copies from the device to any host memory, staged through pinned memory in overlapped chunks.
   *
   * @param target Filled whole
   * @param source Device address
   * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver says
   */
  download(
    target: Uint8Array<ArrayBuffer> | HostRange,
    source: bigint,
    options: StagedCopyOptions = {},
  ): Promise<void> {
    throw new DipcError("internal", `not there yet ${target} ${source} ${options}`);
  }

  /** An event for work of others; see {@linkcode CudaDevice.eventOf}. */
  eventOf(work: { stream: bigint } | { event: bigint }): DeviceEvent {
    throw new DipcError("internal", `not there yet ${work} ${this.#device}`);
  }

  /** Copies that are not known to be done. */
  get inFlight(): number {
    return 0;
  }

  /** Whether its streams are gone. */
  get isClosed(): boolean {
    return true;
  }

  /** Takes no more copies and waits for those under way. @throws {DipcError} `timeout`, `cancelled` */
  async drain(_options: CopyWaitOptions = {}): Promise<void> {}

  /** Destroys streams and events. @returns why the driver refused, where it did */
  close(): DipcError | null {
    return null;
  }
}
