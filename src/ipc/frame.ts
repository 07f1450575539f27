/**
 * Writes the framing of Arrow streams and files: the prefix of a message, the end of a stream, the footer of a file.
 *
 * @module
 */
import type { MessageHeader } from "./message.ts";
import { PairsWriter } from "./pairs_writer.ts";
import type { FileBlock } from "./split_file.ts";

/** End of an Arrow stream: continuation marker and a length of 0. */
export const END_OF_STREAM: Uint8Array<ArrayBuffer> = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** `n` rounded up to a multiple of 8. */
export function padTo8(n: number): number {
  return Math.ceil(n / 8) * 8;
}

/**
 * What precedes a body in an Arrow stream or file: continuation marker, length, metadata, padding to 8 bytes.
 *
 * @param header Header of the message
 * @returns bytes whose number is a multiple of 8
 */
export function frameMetadata(header: MessageHeader): Uint8Array<ArrayBuffer> {
  return frameBytes(header.bytes);
}

/** The same for metadata without a header. */
export function frameBytes(metadata: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = padTo8(metadata.byteLength);
  const frame = new Uint8Array(8 + length);
  const view = new DataView(frame.buffer);
  view.setInt32(0, -1, true);
  view.setInt32(4, length, true);
  frame.set(metadata, 8);
  return frame;
}

/** Size of a `Block` struct in bytes, see File.fbs. */
const BLOCK_BYTES = 24;
/** Fields of the footer's vtable: its size, the table's, then version, schema, dictionaries, batches, custom metadata. */
const FOOTER_VTABLE = [12, 20, 4, 8, 12, 16], FOOTER_VTABLE_WITH_METADATA = [14, 24, 4, 8, 12, 16, 20];
/** Position of the vtable. */
const VTABLE_AT = 4;

/** What the footer of an Arrow file says. */
export interface FooterContent {
  /** Header of the schema message. */
  readonly schema: MessageHeader;
  /** Positions of the dictionary batches. */
  readonly dictionaries: readonly FileBlock[];
  /** Positions of the record batches. */
  readonly batches: readonly FileBlock[];
  /** Custom metadata of the footer itself. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * The footer of an Arrow file, a flatbuffer. The schema is not encoded again: the whole schema message is embedded in the
 * footer, and the footer points to the schema inside it.
 *
 * @param content What it says
 */
export function encodeFooter({ schema, dictionaries, batches, metadata }: FooterContent): Uint8Array<ArrayBuffer> {
  const pairs = metadata.size === 0 ? null : new PairsWriter(metadata);
  const vtable = pairs === null ? FOOTER_VTABLE : FOOTER_VTABLE_WITH_METADATA;
  const table = pairs === null ? 16 : 20;
  const dictionariesAt = table + vtable[1];
  const batchesAt = dictionariesAt + 4 + dictionaries.length * BLOCK_BYTES + 4;
  const pairsAt = batchesAt + 4 + batches.length * BLOCK_BYTES;
  const schemaAt = padTo8(pairsAt + (pairs?.byteLength ?? 0));
  const footer = new Uint8Array(schemaAt + padTo8(schema.bytes.byteLength));
  const view = new DataView(footer.buffer);
  const { version, header } = locateHeader(schema.bytes);
  view.setUint32(0, table, true); // root
  vtable.forEach((field, i) => view.setUint16(VTABLE_AT + 2 * i, field, true));
  view.setInt32(table, table - VTABLE_AT, true);
  view.setInt16(table + 4, version, true);
  const refer = (at: number, to: number): void => view.setUint32(at, to - at, true);
  refer(table + 8, schemaAt + header);
  refer(table + 12, dictionariesAt);
  refer(table + 16, batchesAt);
  writeBlocks(view, dictionariesAt, dictionaries);
  writeBlocks(view, batchesAt, batches);
  if (pairs !== null) {
    refer(table + 20, pairsAt);
    pairs.write(footer, pairsAt);
  }
  footer.set(schema.bytes, schemaAt);
  return footer;
}

function writeBlocks(view: DataView, at: number, blocks: readonly FileBlock[]): void {
  view.setUint32(at, blocks.length, true);
  blocks.forEach((block, i) => {
    const base = at + 4 + i * BLOCK_BYTES;
    view.setBigInt64(base, BigInt(block.offset), true);
    view.setInt32(base + 8, block.metadataLength, true);
    view.setBigInt64(base + 16, BigInt(block.bodyLength), true);
  });
}

/** Version and position of the header table of a verified `Message`: its slots 0 and 2, see Message.fbs. */
function locateHeader(message: Uint8Array<ArrayBuffer>): { version: number; header: number } {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  const size = view.getUint16(vtable, true);
  const slot = (i: number): number => 4 + i * 2 < size ? view.getUint16(vtable + 4 + i * 2, true) : 0;
  const version = slot(0), header = table + slot(2);
  return {
    version: version === 0 ? 0 : view.getInt16(table + version, true),
    header: header + view.getUint32(header, true),
  };
}
