/**
 * Cuts the bytes of an Arrow stream into messages, for tests.
 *
 * @module
 */
import { type HeaderLimits, HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import type { Block, Pool } from "../../src/memory/block.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";

/** The metadata and body of each message, unread. */
export function rawMessages(bytes: Uint8Array): { metadata: Uint8Array; bodyAt: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: { metadata: Uint8Array; bodyAt: number }[] = [];
  for (let at = 0; at + 4 <= bytes.byteLength;) {
    const marked = view.getInt32(at, true) === -1;
    const length = view.getInt32(at + (marked ? 4 : 0), true);
    const start = at + (marked ? 8 : 4);
    if (length === 0) break;
    const metadata = bytes.slice(start, start + length);
    found.push({ metadata, bodyAt: start + length });
    at = start + length + bodyLengthOf(metadata);
  }
  return found;
}

/** The body length as it stands in a trusted `Message`. */
function bodyLengthOf(metadata: Uint8Array): number {
  const view = new DataView(metadata.buffer, metadata.byteOffset);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  if (view.getUint16(vtable, true) < 12) return 0;
  const offset = view.getUint16(vtable + 10, true);
  return offset === 0 ? 0 : Number(view.getBigInt64(table + offset, true));
}

/** The verified messages of a stream, schema first; bodies are copies. */
export function streamMessages(bytes: Uint8Array, limits: Partial<HeaderLimits> = {}): IpcMessage[] {
  const reader = new HeaderReader(limits);
  return rawMessages(bytes).map(({ metadata, bodyAt }) => {
    const header = reader.read(metadata);
    if (header.kind === "schema") return { header, body: null };
    const body = new Uint8Array(header.bodyLength);
    body.set(bytes.subarray(bodyAt, bodyAt + header.bodyLength));
    return { header, body: wrapBytes(body) };
  });
}

/** A pool of garbage-collected memory whose blocks start full of rubbish and are larger than asked for. */
export function rubbishPool(): Pool {
  return {
    space: "host",
    acquire(byteLength: number): Block {
      const bytes = new Uint8Array(byteLength + 192).fill(0xa5);
      return {
        space: "host",
        capacity: bytes.byteLength,
        address: 64n,
        bytes: () => bytes,
        toBody: (length) => wrapBytes(bytes.subarray(0, length)),
        release: () => {},
      };
    },
  };
}
