/**
 * A channel over UCX: one worker, and one or two endpoints.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import { isStatusError, pointerStatus, statusError, UCS_ERR_CONNECTION_RESET } from "../../../ffi/status.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import type { Block, Body } from "../../memory/block.ts";
import type { StreamRole } from "../../protocol/role.ts";
import type {
  Channel,
  CloseChannelOptions,
  KeepOptions,
  Operation,
  Receive,
  RemoteMemory,
  UnexpectedMessage,
  UntilOptions,
} from "../transport.ts";
import {
  type ChannelLimits,
  type ConnectionKeeper,
  cutConnection,
  type OpenConnection,
  type WorkerReturn,
} from "./connection.ts";
import { endConnection } from "./end_connection.ts";
import type { UcxEndpoint } from "./endpoint.ts";
import { FrameFetches } from "./frame_fetches.ts";
import { FrameSends } from "./frame_sends.ts";
import { FrameQueue, SLOT_BYTES } from "./frames.ts";
import { progressLoop } from "./loop.ts";
import { noRemoteMemory, UcxRemoteMemory } from "./remote_memory.ts";
import { type RequestParams, sharedParams } from "./request_params.ts";
import {
  closedError,
  FailedOperation,
  requestError,
  RequestList,
  tagInfo,
  tagInfoAddress,
  UcxReceive,
  UcxRequest,
} from "./operations.ts";
import { refuseSpace } from "./cuda_support.ts";
import type { UcxWorker, WorkerOwner } from "./worker.ts";

/** A UCX channel. Made by the transport. */
export class UcxChannel implements Channel, WorkerOwner {
  failure: DipcError | null = null;
  /** Whether UCX has reported the end of a connection; other failures are this side's. */
  #isLost = false;
  transportsReason = "";
  readonly isReused: boolean;
  readonly #worker: UcxWorker;
  readonly #symbols: UcpSymbols;
  readonly #handle: bigint;
  readonly #limits: ChannelLimits;
  readonly #returnWorker: WorkerReturn;
  readonly #keeper: ConnectionKeeper | null;
  readonly #requests: RequestList;
  readonly #frames: FrameQueue;
  readonly #params: RequestParams;
  readonly #fetches: FrameFetches;
  readonly #sends: FrameSends;
  #endpoints: UcxEndpoint[] = [];
  readonly #peers: string[] = [];
  #metadataEndpoint = 0n;
  #bodyEndpoint = 0n;
  readonly #remote: UcxRemoteMemory[] = [];
  #closing: Promise<void> | null = null;
  #isClosed = false;
  #transports: readonly string[] = [];
  #lastLength = -1;
  #lastSize = 0n;

  /**
   * @param worker The worker, which the channel owns from now on
   * @param limits Limits on frames
   * @param returnWorker Called when the channel no longer needs the worker
   * @param keeper Called instead, if its connection is kept
   * @param reused The connection that is attached next, if it has carried a stream before
   */
  constructor(
    worker: UcxWorker,
    limits: ChannelLimits,
    returnWorker: WorkerReturn,
    keeper: ConnectionKeeper | null = null,
    reused: OpenConnection | null = null,
  ) {
    this.#worker = worker;
    this.#keeper = keeper;
    this.isReused = reused !== null;
    this.#frames = reused?.memory.frames ?? new FrameQueue();
    if (reused !== null) {
      this.#transports = reused.transports;
      this.transportsReason = reused.transportsReason;
    }
    this.#symbols = worker.context.symbols;
    this.#handle = worker.handle;
    this.#limits = limits;
    this.#returnWorker = returnWorker;
    this.#params = sharedParams(worker.context.ucp.version);
    this.#requests = new RequestList(this.#symbols, worker.handle);
    this.#sends = new FrameSends(this.#requests, this.#params, reused?.memory.sendSlots ?? []);
    this.#fetches = new FrameFetches(this.#frames, this.#requests, {
      ...{ symbols: this.#symbols, worker: worker.handle, params: this.#params.plain },
      onRequest: () => this.#wakeWorker(),
    });
    worker.owner = this;
    worker.isStreaming = false;
  }

  /**
   * Adds the connection for both roles, or for metadata first and for bodies second.
   *
   * @param endpoint An endpoint of this channel's worker
   * @param peer Name of the peer in error messages
   */
  attach(endpoint: UcxEndpoint, peer: string): void {
    if (this.#endpoints.length === 0) this.#metadataEndpoint = endpoint.handle;
    this.#bodyEndpoint = endpoint.handle;
    this.#endpoints.push(endpoint);
    this.#peers.push(peer);
    endpoint.onFailure = () => {
      const status = endpoint.failedStatus;
      this.#isLost = true;
      this.failure ??= statusError(
        status,
        status === UCS_ERR_CONNECTION_RESET
          ? `continue the stream: ${peer} closed the connection`
          : `continue the stream: the connection to ${peer} was lost`,
        undefined,
        "connection_lost",
      );
    };
    if (endpoint.failedStatus !== 0) endpoint.onFailure();
  }

  get transports(): readonly string[] {
    if (this.#transports.length === 0 && !this.#isClosed && this.#closing === null) {
      this.#transports = [...new Set(this.#endpoints.flatMap((endpoint) => endpoint.transports()))];
    }
    return this.#transports;
  }

  get activity(): number {
    return this.#worker.activity;
  }

  get isQuiet(): boolean {
    if (this.#closing !== null || this.failure !== null || this.#worker.isBroken) return false;
    return this.#frames.count === 0 && (this.#requests.count === 0 || this.#requests.pollAll());
  }

  get queuedFrames(): number {
    return this.#frames.count;
  }

  get queuedFrameBytes(): number {
    return this.#frames.bytes;
  }

  progress(): boolean {
    if (this.#isClosed) return false;
    const active = this.#worker.progress();
    if (this.#fetches.count > 0) this.#fetchFrames();
    return active;
  }

  until(step: () => boolean, options?: UntilOptions): Promise<boolean> {
    if (this.#closing !== null) return Promise.reject(closedError());
    return progressLoop().until(this.#worker, () => {
      if (this.#closing !== null) throw closedError();
      if (this.#fetches.count > 0) this.#fetchFrames();
      return step();
    }, options);
  }

  takeFrame(): Uint8Array<ArrayBuffer> | null {
    if (this.#isClosed) return null; // its frames may be those of another stream by now
    if (this.#fetches.count > 0) this.#fetchFrames();
    return this.#frames.take();
  }

  receive(tag: bigint, mask: bigint, target: Block, byteLength: number): Receive {
    // Allowed on a failed channel: what the peer sent before its end may still be there.
    if (this.#closing !== null) return new FailedOperation(closedError());
    if (!(byteLength >= 0 && byteLength <= target.capacity)) {
      throw new LocalError(
        "invalid_argument",
        `cannot post a receive of ${byteLength} bytes: its block has ${target.capacity} bytes`,
      );
    }
    const size = this.#size(byteLength);
    let request: bigint;
    if (target.space === "host") {
      request = this.#symbols.ucp_tag_recv_nbx(this.#handle, target.address, size, tag, mask, this.#params.receive);
    } else {
      const { deviceReceive } = this.#params;
      const started = this.#onDevice(
        target.space,
        () => this.#symbols.ucp_tag_recv_nbx(this.#handle, target.address, size, tag, mask, deviceReceive),
      );
      if (started instanceof DipcError) return new FailedOperation(started);
      request = started;
    }
    if (isStatusError(request)) return new FailedOperation(requestError(pointerStatus(request)));
    this.#wakeWorker();
    const receive = new UcxReceive(this.#requests, request, target);
    if (request === 0n) receive.completeAtOnce();
    return receive;
  }

  probe(): UnexpectedMessage | null {
    if (this.#isClosed) return null;
    if (this.#symbols.ucp_tag_probe_nb(this.#handle, 0n, 0n, 0, tagInfoAddress()) === 0n) return null;
    return { tag: tagInfo[0], byteLength: Number(tagInfo[1]) };
  }

  sendFrame(type: number, sequence: number, payload: Uint8Array | null, rendezvous = false): Operation | null {
    if (this.#closing !== null) return new FailedOperation(closedError());
    if (this.failure !== null) return new FailedOperation(this.failure);
    const send = this.#sends.send(this.#metadataEndpoint, type, sequence, payload, rendezvous);
    if (send === null) this.#worker.dirty = true; // the sender may have more to send
    else this.#wakeWorker();
    return send;
  }

  sendTagged(tag: bigint, body: Body, synchronous: boolean, role: StreamRole = "both"): Operation | null {
    if (this.#closing !== null) return new FailedOperation(closedError());
    if (this.failure !== null) return new FailedOperation(this.failure);
    const endpoint = role === "metadata" ? this.#metadataEndpoint : this.#bodyEndpoint;
    const size = this.#size(body.byteLength);
    let request: bigint;
    if (body.space === "host") {
      request = synchronous
        ? this.#symbols.ucp_tag_send_sync_nbx(endpoint, body.address, size, tag, this.#params.plain)
        : this.#symbols.ucp_tag_send_nbx(endpoint, body.address, size, tag, this.#params.plain);
    } else {
      const { deviceSend } = this.#params;
      const started = this.#onDevice(
        body.space,
        () =>
          synchronous
            ? this.#symbols.ucp_tag_send_sync_nbx(endpoint, body.address, size, tag, deviceSend)
            : this.#symbols.ucp_tag_send_nbx(endpoint, body.address, size, tag, deviceSend),
      );
      if (started instanceof DipcError) return new FailedOperation(started);
      request = started;
    }
    if (request === 0n) {
      this.#worker.dirty = true;
      return null;
    }
    if (isStatusError(request)) return new FailedOperation(requestError(pointerStatus(request)));
    this.#wakeWorker();
    return new UcxRequest(this.#requests, request, body);
  }

  openRemote(key: Uint8Array): RemoteMemory {
    if (this.#closing !== null) throw closedError();
    if (!this.#worker.context.hasRemoteMemory) throw noRemoteMemory();
    const memory = new UcxRemoteMemory({
      ...{ symbols: this.#symbols, endpoint: this.#bodyEndpoint, requests: this.#requests },
      onRequest: () => this.#wakeWorker(),
    }, key);
    this.#remote.push(memory);
    return memory;
  }

  /** Starts a request on memory of a GPU, if UCX may be given it. @returns the request, or why there is none */
  #onDevice(space: string, start: () => bigint): bigint | DipcError {
    const { context } = this.#worker;
    const refusal = refuseSpace(context, space);
    if (refusal !== null) return refusal;
    try {
      return context.within(start);
    } catch (error) {
      return error as DipcError;
    }
  }

  /** @ignore Called by the worker from inside progress. */
  onActiveMessage(data: bigint, size: bigint, rendezvous: boolean): boolean {
    if (this.#closing !== null) return false;
    // The news that a connection was lost overtakes what was sent on it; but nothing can be fetched from there.
    if (this.failure !== null && (!this.#isLost || rendezvous)) return false;
    const length = Number(size);
    // A queued frame costs its slot, however short it is.
    const queued = this.#frames.bytes + this.#frames.count * SLOT_BYTES;
    if (length > this.#limits.maxFrameBytes || queued + length > this.#limits.maxQueuedFrameBytes) {
      this.failure = length > this.#limits.maxFrameBytes
        ? new LocalError(
          "limit_exceeded",
          `cannot receive metadata: the peer sent ${length} bytes in one message, more than the limit of ` +
            `${this.#limits.maxFrameBytes} (maxMetadataBytes)`,
        )
        : new LocalError(
          "limit_exceeded",
          `cannot receive metadata: the peer sent more ahead than the limit of ${this.#limits.maxQueuedFrameBytes} bytes`,
        );
      return false;
    }
    if (!rendezvous) {
      this.#frames.push(data, size, length);
      return false;
    }
    this.#fetches.add(data, size, length);
    return true;
  }

  close({ flush = false, discard = false, keep }: CloseChannelOptions = {}): Promise<void> {
    if (this.#closing === null && keep !== undefined && this.#mayKeep(keep)) {
      this.#keeper!(this.#end(), keep);
      return this.#closing!;
    }
    return this.#closing ??= this.#close(flush, discard);
  }

  cut(): void {
    if (this.#closing !== null) return;
    cutConnection(this.#end());
    this.#wakeWaits();
  }

  #mayKeep({ connections }: KeepOptions): boolean {
    const isFree = this.#keeper !== null && connections > 0 && this.#worker.waits.length === 0;
    return isFree && this.isQuiet && this.probe() === null;
  }

  /** Ends the channel, but not its connection, on which nothing is under way. */
  #end(): OpenConnection {
    this.#closing = Promise.resolve();
    this.#isClosed = true;
    const memory = { frames: this.#frames, sendSlots: this.#sends.takeSlots() };
    const { transportsReason } = this;
    const [worker, returnWorker, transports] = [this.#worker, this.#returnWorker, this.#transports];
    const [endpoints, peers] = [this.#endpoints, this.#peers];
    return { worker, endpoints, peers, transports, transportsReason, returnWorker, memory };
  }

  /** A worker must be progressed after each new request before it may sleep: what that needs may bring no event. */
  #wakeWorker(): void {
    const worker = this.#worker;
    worker.dirty = true;
    if (!worker.armed) return;
    worker.armed = false;
    progressLoop().wake();
  }

  /** What waits on the channel, asleep, must see that it is over. */
  #wakeWaits(): void {
    this.#worker.armed = false;
    progressLoop().wake();
  }

  #size(length: number): bigint {
    if (length === this.#lastLength) return this.#lastSize;
    this.#lastLength = length;
    return this.#lastSize = BigInt(length);
  }

  #fetchFrames(): void {
    const error = this.#fetches.advance();
    if (error !== null) this.failure ??= error;
  }

  async #close(flush: boolean, discard: boolean): Promise<void> {
    const [worker, requests] = [this.#worker, this.#requests];
    this.#wakeWaits();
    const isClean = await endConnection({
      ...{ worker, requests, endpoints: this.#endpoints, fetches: this.#fetches, remote: this.#remote },
      hasFailed: () => this.failure !== null,
    }, flush);
    // The next connection would take what is left in the worker for its own.
    const isEmpty = requests.count === 0 && this.probe() === null && this.#frames.count === 0 && !worker.isBroken;
    this.#isClosed = true;
    this.#returnWorker(worker, isClean && isEmpty && !discard);
    for (const endpoint of this.#endpoints) endpoint.forget();
    const error = this.failure ?? closedError();
    for (const request of requests.all()) request.fail(error);
    this.#sends.takeSlots();
  }
}
