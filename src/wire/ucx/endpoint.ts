/**
 * A UCX endpoint: in error mode PEER if it connects, in the client's mode if it was accepted.
 *
 * @module
 */
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { addressOf, printed } from "../../../ffi/libc.ts";
import { isStatusError, pointerStatus, statusError, UCS_INPROGRESS, UCS_OK } from "../../../ffi/status.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import {
  endpointAttr,
  endpointParams,
  EP_CLOSE_FORCE,
  LAYOUT,
  requestParams,
  type SockAddr,
} from "../../../ffi/ucp_structs.ts";
import { isolateCallback } from "./callbacks.ts";
import { explanations } from "./explanations.ts";
import type { UcxWorker } from "./worker.ts";

/** Most transports that are queried. */
const MAX_TRANSPORTS = 16;

const endpoints = new Map<bigint, UcxEndpoint>();
let nextId = 1n;
let errorCallback = 0n;

/** The error handler, one for the isolate. It only records the status. */
function errorHandler(): bigint {
  if (errorCallback === 0n) {
    errorCallback = isolateCallback(
      { parameters: ["usize", "usize", "i8"], result: "void" },
      (id, _endpoint, status) => {
        endpoints.get(id)?._fail(status);
      },
    );
  }
  return errorCallback;
}

let closeParam: bigint = 0n, forceParam = 0n;
const pinned: unknown[] = [];

function prepareParams(): void {
  if (closeParam !== 0n) return;
  const close = requestParams(), force = requestParams(EP_CLOSE_FORCE);
  pinned.push(close, force);
  closeParam = addressOf(close.bytes);
  forceParam = addressOf(force.bytes);
}

/** Endpoints that exist; for leak tests. */
export function liveEndpoints(): number {
  return endpoints.size;
}

/** A request of an endpoint itself: a flush or a close. */
export class EndpointRequest {
  #symbols: UcpSymbols;
  #request: bigint;
  /** The final status, or `UCS_INPROGRESS`. */
  status: number;

  /**
   * @param symbols The library's functions
   * @param pointer What the `_nbx` function returned
   */
  constructor(symbols: UcpSymbols, pointer: bigint) {
    this.#symbols = symbols;
    this.#request = pointer;
    this.status = pointer === 0n ? UCS_OK : isStatusError(pointer) ? pointerStatus(pointer) : UCS_INPROGRESS;
  }

  /** Whether it is complete; queries UCX until then. */
  done(): boolean {
    if (this.status !== UCS_INPROGRESS) return true;
    const status = this.#symbols.ucp_request_check_status(this.#request);
    if (status === UCS_INPROGRESS) return false;
    this.status = status;
    this.#symbols.ucp_request_free(this.#request);
    return true;
  }
}

/** A connection of a worker. */
export class UcxEndpoint {
  /** `ucp_ep_h`. */
  readonly handle: bigint;
  /** Status reported to the error handler; 0 while the connection is up. */
  failedStatus = 0;
  /** Called from inside progress when the peer is gone; must neither throw nor progress. */
  onFailure: (() => void) | null = null;
  readonly #worker: UcxWorker;
  readonly #id: bigint;
  #isClosed = false;

  /**
   * @param worker The worker to make it on
   * @param peer The address to connect to, or the `ucp_conn_request_h` to accept
   * @throws {DipcError}
   */
  constructor(worker: UcxWorker, peer: SockAddr | bigint) {
    prepareParams();
    this.#worker = worker;
    this.#id = nextId++;
    endpoints.set(this.#id, this);
    const out = new BigUint64Array(16);
    const params = endpointParams(peer, errorHandler(), this.#id);
    const { context } = worker;
    const status = context.within(() => context.symbols.ucp_ep_create(worker.handle, params.bytes, out));
    closeOnExec();
    if (status !== UCS_OK) {
      endpoints.delete(this.#id);
      throw statusError(status, "create a UCX endpoint", explanations().join("; ") || undefined);
    }
    this.handle = out[0];
  }

  /** Waits for everything sent so far to arrive; on a new endpoint, for the connection to be made. */
  flush(): EndpointRequest {
    const { context } = this.#worker;
    const { symbols } = context;
    return new EndpointRequest(symbols, context.withinAnyway(() => symbols.ucp_ep_flush_nbx(this.handle, closeParam)));
  }

  /**
   * Begins to close the endpoint; its handle must not be used afterwards. Only once.
   *
   * @param force Cut the connection without waiting for anything
   */
  close(force: boolean): EndpointRequest {
    this.#isClosed = true;
    const { context } = this.#worker;
    const { symbols } = context;
    const param = force || this.failedStatus !== 0 ? forceParam : closeParam;
    return new EndpointRequest(symbols, context.withinAnyway(() => symbols.ucp_ep_close_nbx(this.handle, param)));
  }

  /** Forgets the endpoint, once closed or once its worker is destroyed: its error handler then does nothing. */
  forget(): void {
    endpoints.delete(this.#id);
  }

  /** Names of the transports in use; empty while the library does not know yet. */
  transports(): string[] {
    if (this.#isClosed || this.failedStatus !== 0) return [];
    const size = LAYOUT.ucp_transport_entry_t.size;
    const entries = new BigUint64Array(MAX_TRANSPORTS * size / 8);
    const attr = endpointAttr(addressOf(new Uint8Array(entries.buffer)), MAX_TRANSPORTS);
    if (this.#worker.context.symbols.ucp_ep_query(this.handle, attr.bytes) !== UCS_OK) return [];
    const at = LAYOUT.ucp_ep_attr_t.transports + LAYOUT.ucp_transports_t.num_entries;
    const count = Math.min(attr.view.getUint32(at, true), MAX_TRANSPORTS);
    const names = new Set<string>();
    for (let i = 0; i < count; i++) {
      const name = Deno.UnsafePointer.create(entries[i * size / 8]);
      if (name !== null) names.add(new Deno.UnsafePointerView(name).getCString());
    }
    return names.size > 0 ? [...names] : this.#printedTransports();
  }

  /** The transports as UCX prints them: the only way before 1.14. Its lines look like `lane[1]:  3:sysv/memory.0 md[2]`. */
  #printedTransports(): string[] {
    const lines = printed((stream) => this.#worker.context.symbols.ucp_ep_print_info(this.handle, stream));
    return [...new Set([...lines.matchAll(/lane\[\d+\]:\s+\d+:([a-z0-9_]+)\//g)].map((match) => match[1]))];
  }

  /** @ignore */
  _fail(status: number): void {
    if (this.failedStatus === 0) this.failedStatus = status;
    this.onFailure?.();
  }
}
