/**
 * A UCX listener: it accepts each connection on a worker of its own, taken from a pool of prepared workers.
 *
 * @module
 */
import { asDipcError, type DipcError, LocalError } from "../../errors.ts";
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { formatAddress } from "../../../ffi/interfaces.ts";
import { statusError, UCS_ERR_BUSY, UCS_OK } from "../../../ffi/status.ts";
import { LAYOUT, listenerAttr, listenerParams, type SockAddr } from "../../../ffi/ucp_structs.ts";
import type { Listener, ListenOptions, PeerAddress } from "../transport.ts";
import { isolateCallback } from "./callbacks.ts";
import { type ChannelLimits, UcxChannel } from "./channel.ts";
import { UcxEndpoint } from "./endpoint.ts";
import { progressLoop } from "./loop.ts";
import type { WorkerPool } from "./worker_pool.ts";
import type { UcxWorker, WorkerOwner } from "./worker.ts";

const listeners = new Map<bigint, bigint[]>();
let nextId = 1n;
let connectionCallback = 0n;

/** The connection handler, one for the isolate. It only queues the request. */
function connectionHandler(): bigint {
  if (connectionCallback === 0n) {
    connectionCallback = isolateCallback({ parameters: ["usize", "usize"], result: "void" }, (request, id) => {
      listeners.get(id)?.push(request);
    });
  }
  return connectionCallback;
}

/** A listener. Made by the transport. */
export class UcxListener implements Listener, WorkerOwner {
  readonly address: PeerAddress;
  failure: DipcError | null = null;
  readonly #worker: UcxWorker;
  readonly #pool: WorkerPool;
  readonly #options: ListenOptions;
  readonly #limits: ChannelLimits;
  readonly #id: bigint;
  readonly #handle: bigint;
  readonly #requests: bigint[] = [];
  #isStopped = false;
  #loop: Promise<unknown> | null = null;

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
    this.#worker = pool.take();
    this.#id = nextId++;
    const symbols = this.#worker.context.symbols;
    const out = new BigUint64Array(16);
    const params = listenerParams(address, connectionHandler(), this.#id);
    let status = symbols.ucp_listener_create(this.#worker.handle, params.bytes, out);
    closeOnExec();
    if (status !== UCS_OK) {
      this.#worker.destroy();
      const where = `${options.host} port ${options.port}`;
      throw statusError(
        status,
        `listen on ${where}`,
        status === UCS_ERR_BUSY
          ? "the port is in use; choose another, or 0 for a free one"
          : "check that it is an address of this machine",
        "unreachable",
      );
    }
    this.#handle = out[0];
    listeners.set(this.#id, this.#requests);
    const attr = listenerAttr();
    status = symbols.ucp_listener_query(this.#handle, attr.bytes);
    if (status !== UCS_OK) {
      symbols.ucp_listener_destroy(this.#handle);
      this.#worker.destroy();
      throw statusError(status, "query the listener's address");
    }
    const bound = formatAddress(attr.bytes.subarray(LAYOUT.ucp_listener_attr_t.sockaddr));
    this.address = { host: bound.host, port: bound.port };
    this.#worker.owner = this;
    pool.refill();
    this.#loop = progressLoop().until(this.#worker, () => this.#accept()).catch((error) => {
      this.#options.onError?.(
        asDipcError(
          error,
          (cause) => new LocalError("internal", "cannot accept connections: the listener failed", { cause }),
        ),
      );
    });
  }

  onActiveMessage(): boolean {
    return false;
  }

  async close(): Promise<void> {
    if (!this.#isStopped) {
      this.#isStopped = true;
      this.#worker.armed = false;
      progressLoop().wake();
    }
    await this.#loop;
    this.#loop = null;
    if (!listeners.delete(this.#id)) return;
    const symbols = this.#worker.context.symbols;
    for (const request of this.#requests) symbols.ucp_listener_reject(this.#handle, request);
    symbols.ucp_listener_destroy(this.#handle);
    this.#worker.owner = null;
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
      if (this.#options.mayAccept?.() !== false) worker = this.#pool.take();
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

  /** An error of one client must not end the listener, nor must an error of its handler. */
  #report(error: unknown): void {
    try {
      this.#options.onError?.(
        asDipcError(
          error,
          (cause) => new LocalError("internal", "cannot accept a connection: unexpected error", { cause }),
        ),
      );
    } catch {
      // an error of the handler is not the listener's
    }
  }
}
