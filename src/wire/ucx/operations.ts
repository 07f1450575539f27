/**
 * Sends and receives under way on one channel.
 *
 * @module
 */
import { type DipcError, LocalError } from "../../errors.ts";
import { statusError, UCS_ERR_CANCELED, UCS_ERR_MESSAGE_TRUNCATED, UCS_INPROGRESS } from "../../../ffi/status.ts";
import { addressOf } from "../../../ffi/libc.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import { DONE, FAILED, type Operation, PENDING, type Receive } from "../transport.ts";

/** The requests of a channel that UCX still works on, as a doubly linked ring around the list itself. */
export class RequestList {
  /** @ignore */
  _next: RequestList | UcxRequest = this;
  /** @ignore */
  _previous: RequestList | UcxRequest = this;
  /** Requests in the list. */
  count = 0;
  readonly symbols: UcpSymbols;
  /** `ucp_worker_h`. */
  readonly worker: bigint;

  /**
   * @param symbols The library's functions
   * @param worker `ucp_worker_h`
   */
  constructor(symbols: UcpSymbols, worker: bigint) {
    this.symbols = symbols;
    this.worker = worker;
  }

  /** The requests, oldest first. */
  all(): UcxRequest[] {
    const requests: UcxRequest[] = [];
    for (let at = this._next; at !== this; at = at._next) requests.push(at as UcxRequest);
    return requests;
  }

  /** Looks at all of them. @returns whether none is left */
  pollAll(): boolean {
    for (const request of this.all()) request.poll();
    return this.count === 0;
  }
}

/** One request. Settled once, by `poll()` or by the end of its channel. */
export class UcxRequest implements Operation {
  error: DipcError | null = null;
  /** @ignore */
  _next!: RequestList | UcxRequest;
  /** @ignore */
  _previous!: RequestList | UcxRequest;
  protected state: 0 | 1 | 2 = PENDING;
  protected isCancelled = false;
  protected readonly list: RequestList;
  protected readonly request: bigint;
  /** Objects that must not be collected while UCX uses them. */
  protected pinned: unknown;

  /**
   * @param list The channel's requests
   * @param request The request of UCX, or `0n` for an operation that is settled already
   * @param pinned Objects that must not be collected while UCX uses them
   */
  constructor(list: RequestList, request: bigint, pinned: unknown) {
    this.list = list;
    this.request = request;
    this.pinned = pinned;
    if (request === 0n) return;
    this._next = list;
    const last = this._previous = list._previous;
    last._next = this;
    list._previous = this;
    list.count++;
  }

  poll(): 0 | 1 | 2 {
    if (this.state !== PENDING) return this.state;
    const status = this.list.symbols.ucp_request_check_status(this.request);
    if (status === UCS_INPROGRESS) return PENDING;
    this.finish(status);
    return this.state;
  }

  /** Asks UCX to end it early. */
  cancel(): void {
    if (this.state !== PENDING) return;
    this.isCancelled = true;
    this.list.symbols.ucp_request_cancel(this.list.worker, this.request);
  }

  /**
   * Settles it as failed without UCX. Only once the worker is gone, or for a request that never began.
   *
   * @param error Reason of the failure
   */
  fail(error: DipcError): void {
    if (this.state !== PENDING) return;
    this.state = FAILED;
    this.error = error;
    this.unlink();
  }

  /** Settles it as done without asking UCX. */
  protected succeed(): void {
    this.state = DONE;
    this.pinned = null;
  }

  protected finish(status: number): void {
    this.list.symbols.ucp_request_free(this.request);
    this.unlink();
    if (status === 0) this.state = DONE;
    else {
      this.state = FAILED;
      this.error = requestError(status, this.isCancelled);
    }
  }

  protected unlink(): void {
    this.pinned = null;
    if (this.request === 0n) return;
    this._previous._next = this._next;
    this._next._previous = this._previous;
    this.list.count--;
  }
}

/** UCX writes tag and length of a tested receive here. Read immediately, so one is enough for the isolate. */
const info: BigUint64Array<ArrayBuffer> = new BigUint64Array(16);
let infoAddress = 0n;

/** Address of the isolate's `ucp_tag_recv_info_t`. */
export function tagInfoAddress(): bigint {
  return infoAddress === 0n ? infoAddress = addressOf(new Uint8Array(info.buffer)) : infoAddress;
}

/** The isolate's `ucp_tag_recv_info_t`: tag and length. */
export const tagInfo: BigUint64Array<ArrayBuffer> = info;

/** A tagged receive. */
export class UcxReceive extends UcxRequest implements Receive {
  tag = 0n;
  byteLength = 0;

  override poll(): 0 | 1 | 2 {
    if (this.state !== PENDING) return this.state;
    const status = this.list.symbols.ucp_tag_recv_request_test(this.request, infoAddress);
    if (status === UCS_INPROGRESS) return PENDING;
    if (status === 0) this.readInfo();
    this.finish(status);
    return this.state;
  }

  /** Settles a receive that was done at once, with what UCX wrote. */
  completeAtOnce(): void {
    this.readInfo();
    this.succeed();
  }

  private readInfo(): void {
    this.tag = info[0];
    this.byteLength = Number(info[1]);
  }
}

/**
 * The error of a request.
 *
 * @param status Its final status
 * @param isCancelled Whether it was this side that cancelled it: UCX cancels the requests of a connection in error mode NONE
 * when the peer ends it
 */
export function requestError(status: number, isCancelled = false): DipcError {
  if (status === UCS_ERR_MESSAGE_TRUNCATED) {
    return statusError(
      status,
      "receive a body: the peer sent a tagged message that is longer than its metadata announced",
      undefined,
      "protocol",
    );
  }
  if (status === UCS_ERR_CANCELED) {
    if (isCancelled) return statusError(status, "complete the operation, which was cancelled");
    return statusError(status, "complete the operation: the connection was lost", undefined, "connection_lost");
  }
  return statusError(status, "complete the operation");
}

/** An operation that failed before it began. */
export class FailedOperation implements Receive {
  readonly tag = 0n;
  readonly byteLength = 0;
  /** @param error Reason of the failure */
  constructor(readonly error: DipcError) {}
  poll(): 2 {
    return FAILED;
  }
  cancel(): void {}
}

/** The error of an operation on a channel that was closed. */
export function closedError(): DipcError {
  return new LocalError("closed", "cannot use the channel: it was closed");
}
