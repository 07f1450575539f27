/**
 * SETTINGS of HTTP/2 as they come from a peer, checked.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";

/** Identifiers of settings. */
export const SettingId = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** Largest flow-control window (RFC 9113, section 6.9.1). */
export const MAX_WINDOW = 2 ** 31 - 1;
/** Highest id of a stream; all 31 bits (section 4.1). */
export const MAX_STREAM_ID = 2 ** 31 - 1;
/** Window of a stream and of a connection by default, in bytes. */
export const DEFAULT_WINDOW = 65_535;
/** Longest frame by default, in bytes; also the least that may be announced. */
const DEFAULT_FRAME_BYTES = 16_384;
const MAX_FRAME_BYTES = 2 ** 24 - 1;
const SETTING_BYTES = 6;

/**
 * Concurrent streams until the peer's first SETTINGS, which announce how many it accepts. RFC 9113, section 6.5.2, allows more,
 * but those could be refused.
 */
const FIRST_STREAMS = 1;

/** The settings of a peer that matter to the other side. */
export interface PeerSettings {
  initialWindowSize: number;
  maxFrameSize: number;
  maxConcurrentStreams: number;
}

/** The settings that apply before the peer's first SETTINGS. */
export function initialSettings(): PeerSettings {
  return {
    initialWindowSize: DEFAULT_WINDOW,
    maxFrameSize: DEFAULT_FRAME_BYTES,
    maxConcurrentStreams: FIRST_STREAMS,
  };
}

/**
 * Reads a SETTINGS payload.
 *
 * @param payload Payload of the frame
 * @param settings The settings so far; updated in place
 * @param isOfServer Whether a server sent it: only a client may announce that it accepts pushes
 * @throws {Http2Error} With the code that RFC 9113, section 6.5, demands
 */
export function readSettings(payload: Uint8Array, settings: PeerSettings, isOfServer: boolean): void {
  if (payload.byteLength % SETTING_BYTES !== 0) {
    throw new Http2Error(Http2Code.frameSizeError, `SETTINGS have ${payload.byteLength} bytes`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  for (let at = 0; at < payload.byteLength; at += SETTING_BYTES) {
    const value = view.getUint32(at + 2);
    switch (view.getUint16(at)) {
      case SettingId.enablePush:
        if (value > (isOfServer ? 0 : 1)) throw new Http2Error(Http2Code.protocolError, `ENABLE_PUSH is ${value}`);
        break;
      case SettingId.maxConcurrentStreams:
        settings.maxConcurrentStreams = value;
        break;
      case SettingId.initialWindowSize:
        if (value > MAX_WINDOW) {
          throw new Http2Error(Http2Code.flowControlError, `INITIAL_WINDOW_SIZE is ${value}`);
        }
        settings.initialWindowSize = value;
        break;
      case SettingId.maxFrameSize:
        if (value < DEFAULT_FRAME_BYTES || value > MAX_FRAME_BYTES) {
          throw new Http2Error(Http2Code.protocolError, `MAX_FRAME_SIZE is ${value}`);
        }
        settings.maxFrameSize = value;
    }
  }
}
