/**
 * One call of gRPC, straight on HTTP/2 (the protocol is in gRPC's document "gRPC over HTTP2").
 *
 * @module
 */
import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { constants } from "node:http2";
import { DipcError } from "../errors.ts";
import { type FlightConnection, textOf } from "./connection.ts";
import { FrameOutput } from "./frame_output.ts";
import { errorOfGrpcStatus, GrpcStatus } from "./status.ts";
import { type StreamDecoder, StreamInput } from "./stream_input.ts";

/** The service's name in paths. */
export const SERVICE_PATH = "/arrow.flight.protocol.FlightService/";

/** How long a call that nobody listens to any more may take to end by itself, in milliseconds. */
const LEAVE_MS = 100;

/** What a {@linkcode GrpcCall} needs. */
export interface GrpcCallOptions<T> {
  /** Its name, such as `"DoGet"`. */
  method: string;
  /** Headers of the call. */
  headers: Headers;
  /** Makes messages of what the server sends. */
  decoder: StreamDecoder<T>;
  /** Bytes of messages that have arrived and were not read, at most; one is always let through. */
  maxInFlightBytes: number;
  /** Longest wait for the next message, in milliseconds. */
  timeoutMs: number;
  /** Longest time of the whole call, in milliseconds. */
  deadlineMs?: number;
  /** Gives the call up. */
  signal?: AbortSignal;
  /** Called with the server's headers. */
  onHeaders?(headers: Headers): void;
  /** Called once at the end, with the server's trailers and the error where there is one. */
  onEnd?(trailers: Headers, error: unknown): void;
  /** The server, for messages. */
  peer: string;
}

/** A running call. */
export class GrpcCall<T> {
  readonly #connection: FlightConnection;
  readonly #stream: ClientHttp2Stream;
  readonly #options: GrpcCallOptions<T>;
  readonly #what: string;
  readonly #input: StreamInput<T>;
  /** Sends frames. */
  readonly output: FrameOutput;
  #trailers: Headers | null = null;
  #refusal: unknown = null;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #leaving: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  private constructor(connection: FlightConnection, stream: ClientHttp2Stream, options: GrpcCallOptions<T>) {
    this.#connection = connection;
    this.#stream = stream;
    this.#options = options;
    this.#what = `${options.method} at ${options.peer}`;
    const { decoder, maxInFlightBytes, timeoutMs, peer, deadlineMs, signal } = options;
    stream.on("response", this.#onResponse);
    stream.on("trailers", this.#onTrailers);
    this.#input = new StreamInput(stream, decoder, {
      maxInFlightBytes,
      timeoutMs,
      peer,
      endOf: (isClosed, error) => this.#endOf(isClosed, error),
    });
    this.output = new FrameOutput(stream, { timeoutMs, peer, failure: () => this.#failureOfWrite() });
    signal?.addEventListener("abort", this.#onAbort);
    if (deadlineMs !== undefined) this.#deadline = setTimeout(this.#onDeadline, deadlineMs);
  }

  /**
   * Starts a call.
   *
   * @param connection What it goes over
   * @param options Method, headers, limits
   * @throws {DipcError} `unreachable`, `timeout`, `cancelled`
   */
  static async start<T>(connection: FlightConnection, options: GrpcCallOptions<T>): Promise<GrpcCall<T>> {
    const { method, deadlineMs, signal } = options;
    const headers: Record<string, string> = {};
    for (const [name, value] of options.headers) headers[name] = value;
    headers["content-type"] = "application/grpc";
    headers["te"] = "trailers";
    if (deadlineMs !== undefined) headers["grpc-timeout"] = grpcTimeout(deadlineMs);
    if (signal?.aborted) throw cancelled(`${method} at ${options.peer}`, signal);
    const stream = await connection.request(SERVICE_PATH + method, headers);
    const call = new GrpcCall(connection, stream, options);
    if (signal?.aborted) call.#onAbort();
    return call;
  }

  /** Bytes received. */
  get receivedBytes(): number {
    return this.#input.receivedBytes;
  }

  /**
   * The next message from the server, or `null` once the call has ended well. As {@linkcode StreamInput.next}.
   *
   * @throws {DipcError} what the server answers, `connection_lost`, `timeout`, `cancelled`, `protocol`, `limit_exceeded`
   */
  next(): T | null | Promise<T | null> {
    return this.#input.next();
  }

  /** Gives the call up, where it has not ended, and releases everything. Idempotent. */
  cancel(error: unknown = new DipcError("closed", `${this.#what} was closed`)): void {
    this.#input.fail(error);
    this.#end(error);
    this.#input.close();
    if (this.#stream.closed) return;
    if (this.#trailers === null) this.#connection.abandon(this.#stream);
    // What has ended in both directions closes by itself.
    else if (!this.#stream.writableEnded) this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /**
   * Ends the interest in what is still to come. A call that is about to end gets a moment for it, which keeps its connection;
   * otherwise it is given up.
   */
  leave(): void {
    if (this.#isOver) return this.cancel();
    const stop = (): void => this.cancel();
    this.#leaving = setTimeout(stop, LEAVE_MS);
    Promise.resolve(this.#input.next()).then(stop, stop);
  }

  #onResponse = (received: IncomingHttpHeaders & { ":status"?: number }): void => {
    const headers = headersOf(received);
    const status = Number(received[":status"]);
    const type = headers.get("content-type") ?? "";
    if (status !== 200 || !/^application\/grpc(?:[+;]|$)/.test(type)) {
      this.#refusal = new DipcError(
        status === 401 || status === 403 ? "permission_denied" : status === 503 ? "unreachable" : "protocol",
        `${this.#what} was answered with HTTP status ${status} and content type ${
          JSON.stringify(type)
        }, expected 200 and application/grpc: is it a Flight server?`,
      );
      this.#input.fail(this.#refusal);
      this.#end(this.#refusal);
      this.#stream.close(constants.NGHTTP2_CANCEL);
      return;
    }
    this.#guard(() => this.#options.onHeaders?.(headers));
    // A call without any message has its trailers here ("Trailers-Only").
    if (headers.has("grpc-status")) this.#trailers = headers;
  };

  #onTrailers = (received: IncomingHttpHeaders): void => {
    this.#trailers = headersOf(received);
  };

  #onAbort = (): void => this.cancel(cancelled(this.#what, this.#options.signal!));

  #onDeadline = (): void =>
    this.cancel(new DipcError("timeout", `${this.#what} was not done within ${this.#options.deadlineMs! / 1000} s`));

  /** A hook of the user must not break the stream's events; what it throws fails the call. */
  #guard(hook: () => void): void {
    try {
      hook();
    } catch (error) {
      this.cancel(error);
    }
  }

  #endOf(isClosed: boolean, error: unknown): unknown {
    const end = this.#statusOf(isClosed, error);
    if (end !== undefined) this.#end(end);
    return end;
  }

  #statusOf(isClosed: boolean, error: unknown): unknown {
    if (this.#refusal !== null) return this.#refusal;
    const trailers = this.#trailers;
    if (trailers === null) {
      if (!isClosed) return undefined;
      const why = error === undefined ? `HTTP/2 code ${this.#stream.rstCode ?? 0}` : textOf(error);
      return this.#connection.lost(this.#what, why, error);
    }
    const status = trailers.get("grpc-status");
    if (status === null || !/^\d{1,9}$/.test(status)) {
      return new DipcError(
        "protocol",
        `${this.#what} ended with the status ${JSON.stringify(status)}, expected a number`,
      );
    }
    if (Number(status) === GrpcStatus.ok) return null;
    return errorOfGrpcStatus(Number(status), decodeMessage(trailers.get("grpc-message") ?? ""), this.#what);
  }

  /** Runs once, on every path. */
  #end(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#leaving);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    // A call that has ended takes nothing any more, also where its stream is still open in this direction.
    this.output.fail(error);
    try {
      this.#options.onEnd?.(this.#trailers ?? new Headers(), error);
    } catch {
      // The call is over; what a hook throws now has nothing to fail.
    }
  }

  /** Why the server takes no more, where that is known. */
  #failureOfWrite(): unknown {
    return this.#trailers === null ? null : this.#statusOf(true, undefined);
  }
}

/** The value of `grpc-timeout`: at most 8 digits and a unit. */
export function grpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  return whole < 1e8 ? `${whole}m` : `${Math.min(99_999_999, Math.ceil(whole / 1000))}S`;
}

/** `grpc-message` is percent-encoded; a malformed one is shown as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function headersOf(received: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, String(one));
  }
  return headers;
}

function cancelled(what: string, signal: AbortSignal): DipcError {
  return new DipcError("cancelled", `${what} was cancelled`, { cause: signal.reason });
}
