/**
 * One HTTP/2 connection (RFC 9113) on a stream of bytes: what servers and clients have in common.
 *
 * It replaces `node:http2`, whose session in Deno corrupts the process's memory when a connection with many closed streams
 * ends, or a GOAWAY comes after a while. Nothing that a peer sends can make it hold more than the announced windows, a
 * header block per connection and 64 KiB of control frames that answer its own.
 *
 * @module
 */
import { Http2Code, Http2Error, Http2Reset } from "./errors.ts";
import { FloodLimits } from "./flood.ts";
import { checkFrame, expect } from "./frame_checks.ts";
import { Flag, frame, FrameType, headerFrames, numbersFrame, PREFACE, settingsFrame } from "./frames.ts";
import { withPlainText } from "./fields.ts";
import { encodeHeaders, type HeaderList, HpackDecoder } from "./hpack.ts";
import { Input, type InputHost, MAX_FRAME_BYTES } from "./input.ts";
import { Linger } from "./linger.ts";
import { Output } from "./output.ts";
import { ReceiveCredit } from "./receive_credit.ts";
import { ResetStreams } from "./reset_streams.ts";
import { SendQueue } from "./send_queue.ts";
import {
  DEFAULT_WINDOW,
  initialSettings,
  MAX_STREAM_ID,
  MAX_WINDOW,
  type PeerSettings,
  readSettings,
  SettingId,
} from "./settings.ts";
import type { HeaderField } from "./static_table.ts";
import type { Http2Stream, StreamHost } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** Limits and callbacks of a connection. */
export interface ConnectionOptions {
  /** Bytes that the peer may send on one stream before they are read. */
  streamWindow: number;
  /** Bytes that the peer may send on the whole connection before they are read. */
  connectionWindow: number;
  /** Maximum size of the headers of a request or an answer, in bytes. */
  maxHeaderBytes: number;
  /** Names of headers that hold text for people: any byte may be in them, and they are cut if they are too long. */
  freeText?: ReadonlySet<string>;
  /** How long the peer may take to close its side once the connection has been ended, in milliseconds. */
  lingerMs: number;
  /** Called once the connection is over; with an error unless it was shut down cleanly. */
  onClose(error: Error | null): void;
}

/** One connection. */
export abstract class Http2Connection implements InputHost, StreamHost {
  /** Streams under way, by id. */
  protected readonly streams = new Map<number, Http2Stream>();
  protected readonly peer: PeerSettings = initialSettings();
  protected readonly resetStreams = new ResetStreams();
  /** Highest id of a stream that the client has opened. */
  protected lastId = 0;
  readonly #transport: Transport;
  readonly #options: ConnectionOptions;
  readonly #isClient: boolean;
  readonly #decoder: HpackDecoder;
  readonly #input: Input;
  readonly #output: Output;
  readonly #sending: SendQueue;
  readonly #credit: ReceiveCredit;
  readonly #linger: Linger;
  readonly #flood = new FloodLimits();
  #hasSentHeaders = false;
  #hasSettings = false;
  #isClosing = false;
  #isEnding = false;
  #isDestroyed = false;
  #isClosed = false;
  #error: Error | null = null;

  /**
   * @param transport A socket, encrypted or not
   * @param options Windows, limits and callbacks
   * @param role Which side this is; a server announces how many concurrent streams it accepts
   */
  constructor(transport: Transport, options: ConnectionOptions, role: { maxStreams: number } | "client") {
    this.#transport = transport;
    this.#options = options;
    this.#isClient = role === "client";
    this.#decoder = new HpackDecoder(options.maxHeaderBytes, options.freeText);
    this.#output = new Output(transport, () => {
      this.#input.onRoom();
      this.#sending.pump();
    });
    this.#sending = new SendQueue(this.#output, this.peer, this.#flood);
    this.#credit = new ReceiveCredit(options.connectionWindow, (streamId, bytes) => this.#sendCredit(streamId, bytes));
    const shared = { transport, output: this.#output, streams: this.streams, credit: this.#credit, flood: this.#flood };
    this.#input = new Input(this, shared, !this.#isClient);
    this.#linger = new Linger(options.lingerMs, () => transport.destroy());
    if (this.#isClient) this.#output.control(PREFACE);
    this.#output.control(settingsFrame([
      [SettingId.enablePush, 0],
      ...(role === "client" ? [] : [[SettingId.maxConcurrentStreams, role.maxStreams] as const]),
      [SettingId.initialWindowSize, options.streamWindow],
      [SettingId.maxFrameSize, MAX_FRAME_BYTES],
      [SettingId.maxHeaderListSize, options.maxHeaderBytes],
    ]));
    this.#sendCredit(0, options.connectionWindow - DEFAULT_WINDOW);
    transport.start({
      onBytes: (bytes) => {
        if (!this.#isClosed) this.#input.onBytes(bytes);
      },
      room: () => this.#input.room(),
      onFilled: (count) => this.#input.onFilled(count),
      onEnd: (error) => {
        this.#error ??= error;
        this.#close();
      },
    });
  }

  /** Streams under way. */
  get activeStreams(): number {
    return this.streams.size;
  }

  /** Whether no further stream is accepted. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Whether the connection is over, or about to be without waiting for anything. */
  get isOver(): boolean {
    return this.#isEnding || this.#isClosed;
  }

  /** When bytes last came from the peer, by `performance.now()`. */
  get receivedMs(): number {
    return this.#input.receivedMs;
  }

  /** Whether anything has come from the peer. */
  get hasReceived(): boolean {
    return this.#input.hasReceived;
  }

  /** Why the connection failed, or `null` if it has not or the reason is not known. */
  get error(): Error | null {
    return this.#error;
  }

  /** Highest id of a stream that the peer has opened. */
  protected abstract readonly lastPeerId: number;

  /** Headers came for a stream that is not under way. */
  protected abstract onUnknownHeaders(streamId: number, list: HeaderList, isLast: boolean): void;

  /** The peer is about to end the connection, and has not processed streams after `lastId`. */
  protected abstract onGoaway(lastId: number, code: number): void;

  /** The peer's settings changed, or a stream has ended. */
  protected onChange(): void {}

  /** Announces that no further stream is accepted; ends once those under way have. Idempotent. */
  close(): void {
    if (this.#isClosing || this.isOver) return;
    this.#isClosing = true;
    this.#sendGoaway(Http2Code.noError);
    this.#endIfIdle();
  }

  /**
   * Ends the connection: sends the reason, and closes once that has been written and the peer has closed, or after `lingerMs`.
   *
   * @param code One of `Http2Code`
   */
  destroy(code: number = Http2Code.noError): void {
    if (this.#isClosed || this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#linger.start();
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.closeStreams();
    this.#sendGoaway(code);
    this.#finish();
  }

  /** Ends the connection at once because of an error that this side has found. */
  fail(error: Error): void {
    this.#error ??= error;
    this.destroy();
  }

  // Reading

  /** @ignore */
  onInvalid(error: Error): void {
    this.#error ??= error;
    this.destroy(error instanceof Http2Error ? error.code : Http2Code.internalError);
  }

  /** @ignore */
  onHeaders(streamId: number, flags: number, block: Uint8Array): void {
    const list = this.#decoder.decode(block);
    const isLast = (flags & Flag.endStream) !== 0;
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.onUnknownHeaders(streamId, list, isLast);
    this.#flood.countContent(1);
    const { freeText } = this.#options;
    const fields = freeText === undefined ? list.fields : withPlainText(list.fields, freeText);
    const error = stream.receiveHeaders(fields, list.isTooLong, isLast);
    if (error !== null) this.badStream(stream, error);
  }

  /** @ignore */
  onUnknownData(streamId: number): void {
    expect(!this.isIdle(streamId), `DATA on the idle stream ${streamId}`);
    this.resetStreams.expect(streamId);
  }

  /** @ignore */
  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    checkFrame(type, flags, streamId, payload.byteLength);
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    switch (type) {
      case FrameType.windowUpdate:
        return this.#onWindowUpdate(streamId, view.getUint32(0) & MAX_WINDOW);
      case FrameType.rstStream:
        expect(!this.isIdle(streamId), "RST_STREAM on an idle stream");
        return this.#onReset(streamId, view.getUint32(0));
    }
    this.#flood.countControl();
    if (type === FrameType.goaway) {
      const code = view.getUint32(4);
      if (code !== Http2Code.noError) {
        this.#error ??= new Http2Reset(code, `the peer ended the connection with code ${code}`);
      }
      return this.onGoaway(view.getUint32(0) & MAX_STREAM_ID, code);
    }
    if (type === FrameType.settings && (flags & Flag.ack) === 0) return this.#onSettings(payload);
    if (type === FrameType.ping && (flags & Flag.ack) === 0) {
      this.#output.control(frame(FrameType.ping, Flag.ack, 0, payload));
    }
    if (type === FrameType.priority && payload.byteLength !== 5) this.#badId(streamId, Http2Code.frameSizeError);
  }

  #onReset(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    // A server can reset only streams that this client opened, and may do so after every answer.
    if (stream === undefined || !this.#isClient) this.#flood.countReset();
    if (stream === undefined) return;
    // A peer that has sent all of its side may drop the rest of what it is sent.
    if (!stream.isRemoteEnded) stream.error = new Http2Reset(code, `the peer reset the stream with code ${code}`);
    this.remove(stream);
  }

  #onSettings(payload: Uint8Array): void {
    const before = this.peer.initialWindowSize;
    // What the first SETTINGS do not mention has its default: here, no limit.
    if (!this.#hasSettings) this.peer.maxConcurrentStreams = Infinity;
    this.#hasSettings = true;
    readSettings(payload, this.peer, this.#isClient);
    const more = this.peer.initialWindowSize - before;
    if (more !== 0) this.#sending.widenAll(this.streams.values(), more);
    this.#output.control(frame(FrameType.settings, Flag.ack, 0));
    this.onChange();
    this.#sending.pump();
  }

  #onWindowUpdate(streamId: number, more: number): void {
    if (streamId === 0) {
      expect(more > 0, "WINDOW_UPDATE by 0");
      return this.#sending.widen(more);
    }
    expect(!this.isIdle(streamId), "WINDOW_UPDATE on an idle stream");
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    const error = this.#sending.widenStream(stream, more);
    if (error !== null) this.badStream(stream, error);
  }

  /** Whether a stream was never opened. */
  protected isIdle(streamId: number): boolean {
    return streamId > this.lastId || streamId % 2 === 0;
  }

  #badId(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    const error = new Http2Error(code, `a malformed frame on stream ${streamId}`);
    if (stream !== undefined) return this.badStream(stream, error);
    if (this.isIdle(streamId)) throw error;
  }

  /** @ignore Resets a stream for a fault of the peer, which counts as a reset by the peer. */
  badStream(stream: Http2Stream, error: Http2Error): void {
    this.#flood.countReset();
    stream.error ??= error;
    this.reset(stream, error.code);
  }

  /** Resets a stream before it is opened. */
  protected refuse(streamId: number, isLast: boolean, code: number): void {
    this.#flood.countReset();
    if (!isLast) this.resetStreams.add(streamId);
    this.#output.control(numbersFrame(FrameType.rstStream, streamId, code));
  }

  // Writing

  /** @ignore */
  sendHeaders(stream: Http2Stream, fields: readonly HeaderField[], isLast: boolean): void {
    const block = encodeHeaders(fields, !this.#hasSentHeaders);
    this.#hasSentHeaders = true;
    const frames = headerFrames(stream.id, block, isLast, this.peer.maxFrameSize);
    this.#flood.countContent(1);
    this.#output.headers(frames, isLast ? () => stream.sent() : undefined);
  }

  /** @ignore */
  sendEnd(stream: Http2Stream): void {
    this.#output.headers(frame(FrameType.data, Flag.endStream, stream.id), () => stream.sent());
  }

  /** @ignore */
  sendSoon(stream: Http2Stream): void {
    if (stream.id === 0) return;
    this.#sending.add(stream);
    this.#sending.pump();
  }

  /** @ignore */
  credit(stream: Http2Stream | null, bytes: number): void {
    if (!this.isOver) this.#credit.used(stream, bytes);
  }

  #sendCredit(streamId: number, bytes: number): void {
    this.#output.control(numbersFrame(FrameType.windowUpdate, streamId, bytes));
  }

  /** @ignore */
  reset(stream: Http2Stream, code: number): void {
    if (!stream.isRemoteEnded) this.resetStreams.add(stream.id);
    this.#output.control(numbersFrame(FrameType.rstStream, stream.id, code));
    this.remove(stream);
  }

  /** @ignore */
  done(stream: Http2Stream): void {
    this.remove(stream, !stream.isWritten);
  }

  /** Forgets a stream. With `isSending` its last frame is still to be written. */
  protected remove(stream: Http2Stream, isSending: boolean = false): void {
    this.streams.delete(stream.id);
    this.#sending.delete(stream);
    stream.close(isSending);
    this.onChange();
    this.#endIfIdle();
  }

  #sendGoaway(code: number): void {
    this.#output.control(numbersFrame(FrameType.goaway, 0, this.lastPeerId, code));
  }

  // Ending

  #endIfIdle(): void {
    if (!this.#isClosing || this.isOver || this.streams.size > 0) return;
    this.#isEnding = true;
    // What was sent last may still be on its way to a slow peer.
    this.#linger.whileWriting(() => this.#output.writtenBytes);
    this.#finish();
  }

  #finish(): void {
    this.#input.stop();
    this.#output.end(() => {
      this.#transport.end();
      this.#linger.start();
    });
  }

  /** Ends every stream. */
  protected closeStreams(): void {
    for (const stream of [...this.streams.values()]) {
      this.streams.delete(stream.id);
      stream.error ??= this.#error;
      stream.close(false);
    }
    this.#sending.clear();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#linger.clear();
    this.closeStreams();
    this.#output.close();
    this.#transport.destroy();
    this.#options.onClose(this.#error);
  }
}
