/**
 * Writes the framing of Arrow streams and files: the prefix of a message, the end of a stream, the footer of a file.
 *
 * @module
 */
import type { MessageHeader } from "./message.ts";
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
  const length = padTo8(header.bytes.byteLength);
  const frame = new Uint8Array(8 + length);
  const view = new DataView(frame.buffer);
  view.setInt32(0, -1, true);
  view.setInt32(4, length, true);
  frame.set(header.bytes, 8);
  return frame;
}

/** Size of a `Block` struct in bytes, see File.fbs. */
const BLOCK_BYTES = 24;
/** Size of root offset, vtable and table of a footer in bytes. */
const FOOTER_TABLE_BYTES = 36;

/**
 * The footer of an Arrow file, a flatbuffer. The schema is not encoded again: the whole schema message is embedded in the
 * footer, and the footer points to the schema inside it.
 *
 * @param schema Header of the schema message
 * @param dictionaries Positions of the dictionary batches
 * @param batches Positions of the record batches
 */
export function encodeFooter(
  schema: MessageHeader,
  dictionaries: readonly FileBlock[],
  batches: readonly FileBlock[],
): Uint8Array<ArrayBuffer> {
  const dictionariesAt = FOOTER_TABLE_BYTES;
  const batchesAt = dictionariesAt + 4 + dictionaries.length * BLOCK_BYTES + 4;
  const schemaAt = batchesAt + 4 + batches.length * BLOCK_BYTES;
  const footer = new Uint8Array(schemaAt + padTo8(schema.bytes.byteLength));
  const view = new DataView(footer.buffer);
  const { version, header } = locateHeader(schema.bytes);
  view.setUint32(0, 16, true); // root: the table at 16
  view.setUint16(4, 12, true); // vtable: its size in bytes
  view.setUint16(6, 20, true); // size of the table in bytes
  view.setUint16(8, 4, true); // version
  view.setUint16(10, 8, true); // schema
  view.setUint16(12, 12, true); // dictionaries
  view.setUint16(14, 16, true); // recordBatches
  view.setInt32(16, 12, true); // the table: its vtable is 12 bytes before it
  view.setInt16(20, version, true);
  view.setUint32(24, schemaAt + header - 24, true);
  view.setUint32(28, dictionariesAt - 28, true);
  view.setUint32(32, batchesAt - 32, true);
  writeBlocks(view, dictionariesAt, dictionaries);
  writeBlocks(view, batchesAt, batches);
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
