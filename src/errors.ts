/**
 * The one error class of dipc and its closed list of codes.
 *
 * @module
 */

/**
 * Every code a {@linkcode DipcError} can carry.
 *
 * | code | meaning |
 * |---|---|
 * | `invalid_argument` | the caller passed something that cannot be used |
 * | `invalid_uri` | a URI is malformed, lacks a parameter, or has the wrong scheme for its server |
 * | `not_found` | the dataset, file or ticket does not exist |
 * | `permission_denied` | a Deno permission is missing, or the server refused |
 * | `library_not_found` | libucp, libcuda, libduckdb or an ADBC driver could not be opened |
 * | `unreachable` | no connection could be made |
 * | `connection_lost` | the peer went away before the stream was complete |
 * | `timeout` | the peer did not answer in time |
 * | `cancelled` | the caller cancelled the operation |
 * | `protocol` | the peer broke the Dissociated IPC protocol |
 * | `invalid_data` | Arrow metadata, a body or a file is malformed |
 * | `limit_exceeded` | a configured limit was hit |
 * | `unsupported` | a type, feature or platform that is not supported |
 * | `busy` | a read-once source is taken, or a server is full |
 * | `out_of_memory` | memory could not be allocated |
 * | `io` | reading or writing a file failed, or it changed meanwhile |
 * | `closed` | used after close or dispose |
 * | `ucx` | UCX reported a status with no better code here |
 * | `cuda` | the CUDA driver reported a result with no better code here |
 * | `adbc` | an ADBC driver reported a status that has no better code here |
 * | `duckdb` | DuckDB reported an error that has no better code here |
 * | `flight` | a Flight server answered with a gRPC status that has no better code here |
 * | `internal` | a defect in dipc |
 */
export type DipcErrorCode =
  | "invalid_argument"
  | "invalid_uri"
  | "not_found"
  | "permission_denied"
  | "library_not_found"
  | "unreachable"
  | "connection_lost"
  | "timeout"
  | "cancelled"
  | "protocol"
  | "invalid_data"
  | "limit_exceeded"
  | "unsupported"
  | "busy"
  | "out_of_memory"
  | "io"
  | "closed"
  | "ucx"
  | "cuda"
  | "adbc"
  | "duckdb"
  | "flight"
  | "internal";

/** The error of another system, kept as data. */
export interface ForeignStatus {
  /** The system that reported it: `"ucx"`, `"cuda"`, `"errno"`, `"grpc"`, `"adbc"`, `"duckdb"`. */
  readonly system: string;
  /** Its own code, such as `-25` for `UCS_ERR_CONNECTION_RESET`. */
  readonly status: number;
  /** Its own text, such as `"Connection reset by remote peer"`. */
  readonly text: string;
  /** What an Arrow library gave in addition, as keys and values. */
  readonly metadata?: ReadonlyMap<string, string>;
  /** SQLSTATE of a database, such as `"42P01"`. */
  readonly sqlState?: string;
  /** Code of the vendor of a database. */
  readonly vendorCode?: number;
  /** Further facts, by key. */
  readonly details?: readonly ForeignDetail[];
}

/** One fact about the error of another system. */
export interface ForeignDetail {
  /** Its key, such as `"PG_DIAG_SEVERITY"`. */
  readonly key: string;
  /** Its value, text in most cases. */
  readonly value: Uint8Array<ArrayBuffer>;
}

/** Options of {@linkcode DipcError}. */
export interface DipcErrorOptions extends ErrorOptions {
  /** The status of another system that led to this error. */
  foreign?: ForeignStatus;
  /** Record batches handed to the caller before the error. */
  batches?: number;
}

/**
 * The error that every function of dipc throws.
 *
 * @example Usage
 * ```ts
 * import { DipcError } from "@arrow-ucx/dipc";
 *
 * const error = new DipcError("timeout", "cannot connect to ucx://127.0.0.1:1: no answer within 30 s");
 * console.log(error.code); // "timeout"
 * ```
 */
export class DipcError extends Error {
  /** Always `"DipcError"`. */
  override readonly name = "DipcError";
  /** One of the closed list of codes. */
  readonly code: DipcErrorCode;
  /** The status of another system that led to this error, if one did. */
  readonly foreign?: ForeignStatus;
  /** Record batches handed to the caller before the error, if known. */
  readonly batches?: number;

  /**
   * Makes an error.
   *
   * @param code One of the closed list of codes
   * @param message `cannot x: what is so; what to do`
   * @param options Cause, foreign status and number of batches delivered
   */
  constructor(code: DipcErrorCode, message: string, options: DipcErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.foreign = options.foreign;
    this.batches = options.batches;
  }
}

/**
 * An error about this process's own files, libraries or memory. Its text is for the user of this process; a peer learns
 * only the code.
 *
 * @ignore
 */
export class LocalError extends DipcError {}

/**
 * The error for what the JavaScript engine throws at its own limits, which are not defects: memory that the system does not
 * provide, and texts and arrays that are longer than V8 allows.
 *
 * @param error What was thrown
 * @returns `null` for anything else
 * @ignore
 */
export function engineLimitError(error: unknown): DipcError | null {
  if (!(error instanceof Error) || error instanceof DipcError) return null;
  const { message } = error;
  if (/^Array buffer allocation failed/.test(message)) {
    const advice = "use smaller batches, or free memory";
    return new LocalError("out_of_memory", `cannot go on: the system does not provide the memory; ${advice}`, {
      cause: error,
    });
  }
  const limit = /^Invalid string length|buffer exceeds maximum length/.test(message)
    ? "a text would have more than 2^29 - 24 characters"
    : /^Invalid (?:typed )?array (?:buffer )?length/.test(message)
    ? "an array would be longer than it allows"
    : null;
  if (limit === null) return null;
  const advice = "use smaller batches, or write Arrow";
  return new LocalError("limit_exceeded", `cannot go on: the JavaScript engine is at its limit, ${limit}; ${advice}`, {
    cause: error,
  });
}

/**
 * What was thrown as one of dipc's errors.
 *
 * @param error What was thrown
 * @param otherwise Makes the error for anything else; default: `internal` with its text
 * @ignore
 */
export function asDipcError(error: unknown, otherwise?: (cause: unknown) => DipcError): DipcError {
  if (error instanceof DipcError) return error;
  const limit = engineLimitError(error);
  if (limit !== null) return limit;
  return otherwise?.(error) ?? new DipcError("internal", `cannot go on: ${thrownText(error)}`, { cause: error });
}

/** Anything can be thrown, even a value that cannot be converted to text. */
function thrownText(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `a value of type ${typeof thrown} was thrown`;
  }
}

/**
 * The error that ends a reader, which reports how much had arrived before. The data comes by a connection of this process,
 * so it is always a {@linkcode LocalError}.
 *
 * @param thrown What was thrown
 * @param batches Record batches handed to the caller
 * @returns The same error, with the number; anything but dipc's own errors stays as it is
 * @ignore
 */
export function withBatches(thrown: unknown, batches: number): unknown {
  const error = engineLimitError(thrown) ?? thrown;
  if (!(error instanceof DipcError)) return error;
  const { code, message, cause = error, foreign } = error;
  return new LocalError(code, message, { cause, foreign, batches });
}

/**
 * The end of a `switch` that names every case: with a case left out the call does not compile.
 *
 * @param value What is left after all cases
 * @throws {DipcError} `internal`
 */
export function unexpected(value: never): never {
  throw new DipcError("internal", `cannot go on: there is no case for ${JSON.stringify(value)}`);
}
