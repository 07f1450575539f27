/**
 * Incoming messages of one call: makes the peer wait when the reader does.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { PatientTimer } from "../patience.ts";

/** Bytes that count as progress, so that a peer cannot hold a reader with a byte from time to time. */
const PROGRESS_BYTES = 64 * 2 ** 10;

/** The window of HTTP/2 grows, while the reader keeps up, to this many times the size of the messages that may wait. */
const WINDOWS = 2;

/** Decodes the bytes of a stream into messages. */
export interface StreamDecoder<T> {
  /** Size of the complete messages that may wait before the peer must, in bytes, unless `maxInFlightBytes` is less. */
  readonly readAheadBytes: number;
  /** Size of the messages that wait to be taken, in bytes; even an empty one counts as some. */
  readonly queuedBytes: number;
  /** Whether the bytes so far end with a complete message. */
  readonly isWhole: boolean;
  /** The next message, which the caller then owns, or `null` if none is complete. */
  take(): T | null;
  /**
   * Adds received bytes; they are not kept.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `out_of_memory`; after that, only `close` may be called
   */
  push(chunk: Uint8Array): void;
  /** The memory that the next bytes belong in, if that is known. */
  room?(): Uint8Array<ArrayBuffer> | null;
  /** Bytes came into the memory that `room` has just returned; throws what `push` does. */
  filled?(count: number): void;
  /** Releases everything that was not taken. Idempotent. */
  close(): void;
}

/** Options of a {@linkcode StreamInput}. */
export interface StreamInputOptions {
  /** Maximum size of frames that have arrived but were not read, in bytes; a single larger one is admitted. */
  maxInFlightBytes: number;
  /** Longest wait for a frame, or for 64 KiB of one, in milliseconds. */
  timeoutMs: number;
  /** Name of the peer in error messages. */
  peer: string;
  /** Called when a wait has timed out. */
  onTimeout(): void;
  /** Called when the stream has ended: returns the error that its end stands for, or `null` if it succeeded. */
  endOf(): unknown;
  /** Whether the peer cannot answer yet, so that the time does not count. */
  isHeld(): boolean;
  /** Called when the stream has ended: whether the call goes on with another one. */
  resumes(): boolean;
}

/** Receives messages. */
export class StreamInput<T> {
  #stream: Http2Stream;
  readonly #options: StreamInputOptions;
  readonly #decoder: StreamDecoder<T>;
  readonly #highBytes: number;
  #failure: unknown = null;
  #hasEnded = false;
  #waiting: { resolve: (frame: T | null) => void; reject: (error: unknown) => void } | null = null;
  readonly #timer = new PatientTimer(() => this.#onTime());
  #progressBytes = 0;
  #receivedBytes = 0;

  /**
   * @param stream Stream to read from; reading starts immediately
   * @param decoder Decodes its bytes; closed with this
   * @param options Limits and callbacks
   */
  constructor(stream: Http2Stream, decoder: StreamDecoder<T>, options: StreamInputOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#decoder = decoder;
    this.#highBytes = Math.min(decoder.readAheadBytes, options.maxInFlightBytes);
    this.attach(stream);
  }

  /** Reads from this stream from now on; nothing has come by the one before. */
  attach(stream: Http2Stream): void {
    this.#stream = stream;
    stream.maxWindow = WINDOWS * this.#highBytes;
    stream.onBytes = (bytes) => this.#offer(bytes);
    stream.onReadable = () => this.#pull();
    stream.place = {
      room: () => this.#isFull ? null : this.#decoder.room?.() ?? null,
      filled: (count) => {
        this.#add(count, () => this.#decoder.filled!(count));
        this.#settle();
      },
    };
    this.restart();
  }

  /** The wait for a message begins anew: only now can the peer answer. */
  restart(): void {
    if (this.#waiting !== null) this.#timer.start(this.#options.timeoutMs);
  }

  /** Bytes received, gRPC's prefixes included. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * The next frame, or `null` after the end of a complete stream. Returns a promise only if the frame has not arrived yet. The
   * caller owns the frame's body. Must not be called while an earlier call is pending.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `timeout`, `connection_lost`, and what `endOf` returns
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
      this.restart();
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
    this.#timer.stop();
    this.#stop();
    this.#decoder.close();
    this.#failure ??= new LocalError("closed", `cannot read from ${this.#options.peer}: the stream was closed`);
    this.#settle();
  }

  /** Reads until enough messages wait, no more bytes are there, or the stream is over. */
  #pull(): void {
    const stream = this.#stream;
    while (!this.#isFull) {
      const chunk = stream.read();
      if (chunk === null) break;
      this.#push(chunk);
    }
    if (stream.isReadToEnd || stream.isClosed) this.#finish();
    this.#settle();
  }

  #offer(bytes: Uint8Array): boolean {
    if (this.#isFull) return false;
    this.#push(bytes);
    this.#settle();
    return true;
  }

  /** Whether nothing more is decoded for now. */
  get #isFull(): boolean {
    return this.#failure !== null || this.#decoder.queuedBytes >= this.#highBytes;
  }

  #push(bytes: Uint8Array): void {
    this.#add(bytes.byteLength, () => this.#decoder.push(bytes));
  }

  #add(count: number, decode: () => void): void {
    this.#receivedBytes += count;
    if (this.#receivedBytes - this.#progressBytes >= PROGRESS_BYTES) {
      this.#progressBytes = this.#receivedBytes;
      this.restart();
    }
    try {
      decode();
    } catch (error) {
      // Messages that were complete before may still be read.
      this.#failure = error;
      this.#stop();
    }
  }

  #stop(): void {
    this.#stream.onBytes = null;
    this.#stream.onReadable = null;
    this.#stream.place = null;
    this.#stream.discard();
  }

  #finish(): void {
    if (this.#hasEnded || this.#failure !== null) return;
    // A closed stream may still have unread bytes.
    if (this.#stream.isRemoteEnded && !this.#stream.isReadToEnd) return;
    if (this.#options.resumes()) return;
    const error = this.#options.endOf() ??
      (this.#decoder.isWhole ? null : new LocalError(
        "connection_lost",
        `cannot read from ${this.#options.peer}: the stream ended inside a message`,
      ));
    if (error === null) this.#hasEnded = true;
    else this.#failure = error;
    // What was not read yet needs no further wait; a program may end meanwhile.
    this.#timer.stop();
  }

  /** Settles the pending read, if there is a message, an error or the end for it. */
  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    const frame = this.#decoder.take();
    if (frame === null && this.#failure === null && !this.#hasEnded) return;
    this.#waiting = null;
    this.#timer.pause();
    if (frame !== null) waiting.resolve(frame);
    else if (this.#failure !== null) waiting.reject(this.#failure);
    else waiting.resolve(null);
  }

  #onTime(): void {
    const { timeoutMs, peer } = this.#options;
    if (this.#options.isHeld()) return this.restart();
    this.#options.onTimeout();
    this.#failure = new LocalError(
      "timeout",
      `cannot read from ${peer}: no complete message, nor ${PROGRESS_BYTES / 1024} KiB of one, arrived within ${
        timeoutMs / 1000
      } s`,
    );
    this.#settle();
  }
}
