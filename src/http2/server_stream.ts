/**
 * One stream of a connection as its server sees it: a request, and its answer.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import { fieldsError, type RequestHeaders } from "./fields.ts";
import type { HeaderField } from "./static_table.ts";
import { Http2Stream, type StreamHost } from "./stream.ts";

/** A request that came in. */
export class ServerStream extends Http2Stream {
  /** The request's headers. */
  readonly request: RequestHeaders;
  /** Name in the client's certificate, or `null`. */
  readonly peerSubject: string | null;
  /** @ignore A request is its headers. */
  override readonly hasHeaders = true;
  readonly #host: StreamHost;
  #hasSentHeaders = false;

  /** @ignore Made by a connection. */
  constructor(
    host: StreamHost,
    id: number,
    request: RequestHeaders,
    peerSubject: string | null,
    windows: { send: number; receive: number },
  ) {
    super(host, id, windows.send, windows.receive);
    this.#host = host;
    this.request = request;
    this.peerSubject = peerSubject;
    this.expectedBytes = request.contentLength;
  }

  /** Whether the headers of the answer were sent or queued. */
  get headersSent(): boolean {
    return this.#hasSentHeaders;
  }

  /**
   * Sends the headers of the answer.
   *
   * @param fields `:status` first; names in lower case
   * @param isLast Whether they are the whole answer
   */
  respond(fields: readonly HeaderField[], isLast: boolean = false): void {
    if (this.isClosed || this.#hasSentHeaders) return;
    this.#hasSentHeaders = true;
    if (isLast) this.endWith(fields);
    else this.#host.sendHeaders(this, fields, false);
  }

  /** @ignore Trailers, which gRPC does not use. */
  override receiveHeaders(fields: readonly HeaderField[], _: boolean, isLast: boolean): Http2Error | null {
    if (this.isRemoteEnded) return new Http2Error(Http2Code.streamClosed, "headers came after the end of a request");
    const wrong = isLast ? fieldsError(fields) : "they do not end the request";
    if (wrong !== null) return new Http2Error(Http2Code.protocolError, `the trailers of a request are wrong: ${wrong}`);
    if (this.receiveEnd()) return null;
    return new Http2Error(Http2Code.protocolError, "a request is shorter than its content-length");
  }
}
