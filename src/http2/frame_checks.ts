/**
 * What RFC 9113, section 6, demands of the length and the stream of frames besides DATA and header blocks.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import { Flag, FrameType } from "./frames.ts";

/**
 * Checks one frame by itself.
 *
 * @param type One of `FrameType`
 * @param flags Flags of its header
 * @param streamId Stream of its header; 0 is the connection
 * @param length Size of its payload in bytes
 * @throws {Http2Error} The error to end the connection with
 */
export function checkFrame(type: number, flags: number, streamId: number, length: number): void {
  switch (type) {
    case FrameType.settings:
      expect(streamId === 0, "SETTINGS on a stream");
      if ((flags & Flag.ack) !== 0) expectBytes(length, 0, "an acknowledgement of SETTINGS");
      break;
    case FrameType.windowUpdate:
      expectBytes(length, 4, "WINDOW_UPDATE");
      break;
    case FrameType.ping:
      expect(streamId === 0, "PING on a stream");
      expectBytes(length, 8, "PING");
      break;
    case FrameType.rstStream:
      expect(streamId !== 0, "RST_STREAM on stream 0");
      expectBytes(length, 4, "RST_STREAM");
      break;
    case FrameType.goaway:
      expect(streamId === 0, "GOAWAY on a stream");
      if (length < 8) throw new Http2Error(Http2Code.frameSizeError, "GOAWAY is too short");
      break;
    case FrameType.priority:
      expect(streamId !== 0, "PRIORITY on stream 0");
      break;
    case FrameType.pushPromise:
      throw new Http2Error(Http2Code.protocolError, "PUSH_PROMISE, although push is off");
  }
}

/** Throws PROTOCOL_ERROR, which ends the connection, unless a condition holds. */
export function expect(condition: boolean, found: string): void {
  if (!condition) throw new Http2Error(Http2Code.protocolError, found);
}

function expectBytes(length: number, expected: number, what: string): void {
  if (length !== expected) {
    throw new Http2Error(Http2Code.frameSizeError, `${what} has ${length} bytes, expected ${expected}`);
  }
}
