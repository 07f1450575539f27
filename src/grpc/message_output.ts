/**
 * Outgoing messages of one HTTP/2 stream: waits for a slower peer, and reports when a body is no longer needed.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";

/** Maximum number of queued bytes; a single larger message is admitted when nothing else is queued. */
const WINDOW_BYTES = 4 * 2 ** 20;

/** Size of one write, in bytes; each one that finishes is progress of the peer. */
const PIECE_BYTES = 128 * 2 ** 10;

/** Options of a {@linkcode MessageOutput}. */
export interface MessageOutputOptions {
  /** Longest wait for the peer to accept a piece, in milliseconds. */
  timeoutMs: number;
  /** Name of the peer in error messages. */
  peer: string;
  /** Why the peer accepts no more, if that is known, otherwise `null`. */
  failure(): unknown;
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

/** Sends messages in order. */
export class MessageOutput {
  readonly #stream: Http2Stream;
  readonly #options: MessageOutputOptions;
  #pendingBytes = 0;
  #failure: unknown = null;
  #waiting: (() => void) | null = null;
  readonly #pieces: Piece[] = [];
  /** The message that the stream is writing a piece of. */
  #writing: PendingMessage | null = null;
  /** Pieces written, to distinguish a slow peer from a stuck one. */
  #written = 0;
  #isEnding = false;

  /**
   * @param stream Stream to write to
   * @param options Timeout and peer
   */
  constructor(stream: Http2Stream, options: MessageOutputOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.onClose = () => this.fail(stream.error);
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
      if (message !== this.#writing) releaseOnce(message);
    }
    this.#wake();
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
    while (this.#writing === null && this.#failure === null) {
      const piece = this.#pieces.shift();
      if (piece === undefined) {
        if (this.#isEnding) this.#stream.end();
        return;
      }
      this.#writing = piece.message;
      const taken = (): void => this.#taken(piece);
      if (!this.#stream.write(piece.bytes, () => (taken(), this.#pump()))) return;
      taken();
    }
  }

  #taken({ message, isLast }: Piece): void {
    this.#writing = null;
    this.#written++;
    if (isLast) {
      this.#pendingBytes -= message.byteLength;
      if (this.#pendingBytes < WINDOW_BYTES) this.#wake();
    }
    if (isLast || this.#failure !== null) releaseOnce(message);
  }

  async #room(): Promise<void> {
    const { timeoutMs, peer } = this.#options;
    while (this.#failure === null && this.#pendingBytes >= WINDOW_BYTES) {
      const before = this.#written;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
        timer = setTimeout(resolve, timeoutMs);
      });
      clearTimeout(timer);
      if (this.#failure === null && this.#written === before && this.#pendingBytes >= WINDOW_BYTES) {
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
