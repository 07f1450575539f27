/**
 * Messages on their way out over one HTTP/2 stream: waits when the peer is slower, and says when a body is no longer needed.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";

/** Bytes that have been given to the stream and not been sent, at most; one message is always let through. */
const WINDOW_BYTES = 4 * 2 ** 20;

/** Bytes of one write, after each of which it is seen that the peer takes something. */
const PIECE_BYTES = 128 * 2 ** 10;

/** Options of a {@linkcode MessageOutput}. */
export interface MessageOutputOptions {
  /** Longest wait for the peer to take something, in milliseconds. */
  timeoutMs: number;
  /** The peer, for messages. */
  peer: string;
  /** Why the peer takes no more, where that is known. */
  failure(): unknown;
}

/** A piece that waits to be written. */
interface Piece {
  readonly bytes: Uint8Array;
  /** The message that it is part of. */
  readonly message: PendingMessage;
  /** Whether it is the last of its message. */
  readonly isLast: boolean;
}

/** A message that was not written yet. */
interface PendingMessage {
  readonly byteLength: number;
  /** Gives its body back; `null` once that was done. */
  release: (() => void) | null;
}

/** Sends messages. */
export class MessageOutput {
  readonly #stream: Http2Stream;
  readonly #options: MessageOutputOptions;
  #pendingBytes = 0;
  #failure: unknown = null;
  #waiting: (() => void) | null = null;
  readonly #pieces: Piece[] = [];
  /** The message that the stream is writing a piece of. */
  #writing: PendingMessage | null = null;
  /** Pieces written, to tell slow from stuck. */
  #written = 0;
  #isEnding = false;

  /**
   * @param stream What is written to
   * @param options Timeout and peer
   */
  constructor(stream: Http2Stream, options: MessageOutputOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.onClose = () => this.fail(stream.error);
  }

  /**
   * Sends a message. Answers at once while little is under way; otherwise when the next message may be given.
   *
   * @param head The message's start with its gRPC prefix, 5 bytes
   * @param body The rest, borrowed until `release` is called
   * @param release Called once, on every path
   * @throws {DipcError} `connection_lost`, `timeout`, what the peer answered
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
   * Sends a short message that is no FlightData, such as a ticket. Answers as `write` does.
   *
   * @param bytes The message in protobuf's form
   * @throws {DipcError} as `write`, where it waits
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
   * Fails the write that waits and all later ones, and gives up what was not written.
   *
   * @param error What the stream reported, or `null` where it just ended
   */
  fail(error: unknown): void {
    this.#failure ??= this.#options.failure() ?? (error instanceof DipcError ? error : new LocalError(
      "connection_lost",
      `${this.#options.peer} ended the stream before everything was written${
        error instanceof Error ? `: ${error.message}` : ""
      }`,
      { cause: error ?? undefined },
    ));
    for (const { message } of this.#pieces.splice(0)) {
      // What the stream is writing is given back once it has said that it is done with it.
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
        throw new LocalError("timeout", `${peer} took less than ${PIECE_BYTES / 1024} KiB in ${timeoutMs / 1000} s`);
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
