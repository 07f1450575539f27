/**
 * Options of the Flight client.
 *
 * @module
 */
import type { FlightTlsOptions } from "../grpc/tls.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";

/** One call as middleware sees it. */
export interface FlightCall {
  /** The method, such as `"DoGet"`. */
  readonly method: string;
  /** Headers to send; middleware may add some. */
  readonly headers: Headers;
}

/** Hooks around every call of a client. A hook that throws fails the call. */
export interface FlightMiddleware {
  /** Called before the call. */
  onCall?(call: FlightCall): void | Promise<void>;
  /** Called when the server's headers have arrived. */
  onHeaders?(call: FlightCall, headers: Headers): void;
  /** Called at the end, with the server's trailers, and the error if there is one. */
  onEnd?(call: FlightCall, trailers: Headers, error?: unknown): void;
}

/** Options of one call. */
export interface FlightCallOptions {
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Longest time of the whole call, in milliseconds; it is sent to the server. Default: no limit for streams, the client's `timeoutMs` otherwise. */
  timeoutMs?: number;
  /** Additional headers. */
  headers?: HeadersInit;
  /** Called with the server's headers. */
  onHeaders?(headers: Headers): void;
  /** Called with the server's trailers. */
  onTrailers?(trailers: Headers): void;
}

/** Options of {@linkcode FlightClient.connect}. */
export interface FlightClientOptions {
  /** Aborts connecting. */
  signal?: AbortSignal;
  /** Longest wait for the server, in milliseconds: to connect, for an answer, and between two messages. Default 30,000. */
  timeoutMs?: number;
  /** Certificates; only with `grpc+tls:`. */
  tls?: FlightTlsOptions;
  /** Headers of every call. */
  headers?: HeadersInit;
  /** Bearer token of every call. */
  token?: string;
  /** User of basic authentication; if the server returns a token, it is used from then on. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** Whether cookies of the server are kept and sent back. Default true. */
  cookies?: boolean;
  /** Hooks around every call; the first is the outermost. */
  middleware?: readonly FlightMiddleware[];
  /** Limits of what the server may send. `maxBodyBytes` and `maxMetadataBytes` bound each message of a stream. */
  limits?: Partial<ReaderLimits>;
  /** Longest message of calls that do not stream Arrow data, in bytes. Default 2 GiB, as of Arrow's own clients. */
  maxMessageBytes?: number;
  /**
   * Longest message of `put`, in bytes: longer batches are cut by their rows. `false` sends them as they are, and refuses those over 2 GiB. Default: 4 MiB, the
   * most that servers of gRPC take by default, for Parquet files that are read without `batchRows`; 2 GiB, more than which nobody takes, for others.
   */
  maxBatchBytes?: number | false;
  /** Memory to receive bodies in. Default: memory of the garbage collector. */
  pool?: Pool;
}
