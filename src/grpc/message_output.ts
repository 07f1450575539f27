/**
 * Outgoing messages of one call: waits for a slower peer, reports when a body is no longer needed, and can send again what a
 * server has not taken.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { patientTimeout } from "../patience.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";

/** Maximum number of queued bytes; a single larger message is admitted when nothing else is queued. */
const WINDOW_BYTES = 4 * 2 ** 20;

/** Size of one write, in bytes; each one that finishes is progress of the peer. */
const PIECE_BYTES = 128 * 2 ** 10;

/** Maximum size of what is kept to be sent again, in bytes; a call that has written more cannot be made again. */
const REPLAY_BYTES = 256 * 2 ** 10;

/** Options of a {@linkcode MessageOutput}. */
export interface MessageOutputOptions {
  /** Longest wait for the peer to accept a piece, in milliseconds. */
  timeoutMs: number;
  /** Name of the peer in error messages. */
  peer: string;
  /** Why the peer accepts no more, if that is known, otherwise `null`. */
  failure(): unknown;
  /** Whether the peer cannot accept anything yet, so that the time does not count. */
  isHeld(): boolean;
  /** Called when the stream is over: whether the call goes on with another one. */
  resumes(): boolean;
}

/** A piece that waits to be written. */
interface Piece {
  readonly bytes: Uint8Array;
  /** The message that it is part of. */
  readonly message: PendingMessage;
  /** Whether it is the last piece of its message. */
  readonly isLast: boolean;
}

/** A message that has not been written yet. */
interface PendingMessage {
  readonly byteLength: number;
  /** Releases its body; `null` once called. */
  release: (() => void) | null;
}

/** The message of pieces that are copies: it has no body to release. */
const KEPT: PendingMessage = { byteLength: 0, release: null };

/** Sends messages in order. */
export class MessageOutput {
  /** `null` between two streams. */
  #stream: Http2Stream | null = null;
  readonly #options: MessageOutputOptions;
  #pendingBytes = 0;
  #failure: unknown = null;
  #waiting: (() => void) | null = null;
  #pieces: Piece[] = [];
  /** The piece that the stream is writing. */
  #writing: Piece | null = null;
  /** Copies of the pieces written, to be sent again; `null` once that is not possible any more. */
  #written: Piece[] | null = [];
  #writtenBytes = 0;
  #writtenCount = 0;
  #isEnding = false;

  /**
   * @param stream Stream to write to
   * @param options Timeout and peer
   */
  constructor(stream: Http2Stream, options: MessageOutputOptions) {
    this.#options = options;
    this.attach(stream);
  }

  /** Whether everything so far can be sent again. */
  get isReplayable(): boolean {
    return this.#written !== null;
  }

  /** Pieces written so far, to distinguish a slow peer from a stuck one. */
  get writtenCount(): number {
    return this.#writtenCount;
  }

  /** The peer has taken the call: nothing needs to be sent again. */
  commit(): void {
    this.#written = null;
  }

  /** Sends on this stream from now on, everything so far included. */
  attach(stream: Http2Stream): void {
    this.#stream = stream;
    stream.onClose = () => {
      if (this.#options.resumes()) this.#rewind();
      else this.fail(stream.error);
    };
    this.#pump();
  }

  /**
   * Sends a message. Returns nothing while little is queued, otherwise a promise that resolves when there is room for the next.
   *
   * @param head The message's start with its gRPC prefix, 5 bytes
   * @param body The rest, borrowed until `release` is called
   * @param release Called once, on every path
   * @throws {DipcError} `connection_lost`, `timeout`, the peer's status
   */
  write(head: Uint8Array, body?: Uint8Array, release: () => void = () => {}): void | Promise<void> {
    if (this.#failure !== null) {
      release();
      throw this.#failure;
    }
    const pending = { byteLength: head.byteLength + (body?.byteLength ?? 0), release };
    this.#pendingBytes += pending.byteLength;
    this.#push(head, body, pending);
    if (this.#pendingBytes >= WINDOW_BYTES) return this.#room();
  }

  /**
   * Sends a short message that is not FlightData, such as a ticket. Returns as `write` does.
   *
   * @param bytes The message, encoded by protobuf
   * @throws {DipcError} As `write`, if it waits
   */
  message(bytes: Uint8Array): void | Promise<void> {
    if (this.#failure !== null) return;
    const prefixed = new Uint8Array(GRPC_PREFIX_BYTES + bytes.byteLength);
    new DataView(prefixed.buffer).setUint32(1, bytes.byteLength);
    prefixed.set(bytes, GRPC_PREFIX_BYTES);
    this.#pendingBytes += prefixed.byteLength;
    this.#push(prefixed, undefined, { byteLength: prefixed.byteLength, release: null });
    if (this.#pendingBytes >= WINDOW_BYTES) return this.#room();
  }

  /** Ends this direction. */
  end(): void {
    if (this.#failure !== null || this.#isEnding) return;
    this.#isEnding = true;
    this.#pump();
  }

  /**
   * Fails the pending write and all later ones, and drops what was not written.
   *
   * @param error The stream's error, or `null` if it ended without one
   */
  fail(error: unknown): void {
    this.#failure ??= this.#options.failure() ?? (error instanceof DipcError ? error : new LocalError(
      "connection_lost",
      `cannot send to ${this.#options.peer}: it ended the stream before everything was written${
        error instanceof Error ? `: ${error.message}` : ""
      }`,
      { cause: error ?? undefined },
    ));
    for (const { message } of this.#pieces.splice(0)) {
      // The message being written is released once the stream has finished with it.
      if (message !== this.#writing?.message) releaseOnce(message);
    }
    this.#written = null;
    this.#wake();
  }

  /** The stream is over, and nothing of what it wrote counts. */
  #rewind(): void {
    this.#stream = null;
    this.#pieces = [...this.#written!, ...(this.#writing === null ? [] : [this.#writing]), ...this.#pieces];
    this.#writing = null;
    this.#written = [];
    this.#writtenBytes = 0;
  }

  #push(head: Uint8Array, body: Uint8Array | undefined, message: PendingMessage): void {
    const length = body?.byteLength ?? 0;
    this.#pieces.push({ bytes: head, message, isLast: length === 0 });
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const end = Math.min(length, at + PIECE_BYTES);
      this.#pieces.push({ bytes: body!.subarray(at, end), message, isLast: end === length });
    }
    this.#pump();
  }

  #pump(): void {
    const stream = this.#stream;
    // What a stream that is over would take is lost.
    while (stream?.isClosed === false && this.#writing === null && this.#failure === null) {
      const piece = this.#pieces.shift();
      if (piece === undefined) {
        if (this.#isEnding) stream.end();
        return;
      }
      this.#writing = piece;
      const taken = (): void => this.#taken(piece);
      if (!stream.write(piece.bytes, () => stream === this.#stream && (taken(), this.#pump()))) return;
      taken();
    }
  }

  /** Keeps a copy of a piece that was written, while there is room for it. */
  #keep({ bytes, message }: Piece): void {
    this.#writtenBytes += bytes.byteLength;
    if (this.#writtenBytes > REPLAY_BYTES) this.#written = null;
    else if (message === KEPT) this.#written!.push({ bytes, message, isLast: false });
    else this.#written!.push({ bytes: bytes.slice(), message: KEPT, isLast: false });
  }

  #taken(piece: Piece): void {
    const { message, isLast } = piece;
    this.#writing = null;
    this.#writtenCount++;
    if (this.#written !== null) this.#keep(piece);
    if (isLast) {
      this.#pendingBytes -= message.byteLength;
      if (this.#pendingBytes < WINDOW_BYTES) this.#wake();
    }
    if (isLast || this.#failure !== null) releaseOnce(message);
  }

  async #room(): Promise<void> {
    const { timeoutMs, peer } = this.#options;
    while (this.#failure === null && this.#pendingBytes >= WINDOW_BYTES) {
      const before = this.#writtenCount;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = resolve;
      const timer = patientTimeout(timeoutMs, resolve);
      await promise;
      timer.stop();
      if (this.#options.isHeld()) continue;
      if (this.#failure === null && this.#writtenCount === before && this.#pendingBytes >= WINDOW_BYTES) {
        throw new LocalError(
          "timeout",
          `cannot send to ${peer}: it accepted less than ${PIECE_BYTES / 1024} KiB in ${timeoutMs / 1000} s`,
        );
      }
    }
    if (this.#failure !== null) throw this.#failure;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
  }
}

function releaseOnce(message: PendingMessage): void {
  const { release } = message;
  message.release = null;
  release?.();
}
