/**
 * One call of gRPC, directly on HTTP/2 (the protocol is in gRPC's document "gRPC over HTTP2").
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { GrpcConnection } from "./client_connection.ts";
import { Resumption } from "./resumption.ts";
import { PatientTimer } from "../patience.ts";
import { CallSpan } from "../telemetry/call_span.ts";
import { MessageOutput } from "./message_output.ts";
import type { ClientStream } from "../http2/client_stream.ts";
import { decodeStatusText, errorOfHttpStatus, isGrpcType } from "./answer_status.ts";
import { CODE_TRAILER, errorOfGrpcStatus, GrpcStatus, grpcStatusName, grpcStatusOf } from "./status.ts";
import { type StreamDecoder, StreamInput } from "./stream_input.ts";

/** How long a call whose reader has left may take to end by itself, in milliseconds. */
const LEAVE_MS = 100;

/** Options of a {@linkcode GrpcCall}. */
export interface GrpcCallOptions<T> {
  /** Prefix of the path of every method: `/package.Service/`. */
  service: string;
  /** Name of the method, such as `"DoGet"`. */
  method: string;
  /** Headers of the call. */
  headers: Headers;
  /** Decodes the messages that the server sends. */
  decoder: StreamDecoder<T>;
  /** Maximum size of messages that have arrived but were not read, in bytes; a single larger one is admitted. */
  maxInFlightBytes: number;
  /** Longest wait for the next message, in milliseconds. */
  timeoutMs: number;
  /** Longest time of the whole call, in milliseconds. */
  deadlineMs?: number;
  /** Longest time of the call once the server can take it, in milliseconds. */
  answerMs?: number;
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Called with the server's headers. */
  onHeaders?(headers: Headers): void;
  /** Called once at the end, with the server's trailers and the error if there is one. */
  onEnd?(trailers: Headers, error: unknown): void;
  /** Name of the server in error messages. */
  peer: string;
}

/** A running call. */
export class GrpcCall<T> {
  readonly #connection: GrpcConnection;
  #stream: ClientStream;
  readonly #options: GrpcCallOptions<T>;
  readonly #what: string;
  readonly #input: StreamInput<T>;
  /** Sends messages. */
  readonly output: MessageOutput;
  #trailers: Headers | null = null;
  /** What the status of HTTP stands for, unless one of gRPC comes; `null` for success. */
  #httpError: DipcError | null = null;
  readonly #resumption = new Resumption();
  #deadline: ReturnType<typeof setTimeout> | undefined;
  readonly #answerDeadline = new PatientTimer(() => this.#onDeadline(this.#options.answerMs!));
  #leaving: ReturnType<typeof setTimeout> | undefined;
  readonly #span: CallSpan;
  readonly #startedMs = performance.now();
  #openedMs = this.#startedMs;
  #isOver = false;
  /** Pieces that had been written when the wait for a message began, or was last extended. */
  #writtenBefore = 0;

  private constructor(
    connection: GrpcConnection,
    stream: ClientStream,
    options: GrpcCallOptions<T> & { leftMs?: number; span: CallSpan },
  ) {
    this.#span = options.span;
    this.#connection = connection;
    this.#stream = stream;
    this.#options = options;
    this.#what = `${options.method} at ${options.peer}`;
    const { decoder, maxInFlightBytes, timeoutMs, peer, leftMs, signal } = options;
    const isHeld = (): boolean => this.#resumption.isUnderWay || this.#stream.isQueued;
    const resumes = (): boolean => this.#resumes();
    this.#input = new StreamInput(stream, decoder, {
      maxInFlightBytes,
      timeoutMs,
      peer,
      onTimeout: () => connection.suspect(timeoutMs),
      endOf: () => this.#endOf(),
      isHeld: () => isHeld() || this.#hasWritten(),
      resumes,
    });
    this.output = new MessageOutput(stream, {
      timeoutMs,
      peer,
      failure: () => this.#failureOfWrite(),
      isHeld,
      resumes,
    });
    this.#listen(stream);
    signal?.addEventListener("abort", this.#onAbort);
    if (leftMs !== undefined) this.#deadline = setTimeout(() => this.#onDeadline(options.deadlineMs!), leftMs);
    checkClosed(stream);
  }

  /**
   * Starts a call.
   *
   * @param connection Connection to open the stream on
   * @param options Method, headers, limits and callbacks
   * @throws {DipcError} `unreachable`, `timeout`, `cancelled`
   */
  static async start<T>(connection: GrpcConnection, options: GrpcCallOptions<T>): Promise<GrpcCall<T>> {
    const headers = new Headers(options.headers);
    const span = CallSpan.start("client", options.service.slice(1) + options.method, headers, connection.target);
    try {
      return await span.run(() => GrpcCall.#open(connection, { ...options, headers }, span));
    } catch (error) {
      span.end(grpcStatusName(grpcStatusOf(error)), error);
      throw error;
    }
  }

  static async #open<T>(connection: GrpcConnection, options: GrpcCallOptions<T>, span: CallSpan): Promise<GrpcCall<T>> {
    const { method, deadlineMs, signal } = options;
    const startedMs = performance.now();
    const what = `${method} at ${options.peer}`;
    if (signal?.aborted) throw cancelled(what, signal);
    if (!connection.isReady) await connectWithin(connection, what, deadlineMs, signal);
    const stream = await connection.request(options.service + method, headersOf(options, deadlineMs));
    const leftMs = deadlineMs === undefined ? undefined : Math.max(0, deadlineMs - (performance.now() - startedMs));
    const call = new GrpcCall(connection, stream, { ...options, leftMs, span });
    if (signal?.aborted) call.#onAbort();
    return call;
  }

  /** Whether the call has ended, for any reason. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Bytes received, gRPC's prefixes included. */
  get receivedBytes(): number {
    return this.#input.receivedBytes;
  }

  /**
   * The next message from the server, or `null` once the call has succeeded. Like {@linkcode StreamInput.next}.
   *
   * @throws {DipcError} The server's status, `connection_lost`, `timeout`, `cancelled`, `protocol`, `limit_exceeded`
   */
  next(): T | null | Promise<T | null> {
    this.#writtenBefore = this.output.writtenCount;
    return this.#input.next();
  }

  /** Whether the server has taken something since this was last asked: it may answer an upload at its end. */
  #hasWritten(): boolean {
    const before = this.#writtenBefore;
    this.#writtenBefore = this.output.writtenCount;
    return this.#writtenBefore > before;
  }

  /** Cancels the call, unless it has ended, and releases everything. Idempotent. */
  cancel(error?: unknown): void {
    // Most calls have ended when they are released; then nobody gets an error, which takes time to make.
    if (!this.#isOver) {
      error ??= new LocalError("closed", `cannot complete ${this.#what}: the call was closed`);
      this.#input.fail(error);
      this.#end(error);
    }
    this.#input.close();
    this.#stream.reset();
  }

  /**
   * Ends the interest in further messages. A call that is about to end gets a moment to do so, which keeps
   * its connection; otherwise it is cancelled.
   */
  leave(): void {
    if (this.#isOver) return this.cancel();
    const stop = (): void => this.cancel();
    this.#leaving = setTimeout(stop, LEAVE_MS);
    (async () => await this.#input.next())().then(stop, stop);
  }

  #listen(stream: ClientStream): void {
    stream.onHeaders = (status, headers, isLast) => this.#onResponse(status, headers, isLast);
    stream.onTrailers = (headers) => this.#trailers = headers;
    if (stream.id === 0) stream.onOpen = () => this.#onOpen();
    else this.#onOpen();
  }

  /** The request is sent: only now can the server take its time. */
  #onOpen(): void {
    this.#input.restart();
    this.#openedMs = performance.now();
    const { answerMs } = this.#options;
    if (answerMs === undefined || this.#isOver) return;
    this.#answerDeadline.start(answerMs);
  }

  /** Whether the call, whose stream is over, is made again because the server has not taken it. */
  #resumes(): boolean {
    if (this.#resumption.isUnderWay) return true;
    const { untaken, error } = this.#stream;
    // A server that has said nothing in all the time that it was given would be waited for as long again.
    if (untaken === null || this.#isOver || isTimeout(error)) return false;
    if (!this.output.isReplayable || !this.#resumption.begin(untaken)) return false;
    this.#answerDeadline.stop();
    this.#resume().catch((error) => {
      this.#resumption.end();
      this.cancel(error);
    });
    return true;
  }

  async #resume(): Promise<void> {
    await this.#resumption.pause();
    if (this.#isOver) return;
    const { service, method, deadlineMs } = this.#options;
    const leftMs = deadlineMs === undefined ? undefined : deadlineMs - (performance.now() - this.#startedMs);
    const stream = await this.#connection.request(service + method, headersOf(this.#options, leftMs));
    this.#resumption.end();
    if (this.#isOver) return stream.reset();
    this.#stream = stream;
    this.#input.attach(stream);
    this.output.attach(stream);
    this.#listen(stream);
    checkClosed(stream);
  }

  #onResponse(status: number, headers: Headers, isLast: boolean): void {
    this.#connection.answered();
    this.output.commit();
    const type = headers.get("content-type") ?? "";
    if (status !== 200 || !isGrpcType(type)) {
      this.#httpError = errorOfHttpStatus(status, type, this.#what);
      // A status of gRPC wins, here or at the end.
      const isOver = headers.has("grpc-status") || isLast || !isGrpcType(type);
      if (isOver) return this.#refuse(headers);
    }
    this.#guard(() => this.#options.onHeaders?.(headers));
    // An answer without messages has its trailers here ("Trailers-Only").
    if (isLast) this.#trailers = headers;
  }

  /** The answer's headers are all that counts of it. */
  #refuse(headers: Headers): void {
    this.#trailers = headers;
    const error = this.#statusOf();
    if (error === null) return;
    this.#input.fail(error);
    this.#end(error);
    this.#stream.reset();
  }

  #onAbort = (): void => this.cancel(cancelled(this.#what, this.#options.signal!));

  #onDeadline(deadlineMs: number): void {
    this.#connection.suspect(performance.now() - this.#openedMs);
    this.cancel(late(this.#what, deadlineMs));
  }

  /** A hook of the user must not break the stream's event handling; what it throws fails the call. */
  #guard(hook: () => void): void {
    try {
      hook();
    } catch (error) {
      this.cancel(error);
    }
  }

  #endOf(): unknown {
    const end = this.#statusOf();
    this.#end(end);
    return end;
  }

  #statusOf(): unknown {
    const trailers = this.#trailers;
    if (trailers === null) {
      return this.#httpError ?? this.#connection.lost(this.#what, this.#stream.error, this.#stream.untaken !== null);
    }
    const status = trailers.get("grpc-status");
    if (status === null || !/^\d{1,9}$/.test(status)) {
      return this.#httpError ?? new LocalError(
        "protocol",
        `cannot complete ${this.#what}: its status is ${JSON.stringify(status)}, expected a number`,
        { foreign: { system: "grpc", status: GrpcStatus.unknown, text: "" } },
      );
    }
    if (Number(status) === GrpcStatus.ok) return null;
    const text = decodeStatusText(trailers.get("grpc-message") ?? "");
    return errorOfGrpcStatus(Number(status), text, this.#what, trailers.get(CODE_TRAILER));
  }

  /** Runs once, on every path. */
  #end(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#deadline);
    this.#answerDeadline.stop();
    clearTimeout(this.#leaving);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    // A call that has ended accepts no more messages, even if its stream is still open in this direction.
    this.output.fail(error);
    this.#span.end(grpcStatusName(error === null ? GrpcStatus.ok : grpcStatusOf(error)), error);
    try {
      this.#options.onEnd?.(this.#trailers ?? new Headers(), error);
    } catch {
      // The call is over: there is nothing that an error of this hook could fail.
    }
  }

  /** Why the server accepts no more, if that is known. */
  #failureOfWrite(): unknown {
    return this.#trailers === null ? null : this.#statusOf();
  }
}

/** The headers of a call that may take so long. */
function headersOf<T>({ headers, answerMs }: GrpcCallOptions<T>, leftMs: number | undefined): Headers {
  const all = new Headers(headers);
  all.set("content-type", "application/grpc");
  all.set("te", "trailers");
  const timeoutMs = leftMs ?? answerMs;
  if (timeoutMs !== undefined) all.set("grpc-timeout", grpcTimeout(timeoutMs));
  return all;
}

function isTimeout(error: unknown): boolean {
  return error instanceof DipcError && error.code === "timeout";
}

/** A stream is over already if its connection was closed in between. */
function checkClosed(stream: ClientStream): void {
  if (!stream.isClosed) return;
  stream.onReadable?.();
  stream.onClose?.();
}

/** The value of `grpc-timeout`: at most 8 digits and a unit. */
export function grpcTimeout(ms: number): string {
  const roundedMs = Math.max(1, Math.ceil(ms));
  return roundedMs < 1e8 ? `${roundedMs}m` : `${Math.min(99_999_999, Math.ceil(roundedMs / 1000))}S`;
}

/** Connects within the deadline of a call, unless its signal aborts. */
async function connectWithin(
  connection: GrpcConnection,
  what: string,
  deadlineMs?: number,
  signal?: AbortSignal,
): Promise<void> {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(cancelled(what, signal!));
  const timer = deadlineMs === undefined
    ? undefined
    : setTimeout(() => controller.abort(late(what, deadlineMs)), deadlineMs);
  signal?.addEventListener("abort", onAbort);
  try {
    await connection.connect(controller.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function late(what: string, deadlineMs: number): DipcError {
  return new LocalError("timeout", `cannot complete ${what}: its deadline of ${deadlineMs / 1000} s has passed`);
}

function cancelled(what: string, signal: AbortSignal): DipcError {
  return new LocalError("cancelled", `cannot complete ${what}: its signal was aborted`, { cause: signal.reason });
}
