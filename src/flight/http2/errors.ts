/**
 * What can be wrong with a peer's HTTP/2, in the codes of RFC 9113, section 7.
 *
 * @module
 */

/** Codes of RST_STREAM and GOAWAY. */
export const Http2Code = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  enhanceYourCalm: 0xb,
} as const;

/** What a peer got wrong, with which a stream or a whole connection is ended. Never leaves `src/flight/http2` and those that stand on it. */
export class Http2Error extends Error {
  /** One of {@linkcode Http2Code}. */
  readonly code: number;

  /**
   * @param code One of {@linkcode Http2Code}
   * @param message What was found
   */
  constructor(code: number, message: string) {
    super(message);
    this.name = "Http2Error";
    this.code = code;
  }
}

/** A peer ended a stream, as it may. */
export class Http2Reset extends Error {
  /** What the peer gave as its reason, usually one of {@linkcode Http2Code}. */
  readonly code: number;

  /**
   * @param code The peer's reason
   * @param message What it did
   */
  constructor(code: number, message: string) {
    super(message);
    this.name = "Http2Reset";
    this.code = code;
  }
}
