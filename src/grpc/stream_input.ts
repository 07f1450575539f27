/**
 * The messages of one HTTP/2 stream in order: asks the peer to wait where the reader does.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Http2Stream } from "../http2/stream.ts";

/** Bytes that count as progress, so that a peer cannot hold a reader with a byte now and then. */
const PROGRESS_BYTES = 64 * 2 ** 10;

/** Takes the bytes of a stream and gives messages. */
export interface StreamDecoder<T> {
  /** Bytes of whole messages that may wait before the peer is asked to wait, unless `maxInFlightBytes` is less. */
  readonly readAheadBytes: number;
  /** Bytes of the messages that wait to be taken; each counts as some even where it is empty. */
  readonly queuedBytes: number;
  /** Whether the bytes up to now end with a whole message. */
  readonly isWhole: boolean;
  /** The next message, which the caller then owns, or `null` where none is whole. */
  take(): T | null;
  /**
   * Takes bytes in; they are not kept.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `out_of_memory`; it must only be closed then
   */
  push(chunk: Uint8Array): void;
  /** Releases everything that was not taken. Idempotent. */
  close(): void;
}

/** Options of a {@linkcode StreamInput}. */
export interface StreamInputOptions {
  /** Bytes of frames that have arrived and were not read, at most; one frame is always let through. */
  maxInFlightBytes: number;
  /** Longest wait for a frame, or for 64 KiB of one, in milliseconds. */
  timeoutMs: number;
  /** The peer, for messages. */
  peer: string;
  /** Called when a wait was in vain. */
  onTimeout(): void;
  /** Looked at when the stream has ended: the error that its end stands for, `null` where all is well. */
  endOf(): unknown;
}

/** Messages on their way in. */
export class StreamInput<T> {
  readonly #stream: Http2Stream;
  readonly #options: StreamInputOptions;
  readonly #decoder: StreamDecoder<T>;
  readonly #highBytes: number;
  #failure: unknown = null;
  #hasEnded = false;
  #waiting: { resolve: (frame: T | null) => void; reject: (error: unknown) => void } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #progressMs = 0;
  #progressBytes = 0;
  #receivedBytes = 0;

  /**
   * @param stream What is read from; reading starts at once
   * @param decoder Makes messages of it; closed with this
   * @param options Limits, and what an end means
   */
  constructor(stream: Http2Stream, decoder: StreamDecoder<T>, options: StreamInputOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#decoder = decoder;
    this.#highBytes = Math.min(decoder.readAheadBytes, options.maxInFlightBytes);
    stream.onBytes = (bytes) => this.#offer(bytes);
    stream.onReadable = () => this.#pull();
  }

  /** Bytes received, gRPC's prefixes included. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * The next frame, or `null` after the end of a stream that was whole. Answers without a promise where the frame is at
   * hand. The caller owns the frame's body. Never called while an earlier call is pending.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `timeout`, `connection_lost`, and what `endOf` gives
   */
  next(): T | null | Promise<T | null> {
    const frame = this.#decoder.take();
    if (frame !== null) {
      if (this.#decoder.queuedBytes < this.#highBytes) this.#pull();
      return frame;
    }
    if (this.#failure !== null) throw this.#failure;
    if (this.#hasEnded) return null;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#progressMs = performance.now();
      this.#timer ??= setTimeout(this.#onTimer, this.#options.timeoutMs);
    });
  }

  /** Fails the read that is pending and all later ones; frames that have arrived are released. */
  fail(error: unknown): void {
    if (this.#failure !== null || this.#hasEnded) return;
    this.#failure = error;
    this.#settle();
    this.close();
  }

  /** Stops reading and releases the frames that were not taken. Idempotent; the stream itself is the caller's. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stop();
    this.#decoder.close();
    this.#failure ??= new LocalError("closed", "the stream was closed");
    this.#settle();
  }

  /** Reads until enough waits, there is no more, or the stream is over. */
  #pull(): void {
    const stream = this.#stream;
    const decoder = this.#decoder;
    while (this.#failure === null && decoder.queuedBytes < this.#highBytes) {
      const chunk = stream.read();
      if (chunk === null) break;
      this.#push(chunk);
    }
    if (stream.isReadToEnd || stream.isClosed) this.#finish();
    this.#settle();
  }

  #offer(bytes: Uint8Array): boolean {
    if (this.#failure !== null || this.#decoder.queuedBytes >= this.#highBytes) return false;
    this.#push(bytes);
    this.#settle();
    return true;
  }

  #push(bytes: Uint8Array): void {
    this.#receivedBytes += bytes.byteLength;
    if (this.#receivedBytes - this.#progressBytes >= PROGRESS_BYTES) {
      this.#progressBytes = this.#receivedBytes;
      this.#progressMs = performance.now();
    }
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      // What arrived whole before may still be read.
      this.#failure = error;
      this.#stop();
    }
  }

  #stop(): void {
    this.#stream.onBytes = null;
    this.#stream.onReadable = null;
    this.#stream.discard();
  }

  #finish(): void {
    if (this.#hasEnded || this.#failure !== null) return;
    // The stream may be closed already with bytes in it that have yet to be read.
    if (this.#stream.isRemoteEnded && !this.#stream.isReadToEnd) return;
    const error = this.#options.endOf() ??
      (this.#decoder.isWhole
        ? null
        : new LocalError("connection_lost", `the stream of ${this.#options.peer} ended inside a message`));
    if (error === null) this.#hasEnded = true;
    else this.#failure = error;
  }

  /** Answers the pending read, where there is something to answer. */
  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    const frame = this.#decoder.take();
    if (frame === null && this.#failure === null && !this.#hasEnded) return;
    this.#waiting = null;
    if (frame !== null) waiting.resolve(frame);
    else if (this.#failure !== null) waiting.reject(this.#failure);
    else waiting.resolve(null);
  }

  #onTimer = (): void => {
    this.#timer = undefined;
    if (this.#waiting === null) return;
    const { timeoutMs, peer } = this.#options;
    const quietMs = performance.now() - this.#progressMs;
    if (quietMs < timeoutMs - 1) {
      this.#timer = setTimeout(this.#onTimer, timeoutMs - quietMs);
      return;
    }
    this.#options.onTimeout();
    this.#failure = new LocalError(
      "timeout",
      `no whole message, nor ${PROGRESS_BYTES / 1024} KiB of one, arrived from ${peer} within ${timeoutMs / 1000} s`,
    );
    this.#settle();
  };
}
