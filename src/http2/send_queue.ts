/**
 * The streams of a connection that have something to send, served in turn, and the connection's send window.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import type { FloodLimits } from "./flood.ts";
import { FRAME_HEADER_BYTES, FrameType, putFrameHeader } from "./frames.ts";
import type { Output } from "./output.ts";
import { DEFAULT_WINDOW, MAX_WINDOW, type PeerSettings } from "./settings.ts";
import type { Http2Stream } from "./stream.ts";

/** Longest DATA frame sent, in bytes, so that streams take turns. */
const MAX_SENT_FRAME_BYTES = 64 * 1024;
/** Minimum room for a DATA frame, in bytes, so that the end of a buffer does not get a tiny one. */
const MIN_SENT_FRAME_BYTES = 1024;

/** Data of this many bytes is sent without a copy if that is possible: for less a copy costs less. */
const MIN_SENT_NOW_BYTES = 16 * 1024;
/** Longest DATA frame sent without a copy, in bytes; the longer, the fewer headers interrupt what is received in place. */
const MAX_LARGE_FRAME_BYTES = 256 * 1024;
/** Data of one stream sent without a copy before another one has its turn, in bytes. */
const MAX_TURN_BYTES = 2 ** 20;
/** Frames sent by one call, and the distance of their headers in memory, in bytes. */
const MAX_FRAMES = 32;
const HEADER_STRIDE = 16;

/** Puts DATA under flow control into the output. */
export class SendQueue {
  readonly #output: Output;
  readonly #peer: PeerSettings;
  readonly #flood: FloodLimits;
  readonly #ready = new Set<Http2Stream>();
  #window = DEFAULT_WINDOW;
  #isPumping = false;
  readonly #headers = new Uint8Array(MAX_FRAMES * HEADER_STRIDE);

  /**
   * @param output The frames are put into it
   * @param peer Settings of the peer; they may change
   * @param flood Counts the frames
   */
  constructor(output: Output, peer: PeerSettings, flood: FloodLimits) {
    this.#output = output;
    this.#peer = peer;
    this.#flood = flood;
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
   * @param bytes Size of the credit
   * @throws {Http2Error} FLOW_CONTROL_ERROR if the window becomes too large
   */
  widen(bytes: number): void {
    this.#window += bytes;
    if (this.#window > MAX_WINDOW) {
      throw new Http2Error(Http2Code.flowControlError, "the peer made the connection's window too large");
    }
    this.pump();
  }

  /**
   * The peer gave credit to one stream.
   *
   * @param bytes Size of the credit
   * @returns The fault to reset the stream for, or `null`
   */
  widenStream(stream: Http2Stream, bytes: number): Http2Error | null {
    if (bytes === 0) return new Http2Error(Http2Code.protocolError, "WINDOW_UPDATE by 0");
    stream.sendWindow += bytes;
    if (stream.sendWindow > MAX_WINDOW) {
      return new Http2Error(Http2Code.flowControlError, "WINDOW_UPDATE makes a window too large");
    }
    if (stream.wantsToSend) {
      this.#ready.add(stream);
      this.pump();
    }
    return null;
  }

  /**
   * The peer changed the window that streams begin with.
   *
   * @param streams Those under way
   * @param bytes By how much; negative if it is smaller than before
   * @throws {Http2Error} FLOW_CONTROL_ERROR if a window becomes too large
   */
  widenAll(streams: Iterable<Http2Stream>, bytes: number): void {
    for (const stream of streams) {
      stream.sendWindow += bytes;
      if (stream.sendWindow > MAX_WINDOW) {
        throw new Http2Error(Http2Code.flowControlError, "INITIAL_WINDOW_SIZE makes a window too large");
      }
      if (stream.wantsToSend) this.#ready.add(stream);
    }
  }

  /** Sends as much as credit and room allow. */
  pump(): void {
    // A stream that is notified of taken bytes may call this again; the loop below covers that.
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      this.#send();
    } finally {
      this.#isPumping = false;
    }
  }

  /** Sends data of a stream from its memory. @returns whether some of it was taken */
  #sendNow(stream: Http2Stream): boolean {
    const frameBytes = Math.min(this.#peer.maxFrameSize, MAX_LARGE_FRAME_BYTES);
    const most = Math.min(this.#window, stream.sendWindow, MAX_FRAMES * frameBytes, MAX_TURN_BYTES);
    const data = stream.peek(most);
    const frames: Uint8Array<ArrayBuffer>[][] = [];
    for (let at = 0; at < data.byteLength; at += frameBytes) {
      const body = data.subarray(at, at + frameBytes);
      const header = this.#headers.subarray(frames.length * HEADER_STRIDE).subarray(0, FRAME_HEADER_BYTES);
      putFrameHeader(header, 0, body.byteLength, FrameType.data, 0, stream.id);
      frames.push([header, body]);
    }
    const taken = this.#output.sendNow(frames);
    if (taken === 0) return false;
    const bytes = Math.min(taken * frameBytes, data.byteLength);
    this.#flood.countContent(taken);
    this.#window -= bytes;
    stream.sentNow(bytes);
    return true;
  }

  #send(): void {
    const blocked: Http2Stream[] = [];
    for (const stream of this.#ready) {
      this.#ready.delete(stream);
      if (stream.pendingBytes === 0) {
        stream.sendEnd();
        continue;
      }
      if (stream.sendWindow <= 0) continue; // continues with the stream's WINDOW_UPDATE
      if (this.#window > 0 && stream.pendingBytes >= MIN_SENT_NOW_BYTES && this.#output.sendsNow) {
        const isTaken = !this.#output.isWaiting && this.#sendNow(stream);
        if (isTaken || this.#output.isWaiting) {
          if (!isTaken) blocked.push(stream);
          else if (stream.wantsToSend) this.#ready.add(stream);
          continue;
        }
        // The system takes nothing: what is copied waits for it.
      }
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
      this.#flood.countContent(1);
      // First, because the stream may send control frames when its bytes are taken.
      this.#output.advance(FRAME_HEADER_BYTES + bytes);
      stream.take(room.buffer, room.at + FRAME_HEADER_BYTES, bytes);
      if (stream.wantsToSend) this.#ready.add(stream);
    }
    for (const stream of blocked) if (!stream.isClosed) this.#ready.add(stream);
  }
}
