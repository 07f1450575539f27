/**
 * What a connection receives: the bytes of its transport, and the bodies in them. Control frames and headers are the connection's.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import type { FloodLimits } from "./flood.ts";
import { type ControlSink, type DataSink, Flag, FrameReader } from "./frames.ts";
import type { Output } from "./output.ts";
import type { ReceiveCredit } from "./receive_credit.ts";
import type { Http2Stream } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** Longest frame accepted, in bytes; larger ones need fewer calls. */
export const MAX_FRAME_BYTES: number = 256 * 1024;
/** Control frames, besides headers, that may wait before reading from the peer pauses, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024;
/** Fewer bytes of a body than these are copied. */
const MIN_ROOM_BYTES = 4 * 1024;
/** Bytes still read from a peer after the connection has been ended. */
const MAX_LATE_BYTES = 4 * 2 ** 20;

/** What the input needs from its connection. */
export interface InputHost extends ControlSink {
  /** DATA came for a stream that is not under way. @throws {Http2Error} unless it may have crossed a reset */
  onUnknownData(streamId: number): void;
  /** Resets a stream for a fault of the peer. */
  badStream(stream: Http2Stream, error: Http2Error): void;
  /** Bytes were consumed: gives credit for them. */
  credit(stream: Http2Stream | null, bytes: number): void;
  /** What came is not valid: ends the connection. */
  onInvalid(error: Error): void;
}

/** What the input shares with its connection. */
export interface InputParts {
  readonly transport: Transport;
  readonly output: Output;
  /** Streams under way, by id. */
  readonly streams: ReadonlyMap<number, Http2Stream>;
  readonly credit: ReceiveCredit;
  readonly flood: FloodLimits;
}

/** Reads from the transport. */
export class Input implements DataSink {
  readonly #host: InputHost;
  readonly #transport: Transport;
  readonly #output: Output;
  readonly #streams: ReadonlyMap<number, Http2Stream>;
  readonly #credit: ReceiveCredit;
  readonly #flood: FloodLimits;
  readonly #reader: FrameReader;
  readonly #startedMs = performance.now();
  #receivedMs = this.#startedMs;
  #isPaused = false;
  #isStopped = false;
  #lateBytes = 0;
  /** The stream of the DATA frame that is being received; `null` if its bytes are dropped. */
  #stream: Http2Stream | null = null;
  #flags = 0;

  /**
   * @param host The connection
   * @param parts What is its too
   * @param isServer Whether the peer is a client, which starts with a preface
   */
  constructor(host: InputHost, { transport, output, streams, credit, flood }: InputParts, isServer: boolean) {
    this.#host = host;
    this.#transport = transport;
    this.#output = output;
    this.#streams = streams;
    this.#credit = credit;
    this.#flood = flood;
    this.#reader = new FrameReader(host, this, MAX_FRAME_BYTES, isServer);
  }

  /** When bytes last came, by `performance.now()`. */
  get receivedMs(): number {
    return this.#receivedMs;
  }

  /** Whether anything has come. */
  get hasReceived(): boolean {
    return this.#receivedMs !== this.#startedMs;
  }

  /** Bytes came. */
  onBytes(bytes: Uint8Array): void {
    this.#receivedMs = performance.now();
    if (this.#isStopped) {
      // Keep reading for a while: closing with unread bytes makes the system discard what was sent last.
      this.#lateBytes += bytes.byteLength;
      if (this.#lateBytes > MAX_LATE_BYTES) this.#transport.destroy();
      return;
    }
    try {
      this.#reader.push(bytes);
    } catch (error) {
      return this.#host.onInvalid(error as Error);
    }
    if (this.#output.waitingBytes > MAX_WAITING_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      this.#transport.pause();
    }
  }

  /** The memory that the next bytes of a body belong in, if it is known and there are many. */
  room(): Uint8Array<ArrayBuffer> | null {
    const bytes = this.#reader.bodyBytes;
    const room = bytes < MIN_ROOM_BYTES ? null : this.#stream?.room() ?? null;
    if (room === null || room.byteLength < MIN_ROOM_BYTES) return null;
    return room.byteLength > bytes ? room.subarray(0, bytes) : room;
  }

  /** Bytes came into the memory that `room` has just returned. */
  onFilled(count: number): void {
    this.#receivedMs = performance.now();
    try {
      this.#stream!.receiveInPlace(count);
      this.#reader.skip(count);
    } catch (error) {
      this.#host.onInvalid(error as Error);
    }
  }

  /** The output has room: reading goes on. */
  onRoom(): void {
    if (!this.#isPaused || this.#output.waitingBytes > MAX_WAITING_BYTES / 2) return;
    this.#isPaused = false;
    this.#transport.resume();
  }

  /** Drops what still comes. */
  stop(): void {
    this.#isStopped = true;
    this.#reader.stop();
    if (this.#isPaused) this.#transport.resume();
  }

  /** @ignore */
  onDataStart(streamId: number, flags: number, length: number): void {
    this.#credit.spend(length);
    this.#stream = null;
    this.#flags = flags;
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return this.#host.onUnknownData(streamId);
    if (stream.isRemoteEnded) {
      return this.#host.badStream(stream, new Http2Error(Http2Code.streamClosed, "DATA after END_STREAM"));
    }
    if (!stream.hasHeaders) {
      return this.#host.badStream(stream, new Http2Error(Http2Code.protocolError, "DATA before HEADERS"));
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      return this.#host.badStream(
        stream,
        new Http2Error(Http2Code.flowControlError, "DATA exceeds the stream's window"),
      );
    }
    if (length > 0) this.#flood.countContent(1);
    else if ((flags & Flag.endStream) === 0) this.#flood.countControl();
    this.#stream = stream;
  }

  /** @ignore */
  onDataBytes(bytes: Uint8Array): void {
    const stream = this.#stream;
    if (stream === null) return this.#host.credit(null, bytes.byteLength);
    if (stream.count(bytes.byteLength)) return stream.receive(bytes);
    this.#host.credit(null, bytes.byteLength);
    if (!stream.isClosed) this.#host.badStream(stream, wrongLength());
  }

  /** @ignore */
  onDataPadding(length: number): void {
    this.#host.credit(this.#stream?.isClosed ? null : this.#stream, length);
  }

  /** @ignore */
  onDataEnd(): void {
    const stream = this.#stream;
    this.#stream = null;
    if (stream === null || stream.isClosed || (this.#flags & Flag.endStream) === 0) return;
    if (!stream.receiveEnd()) this.#host.badStream(stream, wrongLength());
  }
}

function wrongLength(): Http2Error {
  return new Http2Error(Http2Code.protocolError, "the size of the body is not its content-length");
}
