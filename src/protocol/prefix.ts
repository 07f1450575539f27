/**
 * The five bytes before every metadata message: its type (u8) and its sequence number (u32, little-endian).
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerRefusal } from "../options.ts";
import { checkSequence } from "./sequence.ts";

/** Bytes of a prefix. */
export const PREFIX_BYTES = 5;

/** Type of the end-of-stream message: only a prefix, with the number that the next message would have had. */
export const END_OF_STREAM = 0;
/** Type of a metadata message: the prefix, then an Arrow `Message` flatbuffer. */
export const METADATA = 1;
/** Type of an error message: the prefix, then JSON. An extension that a client must have requested. */
export const ERROR_MESSAGE = 255;

/**
 * Writes a prefix.
 *
 * @param target What it is written into
 * @param offset First byte written
 * @param type Message type, u8
 * @param sequence Sequence number, u32
 * @throws {DipcError} `invalid_argument` if a number is out of range or the target too short
 */
export function writePrefix(target: Uint8Array, offset: number, type: number, sequence: number): void {
  if ((type & 0xFF) !== type) {
    throw new DipcError("invalid_argument", integerRefusal("a message type", type, 0, 255));
  }
  checkSequence(sequence);
  if (!(offset >= 0 && offset + PREFIX_BYTES <= target.byteLength)) {
    throw new DipcError(
      "invalid_argument",
      `cannot write a prefix of ${PREFIX_BYTES} bytes at byte ${offset}: there is no room in ${target.byteLength} bytes`,
    );
  }
  target[offset] = type;
  target[offset + 1] = sequence;
  target[offset + 2] = sequence >>> 8;
  target[offset + 3] = sequence >>> 16;
  target[offset + 4] = sequence >>> 24;
}

/**
 * A complete frame: prefix and payload in memory of its own.
 *
 * @param type Message type, u8
 * @param sequence Sequence number, u32
 * @param payload What follows the prefix
 * @throws {DipcError} `invalid_argument` if a number is out of range
 */
export function encodeFrame(type: number, sequence: number, payload?: Uint8Array | null): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(PREFIX_BYTES + (payload?.byteLength ?? 0));
  writePrefix(frame, 0, type, sequence);
  if (payload) frame.set(payload, PREFIX_BYTES);
  return frame;
}

/** The message type of a frame of at least {@linkcode PREFIX_BYTES} bytes. */
export function frameType(frame: Uint8Array): number {
  return frame[0];
}

/** The sequence number of a frame of at least {@linkcode PREFIX_BYTES} bytes. */
export function frameSequence(frame: Uint8Array): number {
  return (frame[1] | frame[2] << 8 | frame[3] << 16 | frame[4] << 24) >>> 0;
}
