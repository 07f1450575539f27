/**
 * One stream of a connection as its client sees it: a request, and the headers, the body and the trailers of its answer.
 *
 * @module
 */
import { Http2Code, Http2Error, Http2Reset, Http2TooLong } from "./errors.ts";
import { fieldsError, headersOf, readStatus } from "./fields.ts";
import type { HeaderField } from "./static_table.ts";
import { Http2Stream, type StreamHost } from "./stream.ts";

const TOO_SHORT = "it is shorter than its content-length";

/**
 * Why a server has certainly not begun to process a request: it was never sent because others had their turn first, or the
 * server has rejected it.
 */
export type Untaken = "waited" | "rejected";

/** What a request needs from its connection. */
export interface ClientStreamHost extends StreamHost {
  /** Streams under way. */
  readonly activeStreams: number;
}

/** A request. Its id and its send window are set when the stream is opened. */
export class ClientStream extends Http2Stream {
  /** Called once, when the request is sent, unless that was at once. */
  onOpen: (() => void) | null = null;
  /** Called with the HTTP status and the headers of the answer, and whether they are all of it. */
  onHeaders: ((status: number, headers: Headers, isLast: boolean) => void) | null = null;
  /** Called with the trailers of the answer, before its end. */
  onTrailers: ((headers: Headers) => void) | null = null;
  /** @ignore What is sent first. */
  readonly fields: readonly HeaderField[];
  readonly #clientHost: ClientStreamHost;
  #hasHeaders = false;
  #untaken: Untaken | null = null;

  /** @ignore Made by a connection. */
  constructor(host: ClientStreamHost, fields: readonly HeaderField[], receiveWindow: number) {
    super(host, 0, 0, receiveWindow);
    this.#clientHost = host;
    this.fields = fields;
  }

  /** Whether the request waits for others to end, so that the server cannot answer it yet. */
  get isQueued(): boolean {
    return this.id === 0 && !this.isClosed && this.#clientHost.activeStreams > 0;
  }

  /** Why the server has certainly not begun to process the request; `null` if it may have. */
  get untaken(): Untaken | null {
    if (this.#untaken !== null || this.#hasHeaders) return this.#untaken;
    return this.error instanceof Http2Reset && this.error.code === Http2Code.refusedStream ? "rejected" : null;
  }

  /** @ignore The connection has ended without the request. */
  markUntaken(why: Untaken): void {
    this.#untaken = why;
  }

  /** @ignore */
  override get hasHeaders(): boolean {
    return this.#hasHeaders;
  }

  /** @ignore */
  override receiveHeaders(fields: readonly HeaderField[], isTooLong: boolean, isLast: boolean): Http2Error | null {
    if (this.isRemoteEnded) return wrong(Http2Code.streamClosed, "headers came after its end");
    if (isTooLong) return new Http2TooLong(Http2Code.enhanceYourCalm, "the headers of an answer are too long");
    return this.#hasHeaders ? this.#receiveTrailers(fields, isLast) : this.#receiveFirst(fields, isLast);
  }

  #receiveFirst(fields: readonly HeaderField[], isLast: boolean): Http2Error | null {
    const status = readStatus(fields);
    if (typeof status === "string") return wrong(Http2Code.protocolError, status);
    // 1xx: the final answer is still to come (RFC 9110, section 15.2).
    if (status < 200) return isLast ? wrong(Http2Code.protocolError, `it ends with the status ${status}`) : null;
    this.#hasHeaders = true;
    const headers = headersOf(fields.slice(1));
    const length = headers.get("content-length");
    if (length !== null && !/^\d{1,15}$/.test(length)) {
      return wrong(Http2Code.protocolError, "its content-length is not a number");
    }
    this.expectedBytes = length === null ? null : Number(length);
    if (isLast && !this.isWhole) return wrong(Http2Code.protocolError, TOO_SHORT);
    this.onHeaders?.(status, headers, isLast);
    if (isLast) this.#receiveLast();
    return null;
  }

  #receiveTrailers(fields: readonly HeaderField[], isLast: boolean): Http2Error | null {
    const problem = isLast ? fieldsError(fields) : "headers came in the middle of its body";
    if (problem !== null) return wrong(Http2Code.protocolError, problem);
    // The trailers of a malformed answer are not passed on: a status in them would count.
    if (!this.isWhole) return wrong(Http2Code.protocolError, TOO_SHORT);
    this.onTrailers?.(headersOf(fields));
    this.#receiveLast();
    return null;
  }

  #receiveLast(): void {
    // A callback may have reset the stream.
    if (!this.isClosed) this.receiveEnd();
  }
}

function wrong(code: number, what: string): Http2Error {
  return new Http2Error(code, `an answer is malformed: ${what}`);
}
