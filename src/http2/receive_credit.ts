/**
 * What a peer may still send: the window of a connection and those of its streams, and the credit given for what was used.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import type { Http2Stream } from "./stream.ts";

/** Credit is given once this part of a window has been used. */
const PART = 1 / 4;

/** Counts what comes in. */
export class ReceiveCredit {
  readonly #windows: { readonly connection: number; readonly stream: number };
  readonly #give: (streamId: number, bytes: number) => void;
  #left: number;
  #uncredited = 0;

  /**
   * @param windows Bytes that the peer may send before they are used, on the connection and on each stream
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
   * @param bytes Its bytes, with padding
   * @throws {Http2Error} FLOW_CONTROL_ERROR
   */
  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0) {
      throw new Http2Error(Http2Code.flowControlError, "the peer sent more than the connection's window");
    }
  }

  /**
   * Bytes were used.
   *
   * @param stream Whose they were; `null` where it is over
   * @param bytes How many
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
