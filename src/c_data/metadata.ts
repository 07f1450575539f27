/**
 * The binary form of metadata in an `ArrowSchema`: a count, then the length and the bytes of each key and value, all in native
 * byte order and without padding.
 *
 * @module
 */
import { invalidStruct } from "./raw.ts";
import type { CarefulReader } from "./raw.ts";
import { scratch } from "./raw.ts";
import { quoted } from "../ipc/quote.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Longest metadata of one field, in bytes. */
const MAX_BYTES = 16 * 2 ** 20;

/** Encodes metadata. */
export function encodeMetadata(metadata: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer> {
  const texts = [...metadata].flatMap((entry) => entry.map((text) => encoder.encode(text)));
  const bytes = new Uint8Array(4 + texts.reduce((sum, text) => sum + 4 + text.byteLength, 0));
  const view = new DataView(bytes.buffer);
  view.setInt32(0, metadata.size, true);
  let at = 4;
  for (const text of texts) {
    view.setInt32(at, text.byteLength, true);
    bytes.set(text, at + 4);
    at += 4 + text.byteLength;
  }
  return bytes;
}

/**
 * Reads metadata.
 *
 * @param address Address of the metadata; 0 for none
 * @param reader Reads the memory
 * @param path Name of the field, for messages
 * @throws {DipcError} `invalid_data`
 */
export function readMetadataAt(address: bigint, reader: CarefulReader, path: string): Map<string, string> {
  const metadata = new Map<string, string>();
  if (address === 0n) return metadata;
  const wrong = (): Error => invalidStruct(`the metadata of field ${quoted(path)} is damaged`);
  const length = scratch(4);
  const lengthView = new DataView(length.bytes.buffer);
  let at = address;
  const next = (): number => {
    if (!reader.read(length.address, at, 4)) throw wrong();
    at += 4n;
    const value = lengthView.getInt32(0, true);
    if (value < 0 || at - address + BigInt(value) > BigInt(MAX_BYTES)) throw wrong();
    return value;
  };
  const text = (): string => {
    const byteLength = next();
    const memory = scratch(byteLength);
    if (!reader.read(memory.address, at, byteLength)) throw wrong();
    at += BigInt(byteLength);
    return decoder.decode(memory.bytes.subarray(0, byteLength));
  };
  for (let left = next(); left > 0; left--) {
    const key = text();
    metadata.set(key, text());
  }
  return metadata;
}
