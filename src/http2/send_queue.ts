/**
 * The streams of a connection that have something to send, in turn, and the credit of the connection for it.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import { FRAME_HEADER_BYTES, FrameType, putFrameHeader } from "./frames.ts";
import type { Output } from "./output.ts";
import { DEFAULT_WINDOW, MAX_WINDOW, type PeerSettings } from "./settings.ts";
import type { Http2Stream } from "./stream.ts";

/** Longest DATA frame sent, so that streams take turns. */
const MAX_SENT_FRAME_BYTES = 64 * 1024;
/** Least room for a DATA frame, so that none is cut small for the end of a buffer. */
const MIN_SENT_FRAME_BYTES = 1024;

/** Puts DATA under flow control into the output. */
export class SendQueue {
  readonly #output: Output;
  readonly #peer: PeerSettings;
  readonly #ready = new Set<Http2Stream>();
  #window = DEFAULT_WINDOW;
  #isPumping = false;

  /**
   * @param output Takes the frames
   * @param peer What the peer has set
   */
  constructor(output: Output, peer: PeerSettings) {
    this.#output = output;
    this.#peer = peer;
  }

  /** A stream has something to send, and may have credit for it. */
  add(stream: Http2Stream): void {
    this.#ready.add(stream);
  }

  /** A stream is over. */
  delete(stream: Http2Stream): void {
    this.#ready.delete(stream);
  }

  /** Every stream is over. */
  clear(): void {
    this.#ready.clear();
  }

  /**
   * The peer gave credit to the whole connection.
   *
   * @param bytes How much
   * @throws {Http2Error} FLOW_CONTROL_ERROR where it is too much
   */
  widen(bytes: number): void {
    this.#window += bytes;
    if (this.#window > MAX_WINDOW) {
      throw new Http2Error(Http2Code.flowControlError, "the peer made the connection's window too large");
    }
    this.pump();
  }

  /** Sends what credit and room let go. */
  pump(): void {
    // What a stream does when its bytes were taken leads here again; the loop below sees to it.
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      this.#send();
    } finally {
      this.#isPumping = false;
    }
  }

  #send(): void {
    const blocked: Http2Stream[] = [];
    for (const stream of this.#ready) {
      this.#ready.delete(stream);
      if (stream.pendingBytes === 0) {
        stream.sendEnd();
        continue;
      }
      if (stream.sendWindow <= 0) continue; // goes on with the stream's WINDOW_UPDATE
      const room = this.#window <= 0 ? null : this.#output.room(FRAME_HEADER_BYTES + MIN_SENT_FRAME_BYTES);
      if (room === null) {
        blocked.push(stream);
        continue;
      }
      const bytes = Math.min(
        this.#window,
        stream.sendWindow,
        stream.pendingBytes,
        room.bytes - FRAME_HEADER_BYTES,
        this.#peer.maxFrameSize,
        MAX_SENT_FRAME_BYTES,
      );
      putFrameHeader(room.buffer, room.at, bytes, FrameType.data, 0, stream.id);
      this.#window -= bytes;
      // First, because the stream may have control frames sent when its bytes were taken.
      this.#output.advance(FRAME_HEADER_BYTES + bytes);
      stream.take(room.buffer, room.at + FRAME_HEADER_BYTES, bytes);
      if (stream.wantsToSend) this.#ready.add(stream);
    }
    for (const stream of blocked) if (!stream.isClosed) this.#ready.add(stream);
  }
}
