/**
 * The calls that carry no Arrow data, by connect-node on the client's connection.
 *
 * @module
 */
import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { DipcError } from "../errors.ts";
import type { CallContext, PreparedCall } from "./call_context.ts";
import type { FlightCallOptions } from "./client_options.ts";
import { type FlightConnection, nodeCodeOf } from "./connection.ts";
import { FlightService } from "./gen/flight_pb.ts";
import { errorOfGrpcStatus } from "./status.ts";

/** What connect-node says where a connection or a stream has gone. */
const LOST: ReadonlySet<Code> = new Set([Code.Canceled, Code.Aborted, Code.Unavailable]);

/** What {@linkcode SmallCalls} needs. */
export interface SmallCallsOptions {
  /** Longest message, in bytes. */
  maxMessageBytes: number;
  /** Longest wait for an answer, and between two of them, in milliseconds. */
  timeoutMs: number;
  /** The server, for messages. */
  peer: string;
}

/** Makes calls by connect-node. */
export class SmallCalls {
  /** The stubs. */
  readonly stubs: Client<typeof FlightService>;
  readonly #connection: FlightConnection;
  readonly #context: CallContext;
  readonly #options: SmallCallsOptions;

  /**
   * @param connection What calls go over
   * @param context Headers, credentials, middleware
   * @param options Limits
   */
  constructor(connection: FlightConnection, context: CallContext, options: SmallCallsOptions) {
    const transport: Transport = createGrpcTransport({
      baseUrl: connection.authority,
      sessionManager: connection,
      readMaxBytes: options.maxMessageBytes,
      // Compressed answers could be far longer than what is received of them.
      acceptCompression: [],
    });
    this.stubs = createClient(FlightService, transport);
    this.#connection = connection;
    this.#context = context;
    this.#options = options;
  }

  /**
   * Makes a call that has one answer.
   *
   * @param method Its name
   * @param call Its options
   * @param invoke Calls the stub
   */
  async one<T>(method: string, call: FlightCallOptions, invoke: (options: CallOptions) => Promise<T>): Promise<T> {
    const prepared = await this.#context.prepare(method, call, this.#options.timeoutMs);
    const ending = new Ending(prepared);
    try {
      const answer = await invoke(ending.options(prepared.signal, prepared.deadlineMs));
      ending.end(null);
      return answer;
    } catch (error) {
      throw ending.fail(this.#errorOf(error, method, prepared));
    }
  }

  /**
   * Makes a call that has any number of answers. Leaving the loop early cancels it.
   *
   * @param method Its name
   * @param call Its options
   * @param invoke Calls the stub
   */
  async *many<T>(
    method: string,
    call: FlightCallOptions,
    invoke: (options: CallOptions) => AsyncIterable<T>,
  ): AsyncGenerator<T, undefined> {
    const prepared = await this.#context.prepare(method, call);
    const ending = new Ending(prepared);
    // Leaving a loop over connect-node's iterable does not cancel the call, a signal does.
    const leave = new AbortController();
    const signal = prepared.signal === undefined ? leave.signal : AbortSignal.any([prepared.signal, leave.signal]);
    const { timeoutMs, peer } = this.#options;
    let isQuiet = false;
    const arm = () =>
      setTimeout(() => {
        isQuiet = true;
        leave.abort();
      }, timeoutMs);
    let timer = arm();
    try {
      for await (const answer of invoke(ending.options(signal, prepared.deadlineMs))) {
        clearTimeout(timer);
        yield answer;
        timer = arm();
      }
      ending.end(null);
    } catch (error) {
      const quiet = isQuiet
        ? new DipcError("timeout", `${method}: nothing arrived from ${peer} for ${timeoutMs / 1000} s`)
        : null;
      throw ending.fail(quiet ?? this.#errorOf(error, method, prepared));
    } finally {
      clearTimeout(timer);
      leave.abort();
      ending.end(new DipcError("cancelled", `${method} at ${peer} was left before its end`));
    }
  }

  #errorOf(error: unknown, method: string, { signal, deadlineMs }: PreparedCall): unknown {
    const what = `${method} at ${this.#options.peer}`;
    if (!(error instanceof ConnectError)) return error;
    if (signal?.aborted) return new DipcError("cancelled", `${what} was cancelled`, { cause: signal.reason });
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      if (cause instanceof DipcError) return cause;
    }
    if (error.isWireError) {
      // connect-node puts INTERNAL in the place of a code that gRPC does not have.
      const status = Number(error.metadata.get("grpc-status") ?? error.code);
      return errorOfGrpcStatus(status, error.rawMessage, what, { cause: error });
    }
    return this.#ownError(error, what, deadlineMs);
  }

  /** What connect-node found itself: no status of the server. */
  #ownError(error: ConnectError, what: string, deadlineMs?: number): DipcError {
    const { code, rawMessage } = error;
    if (code === Code.DeadlineExceeded) {
      const within = deadlineMs === undefined ? "" : ` within ${deadlineMs / 1000} s`;
      return new DipcError("timeout", `${what} was not done${within}`, { cause: error });
    }
    if (code === Code.ResourceExhausted && /larger than configured/.test(rawMessage)) {
      const limit = `maxMessageBytes is ${this.#options.maxMessageBytes}`;
      return new DipcError("limit_exceeded", `${what}: ${rawMessage}; ${limit}`, { cause: error });
    }
    if (code === Code.PermissionDenied || code === Code.Unauthenticated) {
      return new DipcError("permission_denied", `${what} was refused: ${rawMessage}`, { cause: error });
    }
    if (LOST.has(code) || /^http\/2 stream closed/.test(rawMessage) || nodeCodeOf(error) !== null) {
      return this.#connection.lost(what, rawMessage, error);
    }
    return new DipcError("protocol", `${what} was not answered as gRPC wants: ${rawMessage}`, { cause: error });
  }
}

/** Sees to it that the end of a call is told once. */
class Ending {
  readonly #prepared: PreparedCall;
  #trailers = new Headers();
  #isOver = false;

  constructor(prepared: PreparedCall) {
    this.#prepared = prepared;
  }

  options(signal: AbortSignal | undefined, timeoutMs: number | undefined): CallOptions {
    return {
      headers: this.#prepared.headers,
      signal,
      timeoutMs,
      onHeader: (headers) => this.#prepared.onHeaders(headers),
      onTrailer: (trailers) => this.#trailers = trailers,
    };
  }

  end(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#prepared.onEnd(this.#trailers, error);
  }

  fail(error: unknown): unknown {
    const cause = error instanceof DipcError ? error.cause : error;
    if (cause instanceof ConnectError && [...this.#trailers].length === 0) this.#trailers = cause.metadata;
    try {
      this.end(error);
    } catch (hookError) {
      return hookError;
    }
    return error;
  }
}
