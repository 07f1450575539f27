/**
 * gRPC status codes and the codes of dipc, mapped in both directions.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, engineLimitError, LocalError } from "../errors.ts";

/** gRPC's status codes (`google.rpc.Code`). */
export const GrpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** Names of the codes, by number, as gRPC spells them. */
const NAMES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** Codes of dipc for the statuses that servers answer with, by number. */
const CODES: readonly DipcErrorCode[] = [
  "protocol", // an error whose status is OK
  "cancelled",
  "flight",
  "invalid_argument",
  "timeout",
  "not_found",
  "flight",
  "permission_denied",
  "limit_exceeded",
  "flight",
  "flight",
  "invalid_argument",
  "unsupported",
  "flight",
  "unreachable",
  "invalid_data",
  "permission_denied",
];

/** Statuses that a server of dipc answers with for errors of its functions. */
const STATUSES: Readonly<Record<DipcErrorCode, number>> = {
  invalid_argument: GrpcStatus.invalidArgument,
  invalid_uri: GrpcStatus.invalidArgument,
  not_found: GrpcStatus.notFound,
  permission_denied: GrpcStatus.permissionDenied,
  library_not_found: GrpcStatus.unimplemented,
  unreachable: GrpcStatus.unavailable,
  connection_lost: GrpcStatus.unavailable,
  timeout: GrpcStatus.deadlineExceeded,
  cancelled: GrpcStatus.cancelled,
  protocol: GrpcStatus.invalidArgument,
  invalid_data: GrpcStatus.invalidArgument,
  limit_exceeded: GrpcStatus.resourceExhausted,
  unsupported: GrpcStatus.unimplemented,
  busy: GrpcStatus.resourceExhausted,
  out_of_memory: GrpcStatus.resourceExhausted,
  io: GrpcStatus.internal,
  closed: GrpcStatus.unavailable,
  ucx: GrpcStatus.internal,
  cuda: GrpcStatus.internal,
  adbc: GrpcStatus.internal,
  duckdb: GrpcStatus.internal,
  flight: GrpcStatus.unknown,
  internal: GrpcStatus.internal,
};

/** Trailer in which a server of dipc says its own code, which is more exact than gRPC's status. */
export const CODE_TRAILER = "dipc-code";

/** Longest text of a server in a message, in characters; `foreign` has all of it. */
const MAX_SHOWN = 4000;

/** The code of dipc for a status of gRPC; unknown ones count as UNKNOWN, as its specification requires. */
export function codeOfGrpcStatus(status: number): DipcErrorCode {
  return CODES[status] ?? "flight";
}

/** gRPC's name of a status code, such as `"NOT_FOUND"`. */
export function grpcStatusName(status: number): string {
  return NAMES[status] ?? `status ${status}`;
}

/**
 * The error for a status that a server answered with.
 *
 * @param status gRPC's code; unknown ones count as UNKNOWN, as its specification requires
 * @param text The server's message
 * @param what The call, such as `"DoGet at grpc://127.0.0.1:8815"`
 * @param ownCode The code that a server of dipc has named; counts only if it is one that has this status
 */
export function errorOfGrpcStatus(
  status: number,
  text: string,
  what: string,
  ownCode: string | null = null,
): DipcError {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return new LocalError(
    isCodeWith(ownCode, status) ? ownCode : codeOfGrpcStatus(status),
    `cannot complete ${what}: the server answered ${grpcStatusName(status)}${shown === "" ? "" : `: ${shown}`}`,
    { foreign: { system: "grpc", status, text } },
  );
}

function isCodeWith(code: string | null, status: number): code is DipcErrorCode {
  return code !== null && Object.hasOwn(STATUSES, code) && STATUSES[code as DipcErrorCode] === status;
}

/** The status for a code of dipc. */
export function statusOfCode(code: DipcErrorCode): number {
  return STATUSES[code];
}

/**
 * The status for an error thrown by a function of dipc. The text of a foreign status is not used: it may reveal internals of
 * the server.
 *
 * @param thrown What was thrown; its own gRPC code is kept if it has one
 */
export function grpcStatusOf(thrown: unknown): number {
  const error = engineLimitError(thrown) ?? thrown;
  if (!(error instanceof DipcError)) return GrpcStatus.internal;
  if (error.foreign?.system === "grpc") return error.foreign.status;
  return STATUSES[error.code];
}
