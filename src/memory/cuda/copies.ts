/**
 * Copies to, from and within the memory of a device, on streams of their own.
 *
 * A copy returns at once, with an event for its end. Memory that a copy uses is not recycled before that end,
 * whenever it is released.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import { type DipcError, LocalError } from "../../errors.ts";
import { type PrimaryContext, releaseTwice } from "./context.ts";
import type { CopyOptions } from "./copy_options.ts";
import { DeviceEvent, DONE, type EventOwner, FAILED } from "./device_event.ts";
import { EventHandles } from "./events.ts";
import { download, type HostRange, type StagedCopyOptions, upload } from "./staging.ts";
import type { PinnedPool } from "./pinned_pool.ts";
import { type CopyWaitOptions, waitUntil } from "./wait.ts";

/** Largest piece of a copy that the driver is given, so that other copies can run between the pieces of a long one. */
const PIECE_BYTES = 32 << 20;

/** `others` has no copies: it waits for work of other code. */
type Direction = "toDevice" | "toHost" | "onDevice" | "others";

/** Starts one piece of a copy. @returns a `CUresult` */
type Issue = (stream: bigint, offset: bigint, byteLength: bigint) => number;

/** What copies need of their device. */
export interface CopyHost {
  readonly symbols: CudaSymbols;
  readonly context: PrimaryContext;
  /** `"cuda:N"`. */
  readonly space: string;
  /** Pinned memory through which other host memory is copied. */
  readonly pinned: PinnedPool;
  /** Gives something back to the driver, even if it reports errors. @returns why that failed */
  _release(action: string, call: () => number): DipcError | null;
}

/** The copies of one device. */
export class CopyEngine {
  readonly #device: CopyHost;
  readonly #handles: EventHandles;
  readonly #owner: EventOwner;
  /** `CUstream` of each direction, made when it is first needed. */
  readonly #streams = new Map<Direction, bigint>();
  /** Events whose work may be under way, oldest first. */
  #inFlight: DeviceEvent[] = [];
  #reapAt = 16;
  #isDraining = false;
  #isClosed = false;

  /** @ignore Made by a device */
  constructor(device: CopyHost) {
    this.#device = device;
    this.#handles = new EventHandles(device.symbols);
    this.#owner = {
      symbols: device.symbols,
      context: device.context,
      giveBack: (handle) => this.#handles.giveBack(handle),
    };
  }

  /** Copies that are not known to be done. */
  get inFlight(): number {
    this.#reap();
    return this.#inFlight.length;
  }

  /** Whether its streams are gone. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Starts a copy from pinned host memory to the device.
   *
   * @param target Device address
   * @param source Address of pinned memory; for other memory see {@linkcode upload}
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver reports
   */
  copyToDevice(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    const { cuMemcpyHtoDAsync_v2 } = this.#device.symbols;
    return this.#start(
      "toDevice",
      `copy ${byteLength} bytes to ${this.#device.space}`,
      byteLength,
      options,
      (stream, offset, bytes) => cuMemcpyHtoDAsync_v2(target + offset, source + offset, bytes, stream),
    );
  }

  /**
   * Starts a copy from the device to pinned host memory, which must not be read before the event is done.
   *
   * @param target Address of pinned memory; for other memory see {@linkcode download}
   * @param source Device address
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver reports
   */
  copyToHost(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    const { cuMemcpyDtoHAsync_v2 } = this.#device.symbols;
    return this.#start(
      "toHost",
      `copy ${byteLength} bytes from ${this.#device.space}`,
      byteLength,
      options,
      (stream, offset, bytes) => cuMemcpyDtoHAsync_v2(target + offset, source + offset, bytes, stream),
    );
  }

  /**
   * Starts a copy within the memory of the device. The ranges must not overlap.
   *
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver reports
   */
  copyOnDevice(target: bigint, source: bigint, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    const { cuMemcpyDtoDAsync_v2 } = this.#device.symbols;
    return this.#start(
      "onDevice",
      `copy ${byteLength} bytes within ${this.#device.space}`,
      byteLength,
      options,
      (stream, offset, bytes) => cuMemcpyDtoDAsync_v2(target + offset, source + offset, bytes, stream),
    );
  }

  /**
   * Starts a copy from the memory of another device to this one.
   *
   * @param target Address on this device
   * @param other The device that holds `source`
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver reports
   */
  copyFromDevice(
    target: bigint,
    other: CopyHost,
    source: bigint,
    byteLength: number,
    options: CopyOptions = {},
  ): DeviceEvent {
    const { context, space, symbols } = this.#device;
    const to = context.handle, from = other.context.handle;
    return this.#start(
      "onDevice",
      `copy ${byteLength} bytes from ${other.space} to ${space}`,
      byteLength,
      options,
      (stream, offset, bytes) => symbols.cuMemcpyPeerAsync(target + offset, to, source + offset, from, bytes, stream),
    );
  }

  /**
   * Starts to fill device memory with one byte.
   *
   * @param value 0 to 255
   * @throws {DipcError} `closed`, `invalid_argument`; what the driver reports
   */
  fill(target: bigint, value: number, byteLength: number, options: CopyOptions = {}): DeviceEvent {
    const { cuMemsetD8Async } = this.#device.symbols;
    return this.#start(
      "onDevice",
      `fill ${byteLength} bytes of ${this.#device.space}`,
      byteLength,
      options,
      (stream, offset, bytes) => cuMemsetD8Async(target + offset, value, bytes, stream),
    );
  }

  /**
   * Copies any host memory to the device, staged through pinned memory in overlapped chunks. The event loop
   * continues meanwhile; the source must not change until then.
   *
   * @param target Device address
   * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver reports
   */
  upload(target: bigint, source: Uint8Array<ArrayBuffer> | HostRange, options: StagedCopyOptions = {}): Promise<void> {
    return upload(this.#device.pinned, this, target, source, options);
  }

  /**
   * Copies from the device to any host memory, staged through pinned memory in overlapped chunks.
   *
   * @param target Filled completely
   * @param source Device address
   * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver reports
   */
  download(
    target: Uint8Array<ArrayBuffer> | HostRange,
    source: bigint,
    options: StagedCopyOptions = {},
  ): Promise<void> {
    return download(this.#device.pinned, this, target, source, options);
  }

  /**
   * Records an event of the caller's after copies.
   *
   * @param handle `CUevent`
   * @param options Ends of the copies, and what must outlive the record
   * @returns An event for the same moment
   * @throws {DipcError} `closed`; what the driver reports
   */
  record(handle: bigint, options: CopyOptions): DeviceEvent {
    const { symbols, space } = this.#device;
    // A copy of one piece, as it were.
    return this.#start("others", `record an event of ${space}`, 1, options, (s) => symbols.cuEventRecord(handle, s));
  }

  /** An event for work of other code; see the device's own `eventOf`. */
  eventOf(work: { stream: bigint } | { event: bigint }): DeviceEvent {
    this.#checkOpen("wait for work of others");
    const { context, space, symbols } = this.#device;
    const action = "event" in work
      ? `wait for an event of others on ${space}`
      : `wait for a stream of others on ${space}`;
    return context.run(() => {
      let stream: bigint;
      if ("event" in work) {
        // An event of this engine after it, so that the caller may destroy or record its own again from now on.
        stream = this.#stream("others");
        this.#check(symbols.cuStreamWaitEvent(stream, work.event, CUDA.CU_EVENT_WAIT_DEFAULT), action);
      } else {
        stream = work.stream;
      }
      const handle = this.#handles.take();
      try {
        this.#check(symbols.cuEventRecord(handle, stream), action);
      } catch (error) {
        this.#handles.giveBack(handle);
        throw error;
      }
      return this.#watch(new DeviceEvent(this.#owner, handle, action, true));
    });
  }

  /**
   * Accepts no more copies and waits for those under way. If it fails, copies may be started again.
   *
   * @throws {DipcError} `timeout`, `cancelled`
   */
  async drain(options: CopyWaitOptions = {}): Promise<void> {
    if (this.#isClosed) return;
    this.#isDraining = true;
    try {
      // Events that failed cannot be waited for; they are settled below.
      const isOver = () => this.#inFlight.every((event) => event.isFinished() || event.poll() === FAILED);
      await waitUntil(isOver, `finish the copies of ${this.#device.space} that are under way`, options);
    } catch (error) {
      this.#isDraining = false;
      throw error;
    }
    this.#reap();
    if (this.#inFlight.length === 0) return;
    // This blocks, but only for what was under way when the driver reported an error. If it fails too, the context is
    // unusable, and nothing runs in it any more.
    this.#device._release("wait for the end of all work", () => this.#device.symbols.cuCtxSynchronize());
    for (const event of this.#inFlight.splice(0)) event._finishBySynchronisation();
  }

  /** Destroys streams and events; {@linkcode drain} comes first. @returns why the driver refused, if it did */
  close(): DipcError | null {
    if (this.#isClosed) return null;
    this.#isClosed = true;
    const { symbols, space } = this.#device;
    let failure: DipcError | null = null;
    for (const stream of this.#streams.values()) {
      const error = this.#device._release(
        `destroy a stream of ${space}`,
        () => symbols.cuStreamDestroy_v2(stream),
      );
      failure ??= error;
    }
    this.#streams.clear();
    if (this.#handles.count > 0) {
      const error = this.#device._release(`destroy events of ${space}`, () => {
        failure ??= this.#handles.close();
        return CUDA.CUDA_SUCCESS;
      });
      failure ??= error;
    }
    return failure;
  }

  #start(
    direction: Direction,
    action: string,
    byteLength: number,
    options: CopyOptions,
    issue: Issue,
  ): DeviceEvent {
    this.#checkOpen(action);
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new LocalError("invalid_argument", `cannot ${action}: the size must be an integer of 0 or more`);
    }
    if (this.#inFlight.length >= this.#reapAt) this.#reap();
    return this.#device.context.run(() => {
      const stream = this.#stream(direction);
      for (const event of options.after ?? []) this.#order(stream, event, action);
      // Taken before the copy starts: without one, a copy that has started could not be waited for.
      const handle = this.#handles.take();
      const event = new DeviceEvent(this.#owner, handle, action, true, options.keep);
      let issued = 0;
      this.#use(options, event);
      try {
        for (; issued < byteLength; issued += PIECE_BYTES) {
          const piece = Math.min(PIECE_BYTES, byteLength - issued);
          this.#check(issue(stream, BigInt(issued), BigInt(piece)), action);
        }
        this.#check(this.#device.symbols.cuEventRecord(handle, stream), `${action} and record the end`);
      } catch (error) {
        this.#abandon(event, stream, error as DipcError);
        throw error;
      }
      return this.#watch(event);
    });
  }

  /** Settles a copy that was started only in part; its pieces may be under way. */
  #abandon(event: DeviceEvent, stream: bigint, error: DipcError): void {
    const { symbols } = this.#device;
    const record = () => symbols.cuEventRecord(event.handle, stream);
    if (releaseTwice(record) === CUDA.CUDA_SUCCESS) {
      this.#watch(event);
    } else if (releaseTwice(() => symbols.cuStreamSynchronize(stream)) === CUDA.CUDA_SUCCESS) {
      event._finishBySynchronisation();
    } else {
      event._lose(error);
      this.#watch(event);
    }
  }

  #use(options: CopyOptions, event: DeviceEvent): void {
    try {
      for (const memory of options.uses ?? []) memory.usedBy(event);
    } catch (error) {
      event._finishBySynchronisation();
      throw error;
    }
  }

  /** Makes later work on a stream wait for an event. */
  #order(stream: bigint, event: DeviceEvent, action: string): void {
    const state = event.poll();
    if (state === DONE) return;
    if (state === FAILED) throw event.error!;
    const { symbols } = this.#device;
    const result = symbols.cuStreamWaitEvent(stream, event.handle, CUDA.CU_EVENT_WAIT_DEFAULT);
    this.#check(result, `${action} after other work`);
  }

  #watch(event: DeviceEvent): DeviceEvent {
    this.#inFlight.push(event);
    return event;
  }

  /** Forgets the events that are finished, and gives their handles back. */
  #reap(): void {
    this.#inFlight = this.#inFlight.filter((event) => !event.isFinished());
    // Polling all of them each time would cost more with each copy that is under way.
    this.#reapAt = 16 + 2 * this.#inFlight.length;
  }

  #stream(direction: Direction): bigint {
    const known = this.#streams.get(direction);
    if (known !== undefined) return known;
    const out = new BigUint64Array(1);
    const result = this.#device.symbols.cuStreamCreate(out, CUDA.CU_STREAM_NON_BLOCKING);
    this.#check(result, `make a stream on ${this.#device.space}`);
    this.#streams.set(direction, out[0]);
    return out[0];
  }

  #check(result: number, action: string): void {
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(this.#device.symbols, result, action);
  }

  #checkOpen(action: string): void {
    if (this.#isDraining) {
      throw new LocalError("closed", `cannot ${action}: the device ${this.#device.space} was closed`);
    }
  }
}
