/**
 * A UCX worker, its event file descriptor and its active message handler.
 *
 * @module
 */
import type { DipcError } from "../../errors.ts";
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { addressOf, type Libc, libc } from "../../../ffi/libc.ts";
import { progressWorker } from "../../../ffi/progress.ts";
import { statusError, UCS_OK } from "../../../ffi/status.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import { AM_RECV_RNDV, amHandlerParams, LAYOUT, workerParams } from "../../../ffi/ucp_structs.ts";
import { isolateCallback } from "./callbacks.ts";
import type { UcxContext } from "./context.ts";
import { requireDescriptors } from "./descriptors.ts";
import { explanations } from "./explanations.ts";
import { type Pollable, progressLoop, type Wait } from "./loop.ts";

/** The active message id of metadata frames. */
const METADATA_ID = 0;
/** Calls of `ucp_worker_progress` in one go, at most. */
const PROGRESS_CALLS = 4;

/** What a worker's owner does with what arrives. Called from inside progress: must neither throw nor progress. */
export interface WorkerOwner {
  /** Why waits on the worker must fail, or null while they need not. */
  readonly failure: DipcError | null;
  /**
   * An active message has arrived.
   *
   * @param data Address of its bytes, or of its descriptor if `rendezvous`
   * @param size Size of the message in bytes
   * @param rendezvous Whether the data is still to be fetched
   * @returns Whether the descriptor was taken; always false for an eager message
   */
  onActiveMessage(data: bigint, size: bigint, rendezvous: boolean): boolean;
}

/** The worker being progressed: handlers belong to it. */
let current: UcxWorker | null = null;
let amCallback = 0n;

/** The active message handler, one for the isolate. */
function amHandler(): bigint {
  if (amCallback === 0n) {
    const c: Libc = libc();
    const attr = new Uint32Array(32);
    const attrAddress = addressOf(new Uint8Array(attr.buffer));
    const size = BigInt(LAYOUT.ucp_am_recv_param_t.size);
    amCallback = isolateCallback(
      { parameters: ["usize", "usize", "usize", "usize", "usize", "usize"], result: "i8" },
      (_arg, _header, _headerLength, data, length, param) => {
        const owner = current?.owner;
        if (owner === null || owner === undefined) return UCS_OK;
        c.memcpy(attrAddress, param, size);
        return owner.onActiveMessage(data, length, (attr[0] & AM_RECV_RNDV) !== 0) ? 1 : 0;
      },
    );
  }
  return amCallback;
}

function workerError(status: number): DipcError {
  const advice = "UCX found no transport that it could set up";
  return statusError(status, "create a UCX worker", [advice, ...explanations()].join("; "));
}

/** Workers that exist; for leak tests. */
export let liveWorkers = 0;

/** A UCX worker. */
export class UcxWorker implements Pollable {
  /** The context it was made in. */
  readonly context: UcxContext;
  /** `ucp_worker_h`. */
  readonly handle: bigint;
  readonly eventFd: number;
  armed = false;
  dirty = false;
  isStreaming = false;
  token = 0;
  readonly waits: Wait[] = [];
  lastActive = 0;
  /** Counts calls of `progress` that did something. */
  activity = 0;
  /** Receives what arrives; null while the worker is idle in a pool. */
  owner: WorkerOwner | null = null;
  readonly #symbols: UcpSymbols;
  /** Polls in a row that found nothing. */
  #quiet = 0;
  #isDestroyed = false;
  #deviceFailure: DipcError | null = null;

  /**
   * @param context The context to make it in, which must outlive it
   * @throws {DipcError} `ucx`, and `io` if file descriptors run out
   */
  constructor(context: UcxContext) {
    requireDescriptors();
    this.context = context;
    const symbols = this.#symbols = context.symbols;
    const out = new BigUint64Array(16);
    let status = context.within(() => symbols.ucp_worker_create(context.handle, workerParams().bytes, out));
    closeOnExec();
    if (status !== UCS_OK) throw workerError(status);
    this.handle = out[0];
    liveWorkers++;
    context.addWorker();
    const fd = new Int32Array(32);
    status = symbols.ucp_worker_get_efd(this.handle, fd);
    this.eventFd = fd[0];
    if (status === UCS_OK) {
      status = symbols.ucp_worker_set_am_recv_handler(this.handle, amHandlerParams(METADATA_ID, amHandler()).bytes);
    }
    if (status !== UCS_OK) {
      this.destroy();
      throw statusError(status, "prepare a UCX worker");
    }
  }

  get failure(): DipcError | null {
    return this.#deviceFailure ?? (this.owner === null ? null : this.owner.failure);
  }

  progress(): boolean {
    if (this.#isDestroyed) return false;
    if (this.armed) {
      this.armed = false;
      // The event that a sleeping loop waits for may be used up here.
      if (this.waits.length > 0) progressLoop().wake();
    }
    const symbols = this.#symbols, handle = this.handle;
    const outer = current;
    current = this;
    let active = false;
    if (this.#enterDevice()) {
      for (let i = 0; i < PROGRESS_CALLS && progressWorker(symbols, handle); i++) active = true;
      this.#leaveDevice();
    }
    current = outer;
    // With nothing to do, others that share the core get it: the peer, V8's own threads. Not while other workers of the isolate
    // may have something to do: on a busy machine the core does not come back for milliseconds.
    if (active) {
      this.activity++;
      this.#quiet = 0;
    } else if ((++this.#quiet & 1) === 0 && progressLoop().isAlone(this)) {
      progressLoop().turns.offerCore(this.isStreaming);
    }
    return active;
  }

  /** Advances its operations a little, for a look at what has become of a connection, and gives the core to nobody. */
  look(): void {
    const outer = current;
    current = this;
    if (!this.#isDestroyed && this.#enterDevice()) {
      for (let i = 0; i < PROGRESS_CALLS && progressWorker(this.#symbols, this.handle); i++);
      this.#leaveDevice();
    }
    current = outer;
  }

  /** Makes the GPU's context current, if there is one. A driver that refuses ends only the connection. */
  #enterDevice(): boolean {
    const { device } = this.context;
    if (device === null) return true;
    try {
      device.enter();
      return true;
    } catch (error) {
      this.#deviceFailure ??= error as DipcError;
      return false;
    }
  }

  #leaveDevice(): void {
    const { device } = this.context;
    if (device === null) return;
    try {
      device.leave();
    } catch (error) {
      this.#deviceFailure ??= error as DipcError;
    }
  }

  /** Whether the GPU's driver has refused its context, so that the worker is unusable. */
  get isBroken(): boolean {
    return this.#deviceFailure !== null;
  }

  arm(): boolean {
    if (this.#isDestroyed || !this.#enterDevice()) return this.armed = false;
    this.armed = this.#symbols.ucp_worker_arm(this.handle) === UCS_OK;
    this.#leaveDevice();
    return this.armed;
  }

  /** Destroys the worker. Its endpoints must be closed. Memory of requests that never completed is free afterwards. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.owner = null;
    progressLoop().forget(this);
    // Even if the GPU's driver refuses its context: UCX then leaks less than a worker.
    const isEntered = this.#enterDevice();
    this.#symbols.ucp_worker_destroy(this.handle);
    if (isEntered) this.#leaveDevice();
    liveWorkers--;
    this.context.removeWorker();
  }
}
