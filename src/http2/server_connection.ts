/**
 * The server's side of an HTTP/2 connection: accepts requests.
 *
 * @module
 */
import { type ConnectionOptions, Http2Connection } from "./connection.ts";
import { Http2Code, Http2Error } from "./errors.ts";
import { readRequest } from "./fields.ts";
import { ServerStream } from "./server_stream.ts";
import { MAX_STREAM_ID } from "./settings.ts";
import type { HeaderList } from "./hpack.ts";
import type { Transport } from "./transport.ts";

/** Limits and callbacks of the server's side of a connection. */
export interface ServerConnectionOptions extends ConnectionOptions {
  /** Maximum number of concurrent streams. */
  maxStreams: number;
  /** Name in the client's certificate, or `null`. */
  peerSubject: string | null;
  /** A request came. */
  onStream(stream: ServerStream): void;
  /** A request came with headers that are too long; `name` is the first that was left out. Default: it is reset. */
  onTooLong?(stream: ServerStream, name: string): void;
}

/** A connection to a client. */
export class ServerConnection extends Http2Connection {
  readonly #options: ServerConnectionOptions;
  /** Last stream that is answered while the connection is being closed. */
  #acceptUpTo = MAX_STREAM_ID;

  /**
   * @param transport A socket, encrypted or not
   * @param options Windows, limits and callbacks
   */
  constructor(transport: Transport, options: ServerConnectionOptions) {
    super(transport, options, options);
    this.#options = options;
  }

  protected override get lastPeerId(): number {
    return Math.min(this.lastId, this.#acceptUpTo);
  }

  override close(): void {
    if (!this.isClosing) this.#acceptUpTo = this.lastId;
    super.close();
  }

  /** A client that is about to close lets its requests end, unless it closes because of an error. */
  protected override onGoaway(_: number, code: number): void {
    if (code === Http2Code.noError) this.close();
    else this.destroy();
  }

  protected override onUnknownHeaders(streamId: number, list: HeaderList, isLast: boolean): void {
    if (streamId <= this.lastId) return this.resetStreams.expect(streamId);
    if (streamId % 2 === 0) throw new Http2Error(Http2Code.protocolError, `a request on stream ${streamId}`);
    this.lastId = streamId;
    if (streamId > this.#acceptUpTo) return this.resetStreams.add(streamId);
    const { maxStreams, peerSubject, streamWindow, onStream, onTooLong } = this.#options;
    if (this.streams.size >= maxStreams) return this.refuse(streamId, isLast, Http2Code.refusedStream);
    if (list.isTooLong && onTooLong === undefined) return this.refuse(streamId, isLast, Http2Code.enhanceYourCalm);
    const request = readRequest(list.fields);
    if (typeof request === "string") return this.refuse(streamId, isLast, Http2Code.protocolError);
    const windows = { send: this.peer.initialWindowSize, receive: streamWindow };
    const stream = new ServerStream(this, streamId, request, peerSubject, windows);
    this.streams.set(streamId, stream);
    if (isLast && !stream.receiveEnd()) {
      return this.badStream(stream, new Http2Error(Http2Code.protocolError, "a request without the body it announces"));
    }
    if (list.omitted === undefined) onStream(stream);
    else onTooLong?.(stream, list.omitted);
  }
}
