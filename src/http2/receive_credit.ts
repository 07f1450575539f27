/**
 * What a peer may still send: the windows of a connection and of its streams, and the credit given for consumed bytes. The window
 * of a stream that is read as fast as its bytes come grows, because the peer may be waiting for credit that is on its way.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import type { Http2Stream } from "./stream.ts";

/** Credit is given once this part of a window has been consumed. */
const PART = 1 / 4;

/** Counts received and consumed bytes. */
export class ReceiveCredit {
  readonly #window: number;
  readonly #give: (streamId: number, bytes: number) => void;
  #left: number;
  #uncredited = 0;

  /**
   * @param window Bytes that may be received but not consumed on the connection
   * @param give Sends a WINDOW_UPDATE; stream 0 is the connection
   */
  constructor(window: number, give: (streamId: number, bytes: number) => void) {
    this.#window = this.#left = window;
    this.#give = give;
  }

  /**
   * A frame of DATA has begun.
   *
   * @param bytes Size of its payload, with padding
   * @throws {Http2Error} FLOW_CONTROL_ERROR
   */
  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0) {
      throw new Http2Error(Http2Code.flowControlError, "DATA exceeds the connection's window");
    }
  }

  /**
   * Bytes were consumed.
   *
   * @param stream The stream that they came on; `null` if it is over
   * @param bytes Number of consumed bytes
   */
  used(stream: Http2Stream | null, bytes: number): void {
    this.#uncredited += bytes;
    if (this.#uncredited >= this.#window * PART) {
      this.#left += this.#uncredited;
      this.#give(0, this.#uncredited);
      this.#uncredited = 0;
    }
    if (stream === null || stream.isRemoteEnded || stream.isClosed) return;
    stream.uncredited += bytes;
    if (stream.uncredited < stream.window * PART) return;
    const growth = stream.keepsUp ? Math.max(0, Math.min(stream.window, stream.maxWindow - stream.window)) : 0;
    const credit = stream.uncredited + growth;
    stream.window += growth;
    stream.receiveWindow += credit;
    stream.uncredited = 0;
    this.#give(stream.id, credit);
  }
}
