/**
 * Arrow messages for peers of the tests: taken from a stream that apache-arrow writes, split and changed by code that
 * shares nothing with dipc.
 *
 * @module
 */
import { tableFromArrays, tableToIPC } from "apache-arrow";

/** Metadata flatbuffer and body of one message. */
export interface RawMessage {
  metadata: Uint8Array<ArrayBuffer>;
  body: Uint8Array<ArrayBuffer>;
}

/** Splits an Arrow stream: continuation marker, metadata length, metadata, body. */
export function splitStream(bytes: Uint8Array): RawMessage[] {
  const messages: RawMessage[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.byteLength;) {
    const length = view.getInt32(at + 4, true);
    if (length === 0) break;
    const metadata = bytes.slice(at + 8, at + 8 + length);
    const position = bodyLengthPosition(metadata);
    const bodyLength = position === null ? 0 : Number(new DataView(metadata.buffer).getBigInt64(position, true));
    at += 8 + length;
    messages.push({ metadata, body: bytes.slice(at, at + bodyLength) });
    at += bodyLength;
  }
  return messages;
}

/** Offset at which a Message table keeps `bodyLength`, its fourth field; null if it has none (a schema). */
function bodyLengthPosition(metadata: Uint8Array<ArrayBuffer>): number | null {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  const offset = view.getUint16(vtable, true) > 10 ? view.getUint16(vtable + 10, true) : 0;
  return offset === 0 ? null : table + offset;
}

/** A copy of the metadata with another `bodyLength`. */
export function withBodyLength(metadata: Uint8Array<ArrayBuffer>, bodyLength: bigint): Uint8Array<ArrayBuffer> {
  const copy = metadata.slice();
  const position = bodyLengthPosition(copy);
  if (position === null) throw new Error("this message has no body length to change");
  new DataView(copy.buffer).setBigInt64(position, bodyLength, true);
  return copy;
}

/** Schema and batches of int64 columns: `rows` rows a batch, the value is the row's number in the whole. */
export function int64Messages(batches: number, rows: number): RawMessage[] {
  const messages: RawMessage[] = [];
  for (let batch = 0; batch < batches; batch++) {
    const values = BigInt64Array.from({ length: rows }, (_, row) => BigInt(batch * rows + row));
    const split = splitStream(tableToIPC(tableFromArrays({ n: values }), "stream"));
    messages.push(...(batch === 0 ? split : split.slice(1)));
  }
  return messages;
}

/** A metadata frame: type, sequence number, payload. */
export function frame(type: number, sequence: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(5 + payload.byteLength);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, sequence, true);
  bytes.set(payload, 5);
  return bytes;
}
