/**
 * The framing of Arrow streams: the prefix in front of each message's metadata, in its present and its old form.
 *
 * @module
 */
import { LocalError } from "../errors.ts";

/** The continuation marker in front of a length: i32 −1. */
export const CONTINUATION = -1;

/** What a prefix says. */
export interface Prefix {
  /** Bytes of the prefix itself: 8, or 4 in files of Arrow 0.14 and older. */
  readonly byteLength: number;
  /** Bytes of metadata that follow, padding included; 0 at the end of a stream. */
  readonly metadataLength: number;
}

/**
 * Reads the prefix in front of a message.
 *
 * @param view At least the 4 bytes of the prefix, and 8 where the first 4 are the continuation marker
 * @param where What is being read, for messages
 * @throws {DipcError} `invalid_data`
 */
export function readPrefix(view: DataView, where: string): Prefix {
  const first = view.getInt32(0, true);
  const byteLength = first === CONTINUATION ? 8 : 4;
  const metadataLength = first === CONTINUATION ? view.getInt32(4, true) : first;
  if (metadataLength < 0) {
    throw new LocalError(
      "invalid_data",
      `${where}: a message has ${metadataLength} bytes of metadata; the data is damaged`,
    );
  }
  return { byteLength, metadataLength };
}
