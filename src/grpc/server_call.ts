/**
 * One gRPC call as a server sees it: metadata in, messages out, one status at the end.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";
import { Http2Code } from "../http2/errors.ts";
import type { HeaderField } from "../http2/static_table.ts";
import type { ServerStream } from "../http2/server_stream.ts";
import { GrpcStatus } from "./status.ts";
import { CallInput } from "./server_input.ts";

/**
 * Bytes handed to HTTP/2 at one time. Each piece waits until the one before it has gone, so that a client that does not read
 * holds no more than this besides the windows of HTTP/2; larger pieces are not faster, and keep more memory busy.
 */
const PIECE_BYTES = 64 * 1024;
/** Longest text of a status, in characters. */
const MAX_STATUS_TEXT = 1024;
/** How long a client may go on sending after its answer, in milliseconds. */
const UNREAD_MS = 100;
/** Longest wait for a client to take the end of a call, in milliseconds. */
const CLOSE_MS = 5_000;
/** The same once the server is cutting its calls. */
const STOP_MS = 500;

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Options of a {@linkcode ServerCall}. */
export interface ServerCallOptions {
  /** Ends the call: the server is shutting down. */
  stop: AbortSignal;
  /** Longest time that the client may take nothing, in milliseconds. */
  idleTimeoutMs: number;
}

/** One call. Never used after {@linkcode ServerCall.finish}. */
export class ServerCall {
  /** Name of the method, such as `"DoGet"`. */
  readonly method: string;
  /** What the client sent in front of the call. Names that end with `-bin` hold base64. */
  readonly headers: Headers;
  /** Headers of the answer; sent with its first message. */
  readonly responseHeaders: Headers = new Headers();
  /** Sent with the status. */
  readonly trailers: Headers = new Headers();
  /** Aborted once nobody waits for an answer any more: cancelled, past its deadline, or the server stops. */
  readonly signal: AbortSignal;
  /** What the client sends. */
  readonly input: CallInput;
  /** The client's certificate, where the connection has one. */
  readonly peerCertificate: { subject: string } | null;
  readonly #stream: ServerStream;
  readonly #idleTimeoutMs: number;
  readonly #abort = new AbortController();
  readonly #stop: AbortSignal;
  readonly #onStop: () => void;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  /** Small messages that are sent together. */
  #staged: Uint8Array | null = null;
  #stagedBytes = 0;
  #settle: (() => void) | null = null;
  #isFinished = false;
  /** The client takes nothing, so that it cannot be told why the call ends. */
  #isStuck = false;

  /**
   * @param stream The HTTP/2 stream
   * @param method Name of the method
   * @param options Time-outs
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
    this.peerCertificate = stream.peerSubject === null ? null : { subject: stream.peerSubject };
    this.signal.addEventListener("abort", () => this.#settle?.(), { once: true });
    stream.onClose = () => this.#gone();
    this.input = new CallInput(stream, this.signal);
    this.#startDeadline();
  }

  /** Whether the headers of the answer have gone out. */
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
   * Sends one message whose gRPC prefix is in its first piece. The pieces are free again once this has returned. Small
   * messages wait for {@linkcode flush} or for others.
   *
   * @param pieces The message, prefix included
   * @throws {DipcError} `timeout` where the client takes nothing, and what ended the call
   */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    this.begin();
    for (const piece of pieces) {
      if (piece.byteLength < PIECE_BYTES / 2) {
        if (this.#stagedBytes + piece.byteLength > PIECE_BYTES) await this.flush();
        this.#staged ??= new Uint8Array(PIECE_BYTES);
        this.#staged.set(piece, this.#stagedBytes);
        this.#stagedBytes += piece.byteLength;
        continue;
      }
      await this.flush();
      for (let at = 0; at < piece.byteLength; at += PIECE_BYTES) {
        await this.#send(piece.subarray(at, Math.min(piece.byteLength, at + PIECE_BYTES)));
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
    if (this.#stagedBytes === 0) return;
    const bytes = this.#staged!.subarray(0, this.#stagedBytes);
    this.#stagedBytes = 0;
    await this.#send(bytes);
  }

  #send(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settle = (): void => {
      clearTimeout(timer);
      this.#settle = null;
      if (!this.signal.aborted) return resolve();
      // The bytes are about to be their owner's again; and without them the client would not get a whole message anyway.
      this.#stream.drop();
      reject(this.signal.reason);
    };
    if (this.signal.aborted) settle();
    else {
      this.#settle = settle;
      if (this.#stream.write(bytes, settle)) settle();
      else timer = setTimeout(() => this.#late(), this.#idleTimeoutMs);
    }
    return promise;
  }

  #late(): void {
    this.#isStuck = true;
    this.#abort.abort(
      new DipcError("timeout", `the client took nothing for ${this.#idleTimeoutMs} ms: the call was ended`),
    );
  }

  /**
   * Ends the call with a status, and waits until the client has it or is gone: as long as it may take nothing, 5 s where the
   * call has failed, half a second where the server is stopping. Idempotent.
   *
   * @param status gRPC's code
   * @param text What to tell the client
   */
  async finish(status: number, text = ""): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    clearTimeout(this.#deadline);
    this.#stop.removeEventListener("abort", this.#onStop);
    await this.#end(status, text);
  }

  async #end(status: number, text: string): Promise<void> {
    const stream = this.#stream;
    // What the client still sends is not wanted; unread it would fill the window of the whole connection.
    stream.discard();
    if (stream.isClosed) return;
    if (this.#isStuck) return stream.reset(Http2Code.cancel);
    const end: HeaderField[] = [["grpc-status", String(status)]];
    if (text !== "") end.push(["grpc-message", encodeText(text)]);
    const trailers = fieldsOf(end, this.trailers);
    if (stream.headersSent) {
      if (this.#stagedBytes > 0 && !this.signal.aborted) {
        stream.write(this.#staged!.subarray(0, this.#stagedBytes), () => {});
      }
      stream.end(trailers);
    } else {
      stream.respond([...fieldsOf(ANSWER, this.responseHeaders), ...trailers], true);
    }
    // Not at once: what the client sends is usually about to end, and a client may take a reset for a failure.
    const unread = setInterval(() => {
      if (!stream.isRemoteEnded && stream.isWritten) stream.reset(Http2Code.noError);
    }, UNREAD_MS);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    let timer = setTimeout(resolve, status === 0 ? this.#idleTimeoutMs : CLOSE_MS);
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
      this.#abort.abort(new DipcError("cancelled", "the client gave the call up, or its connection was lost"));
    }
  }

  #startDeadline(): void {
    const match = /^(\d{1,8})([HMSmun])$/.exec(this.headers.get("grpc-timeout") ?? "");
    if (match === null) return;
    const timeoutMs = Number(match[1]) * UNITS[match[2]];
    if (timeoutMs > MAX_TIMER_MS) return;
    this.#deadline = setTimeout(() => {
      this.#abort.abort(new DipcError("timeout", `the deadline that the client set, ${timeoutMs} ms, has passed`));
    }, timeoutMs);
  }
}

/** Answers a call that is not looked into any further. */
export function refuseCall(stream: ServerStream, status: number, text: string): void {
  stream.respond([...ANSWER, ["grpc-status", String(status)], ["grpc-message", encodeText(text)]], true);
  if (!stream.isRemoteEnded) stream.reset(Http2Code.noError);
}

/** The status text as gRPC wants it: percent-encoded where it is not printable ASCII, or space that HTTP/2 does not allow. */
function encodeText(text: string): string {
  const short = Array.from(text).slice(0, MAX_STATUS_TEXT).join("").toWellFormed();
  return short.replace(/[^\x20-\x24\x26-\x7e]+|^ +| +$/g, encodeURIComponent);
}

/** What every answer starts with. */
const ANSWER: readonly HeaderField[] = [[":status", "200"], ["content-type", "application/grpc"]];
/** Belong to HTTP, and to a connection of HTTP/1.1. */
const NOT_COPIED = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Headers of an answer; those that belong to gRPC and HTTP stay as they are. */
function fieldsOf(own: readonly HeaderField[], more: Headers): HeaderField[] {
  const fields = [...own];
  for (const [name, value] of more) {
    if (!NOT_COPIED.has(name) && !own.some(([taken]) => taken === name)) fields.push([name, value]);
  }
  return fields;
}

/** Statuses of calls that never reach a handler. */
export const REFUSED: Readonly<Record<"full" | "unknown", readonly [number, string]>> = {
  full: [GrpcStatus.resourceExhausted, "the server has as many calls under way as it may: try again later"],
  unknown: [GrpcStatus.unimplemented, "the server has no such method"],
};
