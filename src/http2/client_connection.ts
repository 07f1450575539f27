/**
 * The client's side of an HTTP/2 connection: makes requests.
 *
 * @module
 */
import { ClientStream, type Untaken } from "./client_stream.ts";
import { type ConnectionOptions, Http2Connection } from "./connection.ts";
import { Http2Code, Http2Error, Http2Reset } from "./errors.ts";
import { MAX_STREAM_ID } from "./settings.ts";
import type { HeaderField } from "./static_table.ts";
import type { Http2Stream } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** A connection to a server. */
export class ClientConnection extends Http2Connection {
  readonly #streamWindow: number;
  /** Requests that wait until the server accepts one more stream. */
  readonly #waiting = new Set<ClientStream>();
  #nextId = 1;
  /** Whether the server has taken any request. */
  #hasTaken = false;
  readonly #greeted = Promise.withResolvers<void>();

  /** No server may open one: push is off. */
  protected override readonly lastPeerId = 0;

  /**
   * @param transport A connected socket, encrypted or not
   * @param options Windows, limits and callbacks
   */
  constructor(transport: Transport, options: ConnectionOptions) {
    super(transport, options, "client");
    this.#streamWindow = options.streamWindow;
  }

  /** Resolves once the server has said something, or the connection is over. */
  get greeted(): Promise<void> {
    return this.#greeted.promise;
  }

  /** Whether a further request can be made. */
  get isUsable(): boolean {
    return !this.isClosing && !this.isOver && this.#nextId <= MAX_STREAM_ID;
  }

  /**
   * Makes a request; its body is written to the stream. It waits while the server's limit of concurrent streams is reached.
   *
   * @param fields `:method`, `:scheme`, `:path` and `:authority` first; names in lower case
   */
  request(fields: readonly HeaderField[]): ClientStream {
    const stream = new ClientStream(this, fields, this.#streamWindow);
    this.#waiting.add(stream);
    if (this.isUsable) this.onChange();
    else this.#fail(stream, "the connection accepts no further request");
    return stream;
  }

  /** Accepts no further request, fails those that wait, and ends once those under way have. Idempotent. */
  override close(): void {
    super.close();
    for (const stream of this.#waiting) this.#fail(stream, "the connection was closed before the request was sent");
  }

  /** @ignore */
  override reset(stream: Http2Stream, code: number): void {
    if (stream.id !== 0) return super.reset(stream, code);
    this.#waiting.delete(stream as ClientStream);
    stream.close(false);
  }

  /** Opens waiting streams, up to the server's limit. */
  protected override onChange(): void {
    if (this.hasReceived) this.#greeted.resolve();
    for (const stream of this.#waiting) {
      if (!this.isUsable || this.streams.size >= this.peer.maxConcurrentStreams) return;
      this.#waiting.delete(stream);
      this.lastId = stream.id = this.#nextId;
      this.#nextId += 2;
      stream.sendWindow = this.peer.initialWindowSize;
      this.streams.set(stream.id, stream);
      this.sendHeaders(stream, stream.fields, false);
      stream.onOpen?.();
      if (stream.wantsToSend) this.sendSoon(stream);
    }
  }

  protected override onUnknownHeaders(streamId: number): void {
    if (this.isIdle(streamId)) {
      throw new Http2Error(Http2Code.protocolError, `an answer on stream ${streamId}, which was not opened`);
    }
    this.resetStreams.expect(streamId);
  }

  /** A server that is about to close answers the requests up to `lastId`; the others fail. */
  protected override onGoaway(lastId: number, code: number): void {
    // First, so that no waiting request is opened in the place of one that fails.
    super.close();
    this.#hasTaken = lastId > 0 && this.lastId > 0;
    for (const [id, stream] of this.streams) {
      if (id > lastId) {
        this.#fail(stream, `the server ended the connection before it accepted the request, with code ${code}`);
      }
    }
    for (const stream of this.#waiting) this.#fail(stream, `the server ended the connection with code ${code}`);
  }

  protected override closeStreams(): void {
    this.#greeted.resolve();
    for (const stream of this.streams.values()) this.#hasTaken ||= stream.hasHeaders;
    super.closeStreams();
    for (const stream of this.#waiting) this.#fail(stream, "the connection was lost");
  }

  /** Ends a request that the server has not processed. */
  #fail(stream: Http2Stream, why: string): void {
    const request = stream as ClientStream;
    const untaken: Untaken = request.id === 0 && this.#hasTaken ? "waited" : "rejected";
    request.markUntaken(untaken);
    stream.error ??= this.error ?? new Http2Reset(Http2Code.refusedStream, why);
    this.#waiting.delete(request);
    this.remove(stream);
  }
}
