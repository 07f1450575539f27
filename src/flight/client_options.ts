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
  /** Before the call. */
  onCall?(call: FlightCall): void | Promise<void>;
  /** Once the server's headers are there. */
  onHeaders?(call: FlightCall, headers: Headers): void;
  /** At the end: the server's trailers, and the error where there is one. */
  onEnd?(call: FlightCall, trailers: Headers, error?: unknown): void;
}

/** Options of one call. */
export interface FlightCallOptions {
  /** Gives the call up. */
  signal?: AbortSignal;
  /** Longest time of the whole call, in milliseconds; the server is told. Default: no limit for streams, the client's `timeoutMs` otherwise. */
  timeoutMs?: number;
  /** More headers. */
  headers?: HeadersInit;
  /** Called with the server's headers. */
  onHeaders?(headers: Headers): void;
  /** Called with the server's trailers. */
  onTrailers?(trailers: Headers): void;
}

/** Options of {@linkcode FlightClient.connect}. */
export interface FlightClientOptions {
  /** Gives connecting up. */
  signal?: AbortSignal;
  /** Longest wait for the server, in milliseconds: to connect, for an answer, and between two messages. Default 30,000. */
  timeoutMs?: number;
  /** Certificates; only with `grpc+tls:`. */
  tls?: FlightTlsOptions;
  /** Headers of every call. */
  headers?: HeadersInit;
  /** Bearer token of every call. */
  token?: string;
  /** User of basic authentication; the server's token, where it gives one, is used from then on. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** Whether cookies of the server are kept and sent back. Default true. */
  cookies?: boolean;
  /** Hooks around every call; the first is the outermost. */
  middleware?: readonly FlightMiddleware[];
  /** What the server may make a reader do. `maxBodyBytes` and `maxMetadataBytes` bound what is received in a message of a stream. */
  limits?: Partial<ReaderLimits>;
  /** Longest message of calls that are no streams of Arrow data, in bytes. Default 4 MiB, as everywhere in gRPC. */
  maxMessageBytes?: number;
  /** Where bodies are received. Default: memory of the garbage collector. */
  pool?: Pool;
}
