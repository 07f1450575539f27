/**
 * Frames on their way out over one HTTP/2 stream: waits where the peer is slower, and says when a body is no longer needed.
 *
 * @module
 */
import type { Writable } from "node:stream";
import { DipcError } from "../errors.ts";
import { textOf } from "./connection.ts";
import { encodeFrame, GRPC_PREFIX_BYTES, type OutgoingFrame } from "./data.ts";

/** Bytes that have been given to the stream and not been sent, at most; one frame is always let through. */
const WINDOW_BYTES = 4 * 2 ** 20;

/** Options of a {@linkcode FrameOutput}. */
export interface FrameOutputOptions {
  /** Longest wait for the peer to take something, in milliseconds. */
  timeoutMs: number;
  /** The peer, for messages. */
  peer: string;
  /** Why the peer takes no more, where that is known. */
  failure(): unknown;
}

/** Sends frames. */
export class FrameOutput {
  readonly #stream: Writable;
  readonly #options: FrameOutputOptions;
  #pendingBytes = 0;
  #failure: unknown = null;
  #waiting: (() => void) | null = null;
  readonly #releases = new Set<() => void>();

  /**
   * @param stream What is written to
   * @param options Timeout and peer
   */
  constructor(stream: Writable, options: FrameOutputOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on("close", () => this.#fail(null));
    stream.on("error", (error) => this.#fail(error));
  }

  /**
   * Sends a frame. Answers at once while little is under way; otherwise when the next frame may be given.
   *
   * @param frame What to send; its body is borrowed until `release` is called
   * @param release Called once, on every path
   * @throws {DipcError} `connection_lost`, `timeout`, `limit_exceeded`, what the peer answered
   */
  write(frame: OutgoingFrame, release: () => void = () => {}): void | Promise<void> {
    let pieces: Uint8Array[];
    try {
      if (this.#failure !== null) throw this.#failure;
      pieces = encodeFrame(frame);
    } catch (error) {
      release();
      throw error;
    }
    const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    this.#pendingBytes += bytes;
    this.#releases.add(release);
    const sent = (): void => {
      this.#pendingBytes -= bytes;
      if (this.#releases.delete(release)) release();
      if (this.#pendingBytes < WINDOW_BYTES) this.#wake();
    };
    const stream = this.#stream;
    if (pieces.length === 1) {
      stream.write(pieces[0], sent);
    } else {
      stream.write(pieces[0]);
      stream.write(pieces[1], sent);
    }
    if (this.#pendingBytes >= WINDOW_BYTES) return this.#room();
  }

  /**
   * Sends a short message that is no FlightData, such as a ticket.
   *
   * @param bytes The message in protobuf's form
   */
  message(bytes: Uint8Array): void {
    if (this.#failure !== null) return;
    const prefixed = new Uint8Array(GRPC_PREFIX_BYTES + bytes.byteLength);
    new DataView(prefixed.buffer).setUint32(1, bytes.byteLength);
    prefixed.set(bytes, GRPC_PREFIX_BYTES);
    this.#stream.write(prefixed);
  }

  /** Ends this direction. */
  end(): void {
    if (this.#failure === null) this.#stream.end();
  }

  async #room(): Promise<void> {
    const { timeoutMs, peer } = this.#options;
    while (this.#failure === null && this.#pendingBytes >= WINDOW_BYTES) {
      const before = this.#pendingBytes;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
        timer = setTimeout(resolve, timeoutMs);
      });
      clearTimeout(timer);
      if (this.#failure === null && this.#pendingBytes >= before) {
        throw new DipcError("timeout", `${peer} took nothing for ${timeoutMs / 1000} s`);
      }
    }
    if (this.#failure !== null) throw this.#failure;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
  }

  #fail(error: unknown): void {
    if (this.#failure === null) {
      this.#failure = this.#options.failure() ?? new DipcError(
        "connection_lost",
        `${this.#options.peer} closed the stream while it was being written${
          error === null ? "" : `: ${textOf(error)}`
        }`,
        { cause: error ?? undefined },
      );
    }
    for (const release of this.#releases) release();
    this.#releases.clear();
    this.#wake();
  }
}
