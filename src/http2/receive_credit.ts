/**
 * What a peer may still send: the windows of a connection and of its streams, and the credit given for consumed bytes.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import type { Http2Stream } from "./stream.ts";

/** Credit is given once this part of a window has been consumed. */
const PART = 1 / 4;

/** Counts received and consumed bytes. */
export class ReceiveCredit {
  readonly #windows: { readonly connection: number; readonly stream: number };
  readonly #give: (streamId: number, bytes: number) => void;
  #left: number;
  #uncredited = 0;

  /**
   * @param windows Bytes that may be received but not consumed, on the connection and on each stream
   * @param give Sends a WINDOW_UPDATE; stream 0 is the connection
   */
  constructor(
    windows: { connection: number; stream: number },
    give: (streamId: number, bytes: number) => void,
  ) {
    this.#windows = windows;
    this.#give = give;
    this.#left = windows.connection;
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
    if (this.#uncredited >= this.#windows.connection * PART) {
      this.#left += this.#uncredited;
      this.#give(0, this.#uncredited);
      this.#uncredited = 0;
    }
    if (stream === null || stream.isRemoteEnded || stream.isClosed) return;
    stream.uncredited += bytes;
    if (stream.uncredited < this.#windows.stream * PART) return;
    stream.receiveWindow += stream.uncredited;
    this.#give(stream.id, stream.uncredited);
    stream.uncredited = 0;
  }
}
