/**
 * A UCX listener: it accepts each connection on a worker of its own, taken from a pool of prepared workers.
 *
 * @module
 */
import { asDipcError, type DipcError, LocalError } from "../../errors.ts";
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { formatAddress } from "../../../ffi/interfaces.ts";
import { statusError, UCS_ERR_BUSY, UCS_OK } from "../../../ffi/status.ts";
import { holdConnections, listeningSocket, peerKey, waitingConnections } from "../../../ffi/sockets.ts";
import {
  connectionRequestAttr,
  LAYOUT,
  listenerAttr,
  listenerParams,
  type SockAddr,
} from "../../../ffi/ucp_structs.ts";
import type { LentMemory, Listener, ListenOptions, PeerAddress } from "../transport.ts";
import { isolateCallback } from "./callbacks.ts";
import { UcxChannel } from "./channel.ts";
import type { ChannelLimits } from "./connection.ts";
import { UcxEndpoint } from "./endpoint.ts";
import { progressLoop } from "./loop.ts";
import { PortGuard } from "./port_guard.ts";
import { lendMemory, noRemoteMemory } from "./remote_memory.ts";
import type { WorkerPool } from "./worker_pool.ts";
import type { UcxWorker, WorkerOwner } from "./worker.ts";

/** How often, and how many times, it is looked whether clients are still connecting before the port is bound anew, in milliseconds. */
const NEWCOMER_MS = 20, NEWCOMER_LOOKS = 50;
/** Pause before a port that could not be bound anew is tried again, in milliseconds. */
const RENEW_PAUSE_MS = 100;

const listeners = new Map<bigint, UcxListener>();
let nextId = 1n;
let connectionCallback = 0n;

/** The connection handler, one for the isolate. It only queues the request. */
function connectionHandler(): bigint {
  if (connectionCallback === 0n) {
    connectionCallback = isolateCallback({ parameters: ["usize", "usize"], result: "void" }, (request, id) => {
      listeners.get(id)?._onRequest(request);
    });
  }
  return connectionCallback;
}

/** A listener. Made by the transport. */
export class UcxListener implements Listener, WorkerOwner {
  readonly address: PeerAddress;
  failure: DipcError | null = null;
  #worker: UcxWorker;
  readonly #pool: WorkerPool;
  readonly #options: ListenOptions;
  readonly #limits: ChannelLimits;
  readonly #id: bigint;
  #handle: bigint;
  /** The address bound to, with its port. */
  readonly #bound: SockAddr;
  readonly #requests: bigint[] = [];
  readonly #guard: PortGuard;
  /** Whether there is a listener; not while the port cannot be bound anew. */
  #isBound = true;
  #mustRenew = false;
  #isStopped = false;
  readonly #running: Promise<void>;

  /**
   * @param pool Source of workers
   * @param address Address to listen on
   * @param options The caller's options
   * @param limits Limits of the channels
   * @throws {DipcError} `unreachable`
   */
  constructor(pool: WorkerPool, address: SockAddr, options: ListenOptions, limits: ChannelLimits) {
    this.#pool = pool;
    this.#options = options;
    this.#limits = limits;
    this.#id = nextId++;
    this.#worker = pool.take();
    this.#handle = this.#bind(address);
    const { symbols } = this.#worker.context;
    const attr = listenerAttr();
    const status = symbols.ucp_listener_query(this.#handle, attr.bytes);
    if (status !== UCS_OK) {
      symbols.ucp_listener_destroy(this.#handle);
      this.#worker.destroy();
      throw statusError(status, "query the listener's address");
    }
    const bound = attr.bytes.subarray(LAYOUT.ucp_listener_attr_t.sockaddr);
    const { host, port } = formatAddress(bound);
    const bytes = address.bytes.slice();
    bytes.set(bound.subarray(0, address.length));
    this.#bound = { bytes, length: address.length };
    this.address = { host, port };
    listeners.set(this.#id, this);
    this.#guard = new PortGuard(port, () => this._renewNext());
    pool.refill();
    this.#running = this.#run();
  }

  /** Makes the listener of the worker, or destroys the worker. @throws {DipcError} `unreachable` */
  #bind(address: SockAddr): bigint {
    const worker = this.#worker;
    const out = new BigUint64Array(16);
    const params = listenerParams(address, connectionHandler(), this.#id);
    const status = worker.context.symbols.ucp_listener_create(worker.handle, params.bytes, out);
    closeOnExec();
    if (status === UCS_OK) {
      worker.owner = this;
      return out[0];
    }
    worker.destroy();
    throw statusError(
      status,
      `listen on ${this.#options.host} port ${this.#options.port}`,
      status === UCS_ERR_BUSY
        ? "the port is in use; choose another, or 0 for a free one"
        : "check that it is an address of this machine",
      "unreachable",
    );
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isStopped) {
        await progressLoop().until(this.#worker, () => this.#accept() || this.#mustRenew);
        if (!this.#isStopped) await this.#renew();
      }
    } catch (error) {
      this.#report(error, "cannot accept connections: the listener failed");
    }
  }

  /**
   * Binds the port anew: UCX gives back what it holds for connections that it does not understand only with the listener and its
   * worker. Connections that were accepted live on, clients that connect meanwhile wait for the next listener.
   */
  async #renew(): Promise<void> {
    // Made before, so that the port is free for a moment only.
    let next = this.#pool.take();
    this.#mustRenew = false;
    const listening = listeningSocket(this.#bound.bytes);
    for (let looks = 0; looks < NEWCOMER_LOOKS && !this.#isStopped && !this.#isQuiet(listening); looks++) {
      await progressLoop().until(this.#worker, () => this.#accept(), { timeoutMs: NEWCOMER_MS });
    }
    const last = this.#worker;
    this.#unbind();
    for (let tries = 0; !this.#isStopped; tries++) {
      try {
        this.#worker = next;
        this.#handle = this.#bind(this.#bound);
        this.#isBound = true;
        last.destroy();
        return;
      } catch (error) {
        last.destroy();
        if (tries === 0) this.#report(error);
        await new Promise<void>((resolve) => setTimeout(resolve, RENEW_PAUSE_MS));
        next = this.#pool.take();
      }
    }
    next.destroy();
    last.destroy();
  }

  /**
   * Whether no client is connecting, and none can from now on. One that has connected, but whose request UCX has not reported yet,
   * would be refused with the listener.
   */
  #isQuiet(listening: number | null): boolean {
    const isAwaiting = (): boolean =>
      this.#requests.length > 0 || (listening !== null && waitingConnections(listening) > 0) ||
      this.#guard.hasNewcomers();
    if (isAwaiting()) return false;
    if (listening !== null) holdConnections(listening);
    return !isAwaiting();
  }

  /** Destroys the listener. */
  #unbind(): void {
    const { symbols } = this.#worker.context;
    for (const request of this.#requests.splice(0)) symbols.ucp_listener_reject(this.#handle, request);
    symbols.ucp_listener_destroy(this.#handle);
    this.#worker.owner = null;
    this.#guard.forget();
    this.#isBound = false;
  }

  /** @ignore Binds the port anew as soon as no client is waiting to be accepted. */
  _renewNext(): void {
    this.#mustRenew = true;
    this.#wake();
  }

  #wake(): void {
    this.#worker.armed = false;
    progressLoop().wake();
  }

  /** @ignore Called by UCX from inside progress. */
  _onRequest(request: bigint): void {
    this.#requests.push(request);
    const attr = connectionRequestAttr();
    // Without the address of a client clients cannot be distinguished from strangers.
    if (this.#worker.context.symbols.ucp_conn_request_query(request, attr.bytes) !== UCS_OK) this.#guard.close();
    else this.#guard.know(peerKey(attr.bytes.subarray(LAYOUT.ucp_conn_request_attr_t.client_address)));
  }

  onActiveMessage(): boolean {
    return false;
  }

  lend(byteLength: number): LentMemory {
    if (this.#options.remoteMemory !== true) throw noRemoteMemory();
    return lendMemory(this.#worker.context, byteLength);
  }

  async close(): Promise<void> {
    if (!this.#isStopped) {
      this.#isStopped = true;
      this.#wake();
    }
    this.#guard.close();
    await this.#running;
    if (!listeners.delete(this.#id) || !this.#isBound) return;
    this.#unbind();
    this.#worker.destroy();
  }

  #accept(): boolean {
    if (this.#isStopped) return true;
    while (this.#requests.length > 0) {
      try {
        this.#acceptOne(this.#requests.shift()!);
      } catch (error) {
        this.#report(error);
      }
      // Making a worker takes milliseconds, in which nobody else is served: one for each round, while others wait.
      if (!this.#pool.hasIdle) break;
    }
    if (this.#requests.length > 0) this.#worker.dirty = true; // or the loop might let it sleep
    return false;
  }

  #acceptOne(request: bigint): void {
    let worker: UcxWorker | null = null;
    try {
      if (this.#options.mayAccept?.() !== false) worker = this.#takeWorker();
    } finally {
      // From here on it is the endpoint's: UCX frees a request even when it cannot make an endpoint of it.
      if (worker === null) this.#worker.context.symbols.ucp_listener_reject(this.#handle, request);
    }
    if (worker === null) return;
    this.#pool.refill();
    const channel = new UcxChannel(worker, this.#limits, this.#pool.giveBack);
    try {
      channel.attach(new UcxEndpoint(worker, request), "the client");
      this.#options.onChannel(channel);
    } catch (error) {
      void channel.close();
      throw error;
    }
  }

  #takeWorker(): UcxWorker {
    try {
      return this.#pool.take();
    } catch (error) {
      if (this.#options.onShortage?.() !== true) throw error;
      return this.#pool.take();
    }
  }

  /** An error of one client must not end the listener, nor must an error of its handler. */
  #report(error: unknown, text = "cannot accept a connection: unexpected error"): void {
    try {
      this.#options.onError?.(asDipcError(error, (cause) => new LocalError("internal", text, { cause })));
    } catch {
      // an error of the handler is not the listener's
    }
  }
}
