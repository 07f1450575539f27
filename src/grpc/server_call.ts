/**
 * One gRPC call as a server sees it: metadata in, messages out, one status at the end.
 *
 * @module
 */
import { DipcError, type DipcErrorCode } from "../errors.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { PatientTimer } from "../patience.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";
import { Http2Code } from "../http2/errors.ts";
import type { HeaderField } from "../http2/static_table.ts";
import type { ServerStream } from "../http2/server_stream.ts";
import { CODE_TRAILER, GrpcStatus, statusOfCode } from "./status.ts";
import type { Approach } from "../reachable_host.ts";
import { CallInput } from "./server_input.ts";

/** Maximum size of a piece passed to HTTP/2, in bytes. Each piece waits until the one before it has been taken. */
const PIECE_BYTES = 2 ** 20;
/** Size of the buffer in which small pieces are gathered, in bytes. */
const STAGE_BYTES = 64 * 1024;
/** Longest text of a status, in characters. */
const MAX_STATUS_TEXT = 1024;
/** How long a client may keep sending after the answer, in milliseconds. */
const UNREAD_MS = 100;
/** Longest wait for a client to accept the end of a failed call, in milliseconds. */
const CLOSE_MS = 5_000;
/** The same once the server is cutting its calls, or if the client has accepted nothing for a long time, in milliseconds. */
const STOP_MS = 500;

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Options of a {@linkcode ServerCall}. */
export interface ServerCallOptions {
  /** Ends the call: the server is shutting down. */
  stop: AbortSignal;
  /** Longest time that the client may accept nothing, in milliseconds. */
  idleTimeoutMs: number;
  /** Address of the server's end of the connection; empty if that is not known. */
  localAddress: string;
  /** Number of the connection, from 1. */
  connection: number;
}

/** One call. Never used after {@linkcode ServerCall.finish}. */
export class ServerCall {
  /** Name of the method, such as `"DoGet"`. */
  readonly method: string;
  /** Headers of the request. Names that end with `-bin` hold base64. */
  readonly headers: Headers;
  /** Headers of the answer, sent with its first message. */
  readonly responseHeaders: Headers = new Headers();
  /** Sent with the status. */
  readonly trailers: Headers = new Headers();
  /** Aborted once the answer is not needed any more: the call was cancelled, its deadline has passed, or the server stops. */
  readonly signal: AbortSignal;
  /** The request's messages. */
  readonly input: CallInput;
  /** The client's certificate, or `null`. */
  readonly peerCertificate: { subject: string } | null;
  /** How the client has reached this server. */
  readonly approach: Approach;
  /** Number of the connection, from 1. */
  readonly connection: number;
  readonly #stream: ServerStream;
  readonly #idleTimeoutMs: number;
  readonly #abort = new AbortController();
  readonly #stop: AbortSignal;
  readonly #onStop: () => void;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  readonly #stall = new PatientTimer(() => this.#late());
  /** Small messages that are sent together. */
  #staged: Uint8Array | null = null;
  #stagedBytes = 0;
  #settle: (() => void) | null = null;
  #isFinished = false;
  /** The client accepts nothing: trailers need no room in its window, and may still reach it. */
  #isStuck = false;

  /**
   * @param stream HTTP/2 stream of the call
   * @param method Name of the method
   * @param options Shutdown signal and timeout
   */
  constructor(
    stream: ServerStream,
    method: string,
    options: ServerCallOptions,
  ) {
    this.#stream = stream;
    this.method = method;
    this.#idleTimeoutMs = options.idleTimeoutMs;
    this.signal = this.#abort.signal;
    this.#stop = options.stop;
    this.#onStop = () => this.#abort.abort(this.#stop.reason);
    if (options.stop.aborted) this.#onStop();
    else options.stop.addEventListener("abort", this.#onStop, { once: true });
    this.headers = stream.request.headers;
    this.connection = options.connection;
    this.approach = { authority: stream.request.authority, localAddress: options.localAddress };
    this.peerCertificate = stream.peerSubject === null ? null : { subject: stream.peerSubject };
    this.signal.addEventListener("abort", () => this.#settle?.(), { once: true });
    stream.onClose = () => this.#gone();
    stream.onProgress = () => this.#stall.start(options.idleTimeoutMs);
    this.input = new CallInput(stream, this.signal);
    this.#startDeadline();
  }

  /** Whether the headers of the answer have been sent. */
  get begun(): boolean {
    return this.#stream.headersSent;
  }

  /** Sends the headers of the answer now. Idempotent. */
  begin(): void {
    this.signal.throwIfAborted();
    if (this.#stream.headersSent) return;
    this.#stream.respond(fieldsOf(ANSWER, this.responseHeaders));
  }

  /**
   * Sends one message whose gRPC prefix is in its first piece. The pieces may be reused once this has resolved. Small
   * messages wait for {@linkcode flush} or for others.
   *
   * @param pieces The message, prefix included
   * @throws {DipcError} `timeout` if the client accepts nothing, and what ended the call
   */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    this.begin();
    for (const piece of pieces) {
      if (piece.byteLength < STAGE_BYTES / 2) {
        if (this.#stagedBytes + piece.byteLength > STAGE_BYTES) await this.#sendStaged();
        this.#staged ??= new Uint8Array(STAGE_BYTES);
        this.#staged.set(piece, this.#stagedBytes);
        this.#stagedBytes += piece.byteLength;
        continue;
      }
      // Not a microtask later if it need not be: the system gets both at once.
      const wait = this.#sendStaged();
      if (wait !== undefined) await wait;
      for (let at = 0; at < piece.byteLength; at += PIECE_BYTES) {
        const wait = this.#send(piece.subarray(at, Math.min(piece.byteLength, at + PIECE_BYTES)));
        if (wait !== undefined) await wait;
      }
    }
  }

  /** Sends one message. */
  async writeMessage(message: Uint8Array): Promise<void> {
    const prefix = new Uint8Array(GRPC_PREFIX_BYTES);
    new DataView(prefix.buffer).setUint32(1, message.byteLength);
    await this.write([prefix, message]);
  }

  /** Sends what was held back. */
  async flush(): Promise<void> {
    this.begin();
    await this.#sendStaged();
  }

  #sendStaged(): void | Promise<void> {
    if (this.#stagedBytes === 0) return;
    const bytes = this.#staged!.subarray(0, this.#stagedBytes);
    this.#stagedBytes = 0;
    return this.#send(bytes);
  }

  /** Sends bytes. @returns nothing if they were taken at once */
  #send(bytes: Uint8Array): void | Promise<void> {
    this.signal.throwIfAborted();
    if (this.#stream.write(bytes, () => this.#settle?.())) {
      this.#stall.pause();
      return this.signal.throwIfAborted();
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#settle = (): void => {
      this.#stall.pause();
      this.#settle = null;
      if (!this.signal.aborted) return resolve();
      // The caller is about to reuse the bytes; and without them the client would not get a complete message anyway.
      this.#stream.drop();
      reject(this.signal.reason);
    };
    this.#stall.start(this.#idleTimeoutMs);
    if (this.signal.aborted) this.#settle();
    return promise;
  }

  #late(): void {
    this.#isStuck = true;
    this.#abort.abort(
      new DipcError("timeout", `cannot complete the call: the client accepted nothing for ${this.#idleTimeoutMs} ms`),
    );
  }

  /**
   * Ends the call with a status, and waits until the client has received it or is gone: up to `idleTimeoutMs`, 5 s if the call
   * has failed, half a second if the server is stopping. Idempotent.
   *
   * @param status gRPC's code
   * @param text Message of the status
   * @param code Code of the error, for clients of dipc
   */
  async finish(status: number, text = "", code?: DipcErrorCode): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    clearTimeout(this.#deadline);
    this.#stall.stop();
    this.#stream.onProgress = null;
    this.#stop.removeEventListener("abort", this.#onStop);
    await this.#end(status, text, code);
  }

  async #end(status: number, text: string, code: DipcErrorCode | undefined): Promise<void> {
    const stream = this.#stream;
    // What the client still sends is not needed; unread it would fill the window of the whole connection.
    stream.discard();
    if (stream.isClosed) return;
    const end = statusFields(status, text, code);
    // What a client that has compressed its request needs to know.
    if (status === GrpcStatus.unimplemented) end.push(["grpc-accept-encoding", "identity"]);
    const trailers = fieldsOf(end, this.trailers);
    if (stream.headersSent) {
      if (this.#stagedBytes > 0 && !this.signal.aborted) {
        stream.write(this.#staged!.subarray(0, this.#stagedBytes), () => {});
      }
      stream.end(trailers);
    } else {
      stream.respond([...fieldsOf(ANSWER, this.responseHeaders), ...trailers], true);
    }
    // Not immediately: the request is usually about to end, and a client may treat a reset as a failure.
    const unread = setInterval(() => {
      if (!stream.isRemoteEnded && stream.isWritten) stream.reset(Http2Code.noError);
    }, UNREAD_MS);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    // A client that takes no data may still take the status, which needs no window of its stream.
    const waitMs = this.#isStuck ? STOP_MS : status === 0 ? this.#idleTimeoutMs : CLOSE_MS;
    let timer = setTimeout(resolve, waitMs);
    const hurry = (): void => {
      clearTimeout(timer);
      timer = setTimeout(resolve, STOP_MS);
    };
    if (this.#stop.aborted) hurry();
    this.#stop.addEventListener("abort", hurry);
    await Promise.race([stream.closed, late]);
    this.#stop.removeEventListener("abort", hurry);
    clearTimeout(timer);
    clearInterval(unread);
    stream.reset(Http2Code.cancel);
  }

  #gone(): void {
    if (!this.#isFinished && !this.signal.aborted) {
      this.#abort.abort(
        new DipcError("cancelled", "cannot complete the call: the client cancelled it, or its connection was lost"),
      );
    }
  }

  #startDeadline(): void {
    const match = /^(\d{1,8})([HMSmun])$/.exec(this.headers.get("grpc-timeout") ?? "");
    if (match === null) return;
    const timeoutMs = Number(match[1]) * UNITS[match[2]];
    if (timeoutMs > MAX_TIMER_MS) return;
    this.#deadline = setTimeout(() => {
      this.#abort.abort(
        new DipcError("timeout", `cannot complete the call: the client's deadline of ${timeoutMs} ms has passed`),
      );
    }, timeoutMs);
  }
}

/** Answers a call that is not processed any further. */
export function refuseCall(stream: ServerStream, { code, message }: DipcError): void {
  stream.respond([...ANSWER, ...statusFields(statusOfCode(code), message, code)], true);
  if (!stream.isRemoteEnded) stream.reset(Http2Code.noError);
}

function statusFields(status: number, text: string, code: DipcErrorCode | undefined): HeaderField[] {
  const fields: HeaderField[] = [["grpc-status", String(status)]];
  if (text !== "") fields.push(["grpc-message", encodeText(text)]);
  if (code !== undefined) fields.push([CODE_TRAILER, code]);
  return fields;
}

/** Encodes a status text as gRPC requires: percent-encoded except for printable ASCII, without space at its ends. */
function encodeText(text: string): string {
  const short = Array.from(text).slice(0, MAX_STATUS_TEXT).join("").toWellFormed();
  return short.replace(/[^\x20-\x24\x26-\x7e]+|^ +| +$/g, encodeURIComponent);
}

/** Headers that every answer starts with. */
const ANSWER: readonly HeaderField[] = [[":status", "200"], ["content-type", "application/grpc"]];
/** Headers that belong to HTTP/1.1 connections. */
const NOT_COPIED = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Headers of an answer; those that belong to gRPC and HTTP cannot be overridden. */
function fieldsOf(own: readonly HeaderField[], more: Headers): HeaderField[] {
  const fields = [...own];
  for (const [name, value] of more) {
    if (!NOT_COPIED.has(name) && !own.some(([taken]) => taken === name)) fields.push([name, value]);
  }
  return fields;
}

/** Errors of calls that never reach a handler. */
export const REFUSED: Readonly<Record<"full" | "unknown", () => DipcError>> = {
  full: () =>
    new DipcError("busy", "cannot answer the call: the server's limit of concurrent calls is reached; try again later"),
  unknown: () => new DipcError("unsupported", "cannot answer the call: the server has no such method"),
};
