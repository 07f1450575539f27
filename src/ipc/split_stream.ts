/**
 * The framing of Arrow streams: the prefix before each message's metadata, in its current and its legacy form.
 *
 * @module
 */
import { LocalError } from "../errors.ts";

/** The continuation marker before a length: i32 −1. */
export const CONTINUATION = -1;

/** Content of a prefix. */
export interface Prefix {
  /** Size of the prefix in bytes: 8, or 4 in files of Arrow 0.14 and older. */
  readonly byteLength: number;
  /** Size of the metadata that follows in bytes, padding included; 0 at the end of a stream. */
  readonly metadataLength: number;
}

/**
 * Reads the prefix of a message.
 *
 * @param view At least 4 bytes, and at least 8 if the first 4 are the continuation marker
 * @param what What is being read, for messages
 * @throws {DipcError} `invalid_data`
 */
export function readPrefix(view: DataView, what: string): Prefix {
  const first = view.getInt32(0, true);
  const byteLength = first === CONTINUATION ? 8 : 4;
  const metadataLength = first === CONTINUATION ? view.getInt32(4, true) : first;
  if (metadataLength < 0) {
    throw new LocalError(
      "invalid_data",
      `cannot read ${what}: its prefix declares ${metadataLength} bytes of metadata; the data is damaged`,
    );
  }
  return { byteLength, metadataLength };
}
