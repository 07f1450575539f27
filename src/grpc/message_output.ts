/**
 * Frames on their way out over one HTTP/2 stream: waits where the peer is slower, and says when a body is no longer needed.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { encodeFrame, GRPC_PREFIX_BYTES, type OutgoingFrame } from "../flight/data.ts";
import type { Http2Stream } from "../http2/stream.ts";

/** Bytes that have been given to the stream and not been sent, at most; one frame is always let through. */
const WINDOW_BYTES = 4 * 2 ** 20;

/** Bytes of one write, after each of which it is seen that the peer takes something. */
const PIECE_BYTES = 128 * 2 ** 10;

/** Options of a {@linkcode FrameOutput}. */
export interface FrameOutputOptions {
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
  /** The frame that it is of. */
  readonly frame: PendingFrame;
  /** Whether it is the last of its frame. */
  readonly isLast: boolean;
}

/** A frame that was not written yet. */
interface PendingFrame {
  readonly byteLength: number;
  /** Gives its body back; `null` once that was done. */
  release: (() => void) | null;
}

/** Sends frames. */
export class FrameOutput {
  readonly #stream: Http2Stream;
  readonly #options: FrameOutputOptions;
  #pendingBytes = 0;
  #failure: unknown = null;
  #waiting: (() => void) | null = null;
  readonly #pieces: Piece[] = [];
  /** The frame that the stream is writing a piece of. */
  #writing: PendingFrame | null = null;
  /** Pieces written, to tell slow from stuck. */
  #written = 0;
  #isEnding = false;

  /**
   * @param stream What is written to
   * @param options Timeout and peer
   */
  constructor(stream: Http2Stream, options: FrameOutputOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.onClose = () => this.fail(stream.error);
  }

  /**
   * Sends a frame. Answers at once while little is under way; otherwise when the next frame may be given.
   *
   * @param frame What to send; its body is borrowed until `release` is called
   * @param release Called once, on every path
   * @throws {DipcError} `connection_lost`, `timeout`, `limit_exceeded`, what the peer answered
   */
  write(frame: OutgoingFrame, release: () => void = () => {}): void | Promise<void> {
    let head: Uint8Array;
    let body: Uint8Array | undefined;
    try {
      if (this.#failure !== null) throw this.#failure;
      [head, body] = encodeFrame(frame);
    } catch (error) {
      release();
      throw error;
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
    this.#failure ??= this.#options.failure() ?? (error instanceof DipcError ? error : new DipcError(
      "connection_lost",
      `${this.#options.peer} ended the stream before everything was written${
        error instanceof Error ? `: ${error.message}` : ""
      }`,
      { cause: error ?? undefined },
    ));
    for (const { frame } of this.#pieces.splice(0)) {
      // What the stream is writing is given back once it has said that it is done with it.
      if (frame !== this.#writing) releaseOnce(frame);
    }
    this.#wake();
  }

  #push(head: Uint8Array, body: Uint8Array | undefined, frame: PendingFrame): void {
    const length = body?.byteLength ?? 0;
    this.#pieces.push({ bytes: head, frame, isLast: length === 0 });
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const end = Math.min(length, at + PIECE_BYTES);
      this.#pieces.push({ bytes: body!.subarray(at, end), frame, isLast: end === length });
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
      this.#writing = piece.frame;
      const taken = (): void => this.#taken(piece);
      if (!this.#stream.write(piece.bytes, () => (taken(), this.#pump()))) return;
      taken();
    }
  }

  #taken({ frame, isLast }: Piece): void {
    this.#writing = null;
    this.#written++;
    if (isLast) {
      this.#pendingBytes -= frame.byteLength;
      if (this.#pendingBytes < WINDOW_BYTES) this.#wake();
    }
    if (isLast || this.#failure !== null) releaseOnce(frame);
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
        throw new DipcError("timeout", `${peer} took less than ${PIECE_BYTES / 1024} KiB in ${timeoutMs / 1000} s`);
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

function releaseOnce(frame: PendingFrame): void {
  const { release } = frame;
  frame.release = null;
  release?.();
}
