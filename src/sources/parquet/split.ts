/**
 * Splits an Arrow stream in memory that the decoder made.
 *
 * @module
 */
import { readPrefix } from "../../ipc/split_stream.ts";

/** A message as bytes. */
export interface RawMessage {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * Splits a complete Arrow stream in memory.
 *
 * @param bytes The stream; the messages are parts of it
 * @param path Path of the file that it was decoded from, for messages
 * @throws {DipcError} `invalid_data`
 */
export function splitStream(bytes: Uint8Array<ArrayBuffer>, path: string): RawMessage[] {
  const messages: RawMessage[] = [];
  for (let at = 0; at + 8 <= bytes.byteLength;) {
    const prefix = readPrefix(new DataView(bytes.buffer, bytes.byteOffset + at, 8), `the batch decoded from "${path}"`);
    if (prefix.metadataLength === 0) break;
    const start = at + prefix.byteLength;
    const metadata = bytes.subarray(start, start + prefix.metadataLength);
    const end = start + prefix.metadataLength + bodyLengthOf(metadata);
    messages.push({ metadata, body: bytes.subarray(start + prefix.metadataLength, end) });
    at = end;
  }
  return messages;
}

/** The field `bodyLength` (slot 3) of a `Message` that the decoder made; verified by the header reader afterwards. */
function bodyLengthOf(metadata: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  const field = view.getUint16(vtable, true) > 10 ? view.getUint16(vtable + 10, true) : 0;
  return field === 0 ? 0 : Number(view.getBigInt64(table + field, true));
}
