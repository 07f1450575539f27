/**
 * `ucs_status_t`: names, texts and dipc codes (`ucs/type/status.h`, the same in UCX 1.13 to 1.22).
 *
 * @module
 */
import { type DipcError, type DipcErrorCode, LocalError } from "../src/errors.ts";

/** `UCS_OK`. */
export const UCS_OK = 0;
/** `UCS_INPROGRESS`. */
export const UCS_INPROGRESS = 1;
/** `UCS_ERR_INVALID_PARAM`. */
export const UCS_ERR_INVALID_PARAM = -5;
/** `UCS_ERR_UNREACHABLE`: no transport leads to the peer. */
export const UCS_ERR_UNREACHABLE = -6;
/** `UCS_ERR_MESSAGE_TRUNCATED`: a message was longer than the receive posted for it. */
export const UCS_ERR_MESSAGE_TRUNCATED = -9;
/** `UCS_ERR_BUSY`: events are waiting, or an address is in use. */
export const UCS_ERR_BUSY = -15;
/** `UCS_ERR_CANCELED`. */
export const UCS_ERR_CANCELED = -16;
/** `UCS_ERR_SHMEM_SEGMENT`: shared memory could not be made or opened. */
export const UCS_ERR_SHMEM_SEGMENT = -17;
/** `UCS_ERR_UNSUPPORTED`. */
export const UCS_ERR_UNSUPPORTED = -22;
/** `UCS_ERR_REJECTED`: the listener rejected the connection. */
export const UCS_ERR_REJECTED = -23;
/** `UCS_ERR_ENDPOINT_TIMEOUT`: the peer does not answer any more. */
export const UCS_ERR_ENDPOINT_TIMEOUT = -80;
/** `UCS_ERR_CONNECTION_RESET`: also reported for a peer's orderly close. */
export const UCS_ERR_CONNECTION_RESET = -25;

const STATUSES: Record<number, readonly [name: string, text: string, code: DipcErrorCode]> = {
  [-1]: ["UCS_ERR_NO_MESSAGE", "no pending message", "ucx"],
  [-2]: ["UCS_ERR_NO_RESOURCE", "no resources are available to start the operation", "ucx"],
  [-3]: ["UCS_ERR_IO_ERROR", "input/output error", "ucx"],
  [-4]: ["UCS_ERR_NO_MEMORY", "out of memory", "out_of_memory"],
  [-5]: ["UCS_ERR_INVALID_PARAM", "invalid parameter", "ucx"],
  [-6]: ["UCS_ERR_UNREACHABLE", "destination is unreachable", "unreachable"],
  [-7]: ["UCS_ERR_INVALID_ADDR", "address not valid", "unreachable"],
  [-8]: ["UCS_ERR_NOT_IMPLEMENTED", "function not implemented", "unsupported"],
  [-9]: ["UCS_ERR_MESSAGE_TRUNCATED", "message truncated", "protocol"],
  [-10]: ["UCS_ERR_NO_PROGRESS", "no progress", "ucx"],
  [-11]: ["UCS_ERR_BUFFER_TOO_SMALL", "provided buffer is too small", "ucx"],
  [-12]: ["UCS_ERR_NO_ELEM", "no such element", "ucx"],
  [-13]: ["UCS_ERR_SOME_CONNECTS_FAILED", "failed to connect some of the requested endpoints", "unreachable"],
  [-14]: ["UCS_ERR_NO_DEVICE", "no such device", "ucx"],
  [-15]: ["UCS_ERR_BUSY", "device is busy", "ucx"],
  [-16]: ["UCS_ERR_CANCELED", "request canceled", "cancelled"],
  [-17]: ["UCS_ERR_SHMEM_SEGMENT", "shared memory error", "ucx"],
  [-18]: ["UCS_ERR_ALREADY_EXISTS", "element already exists", "ucx"],
  [-19]: ["UCS_ERR_OUT_OF_RANGE", "index out of range", "ucx"],
  [-20]: ["UCS_ERR_TIMED_OUT", "operation timed out", "connection_lost"],
  [-21]: ["UCS_ERR_EXCEEDS_LIMIT", "user-defined limit was reached", "ucx"],
  [-22]: ["UCS_ERR_UNSUPPORTED", "unsupported operation", "ucx"],
  [-23]: ["UCS_ERR_REJECTED", "operation rejected by remote peer", "unreachable"],
  [-24]: ["UCS_ERR_NOT_CONNECTED", "endpoint is not connected", "connection_lost"],
  [-25]: ["UCS_ERR_CONNECTION_RESET", "connection reset by remote peer", "connection_lost"],
  [-40]: ["UCS_ERR_FIRST_LINK_FAILURE", "first link failure", "connection_lost"],
  [-59]: ["UCS_ERR_LAST_LINK_FAILURE", "last link failure", "connection_lost"],
  [-60]: ["UCS_ERR_FIRST_ENDPOINT_FAILURE", "first endpoint failure", "connection_lost"],
  [-80]: ["UCS_ERR_ENDPOINT_TIMEOUT", "endpoint timeout", "connection_lost"],
  [-89]: ["UCS_ERR_LAST_ENDPOINT_FAILURE", "last endpoint failure", "connection_lost"],
};

/**
 * The C name and text of a status.
 *
 * @param status A `ucs_status_t`
 * @returns Such as `"UCS_ERR_CONNECTION_RESET (-25): connection reset by remote peer"`
 */
export function describeStatus(status: number): string {
  const entry = STATUSES[status];
  return entry === undefined ? `UCS status ${status}` : `${entry[0]} (${status}): ${entry[1]}`;
}

/**
 * A {@linkcode DipcError} for a failed status.
 *
 * @param status A negative `ucs_status_t`
 * @param action What cannot be done, such as `"create a UCX worker"`
 * @param advice What to do about it
 * @param code The code to use instead of the status's own, if the caller knows a better one
 * @param cause The error that led to this one
 */
export function statusError(
  status: number,
  action: string,
  advice?: string,
  code?: DipcErrorCode,
  cause?: unknown,
): DipcError {
  const entry = STATUSES[status];
  const message = `cannot ${action}: ${describeStatus(status)}${advice === undefined ? "" : `; ${advice}`}`;
  return new LocalError(code ?? entry?.[2] ?? "ucx", message, {
    cause,
    foreign: { system: "ucx", status, text: entry?.[1] ?? `status ${status}` },
  });
}

/** The lowest error in a `ucs_status_ptr_t`, −128, as an unsigned 64-bit integer. */
const FIRST_ERROR_POINTER = 0xffff_ffff_ffff_ff80n;

/**
 * Whether a non-null `ucs_status_ptr_t` is an error instead of a request.
 *
 * @param pointer The result of an `_nbx` function
 */
export function isStatusError(pointer: bigint): boolean {
  return pointer >= FIRST_ERROR_POINTER;
}

/**
 * The status in a `ucs_status_ptr_t` that is an error by {@linkcode isStatusError}.
 *
 * @param pointer The result of an `_nbx` function
 */
export function pointerStatus(pointer: bigint): number {
  return Number(BigInt.asIntN(64, pointer));
}
