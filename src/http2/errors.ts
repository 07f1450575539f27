/**
 * Errors of HTTP/2, with the codes of RFC 9113, section 7.
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

/** An error with a code of HTTP/2. Never leaves `src/http2` and `src/grpc`, which stands on it. */
class CodedError extends Error {
  /** Usually one of {@linkcode Http2Code}. */
  readonly code: number;

  /**
   * @param code Usually one of {@linkcode Http2Code}
   * @param message Description of the fault or of the reset
   */
  constructor(code: number, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A fault of the peer that ends a stream or the whole connection. */
export class Http2Error extends CodedError {}

/** The headers of a peer are longer than this side accepts. */
export class Http2TooLong extends Http2Error {
  override name = "Http2Error";
}

/** A peer ended a stream or a connection, as it may; the code is the one that it sent. */
export class Http2Reset extends CodedError {}
