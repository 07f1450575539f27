/**
 * The framing of Arrow files: the positions of messages that the footer declares. Decodes nothing else, and trusts nothing.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import { FlatReader } from "./flatbuffer.ts";
import { readMetadata } from "./schema_reader.ts";

/** `ARROW1`, at both ends of an Arrow file. */
export const FILE_MAGIC: Uint8Array<ArrayBuffer> = new Uint8Array([0x41, 0x52, 0x52, 0x4f, 0x57, 0x31]);
/** Bytes from the start of an Arrow file to its first message: the magic, padded to 8. */
export const FILE_HEAD_BYTES = 8;
/** Bytes of an Arrow file after its footer: i32 footer length and the magic. */
export const FILE_TAIL_BYTES = 10;

/** Position of one message in a file. */
export interface FileBlock {
  /** Byte at which its length prefix starts. */
  readonly offset: number;
  /** Size of length prefix, metadata and padding in bytes. */
  readonly metadataLength: number;
  /** Size of its body, which follows the metadata, in bytes. */
  readonly bodyLength: number;
}

/** Content of the footer of an Arrow file. */
export interface FileFooter {
  /** Metadata version as it is written, or `null` for none or one that no reader of today takes: old writers left it out. */
  readonly version: number | null;
  /** Custom metadata of the footer, which is not that of the schema. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Dictionary batches in the order of the footer. */
  readonly dictionaries: FileBlock[];
  /** Record batches in order. */
  readonly batches: FileBlock[];
  /**
   * The schema as a `Message` flatbuffer, as it would start a stream. Not verified yet.
   *
   * @param version Metadata version that the message declares
   */
  schemaMessage(version: number): Uint8Array<ArrayBuffer>;
}

/** Vtable slots of the `Footer` table in File.fbs. */
const FOOTER_VERSION = 0, FOOTER_SCHEMA = 1, FOOTER_DICTIONARIES = 2, FOOTER_BATCHES = 3, FOOTER_METADATA = 4;
/** Metadata version V4, the oldest that is read. */
const OLDEST_VERSION = 3;
/** Size of the `Block` struct in File.fbs in bytes: i64 offset, i32 metaDataLength, 4 bytes of padding, i64 bodyLength. */
const BLOCK_BYTES = 24;
/** `MessageHeader.Schema` in Message.fbs. */
const HEADER_SCHEMA = 1;

/**
 * Reads the last 10 bytes of a file.
 *
 * @param tail The last 10 bytes
 * @param fileSize Size of the file in bytes
 * @param name Name of the file in messages
 * @returns the size in bytes of the footer, which precedes them
 * @throws {DipcError} `invalid_data`
 */
export function footerLength(tail: Uint8Array, fileSize: number, name: string): number {
  for (let i = 0; i < FILE_MAGIC.length; i++) {
    if (tail[4 + i] !== FILE_MAGIC[i]) {
      throw new LocalError(
        "invalid_data",
        `cannot read ${name}: it starts as an Arrow file but does not end with "ARROW1"; it was cut short or is still being written`,
      );
    }
  }
  const length = new DataView(tail.buffer, tail.byteOffset, tail.byteLength).getInt32(0, true);
  const room = fileSize - FILE_TAIL_BYTES - FILE_HEAD_BYTES;
  if (length < 8 || length > room) {
    throw new LocalError(
      "invalid_data",
      `cannot read ${name}: it declares a footer of ${length} bytes, expected 8 to ${room} in a file of ${fileSize} bytes`,
    );
  }
  return length;
}

/**
 * Reads and checks a footer: every offset in it lies inside it, and every block inside the file.
 *
 * @param footer The footer flatbuffer, 8-aligned
 * @param fileSize Size of the file in bytes
 * @param name Name of the file in messages
 * @throws {DipcError} `invalid_data`
 */
export function readFooter(footer: Uint8Array<ArrayBuffer>, fileSize: number, name: string): FileFooter {
  const reader = new TableReader(footer, name);
  const root = reader.table(reader.u32(0));
  const end = fileSize - FILE_TAIL_BYTES - footer.byteLength;
  const schema = reader.child(root, FOOTER_SCHEMA);
  if (schema < 0) throw reader.broken("has no schema");
  const version = reader.i16Field(root, FOOTER_VERSION);
  const flat = new FlatReader(footer);
  return {
    version: version < OLDEST_VERSION && version >= 0 ? null : version,
    metadata: readMetadata(flat, flat.root(), FOOTER_METADATA, "footer metadata"),
    schemaMessage: (version) => wrapSchema(footer, schema, version),
    dictionaries: readBlocks(reader, root, FOOTER_DICTIONARIES, end, "dictionary"),
    batches: readBlocks(reader, root, FOOTER_BATCHES, end, "record batch"),
  };
}

function readBlocks(reader: TableReader, root: number, slot: number, end: number, what: string): FileBlock[] {
  const at = reader.child(root, slot);
  if (at < 0) return [];
  const count = reader.u32(at);
  if (count > (reader.bytes.byteLength - at - 4) / BLOCK_BYTES) {
    throw reader.broken(`lists ${count} ${what} blocks, more than fit into its ${reader.bytes.byteLength} bytes`);
  }
  const blocks: FileBlock[] = [];
  for (let i = 0; i < count; i++) {
    const base = at + 4 + i * BLOCK_BYTES;
    const offset = reader.i64(base), metadataLength = reader.i32(base + 8), bodyLength = reader.i64(base + 16);
    if (
      offset < FILE_HEAD_BYTES || offset % 8 !== 0 || metadataLength < 8 || bodyLength < 0 ||
      offset + metadataLength + bodyLength > end
    ) {
      throw reader.broken(
        `puts ${what} ${i} at byte ${offset} with ${metadataLength} bytes of metadata and ${bodyLength} of body, ` +
          `expected an 8-aligned position inside bytes ${FILE_HEAD_BYTES} to ${end}`,
      );
    }
    blocks.push({ offset, metadataLength, bodyLength });
  }
  return blocks;
}

/** Bounds-checked access to one flatbuffer. */
class TableReader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #name: string;

  constructor(bytes: Uint8Array<ArrayBuffer>, name: string) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }

  broken(what: string): DipcError {
    return new LocalError("invalid_data", `cannot read ${this.#name}: its footer ${what}; the file is damaged`);
  }

  u32(at: number): number {
    return this.#view.getUint32(this.#inside(at, 4), true);
  }

  i32(at: number): number {
    return this.#view.getInt32(this.#inside(at, 4), true);
  }

  /** A 64-bit integer, or -1 (which no check accepts) if it is outside ±2⁵³. */
  i64(at: number): number {
    const value = Number(this.#view.getBigInt64(this.#inside(at, 8), true));
    return Number.isSafeInteger(value) ? value : -1;
  }

  /** Checks that a table and its vtable lie inside. @returns the position of the table */
  table(at: number): number {
    const vtable = at - this.i32(at);
    const size = this.#u16(vtable);
    if (size < 4 || size % 2 !== 0) throw this.broken(`has a vtable of ${size} bytes`);
    this.#inside(vtable, size);
    return at;
  }

  /** The position that an offset field points to, or -1 if the field is absent. */
  child(table: number, slot: number): number {
    const field = this.#field(table, slot);
    if (field < 0) return -1;
    const target = field + this.u32(field);
    return this.#inside(target, 4);
  }

  /** A 16-bit field, 0 if it is absent. */
  i16Field(table: number, slot: number): number {
    const field = this.#field(table, slot);
    return field < 0 ? 0 : this.#view.getInt16(this.#inside(field, 2), true);
  }

  #field(table: number, slot: number): number {
    const vtable = table - this.i32(table);
    const at = 4 + slot * 2;
    if (at + 2 > this.#u16(vtable)) return -1;
    const offset = this.#u16(vtable + at);
    return offset === 0 ? -1 : table + offset;
  }

  #u16(at: number): number {
    return this.#view.getUint16(this.#inside(at, 2), true);
  }

  #inside(at: number, byteLength: number): number {
    if (!(at >= 0 && at + byteLength <= this.bytes.byteLength)) {
      throw this.broken(`points to byte ${at}, outside its ${this.bytes.byteLength} bytes`);
    }
    return at;
  }
}

/** Size in bytes of what precedes a schema to make a message of it. */
const WRAP_BYTES = 40;

/**
 * A `Message` flatbuffer around the schema of a footer, without decoding the schema: flatbuffers only point forward, so
 * the end of the footer, from the schema on, can be used as it is. The verifier of the message checks that this holds.
 */
function wrapSchema(footer: Uint8Array<ArrayBuffer>, schema: number, version: number): Uint8Array<ArrayBuffer> {
  const source = new DataView(footer.buffer, footer.byteOffset, footer.byteLength);
  const vtable = schema - source.getInt32(schema, true);
  // The vtable may precede the schema, so the copy starts at whichever comes first.
  const cut = Math.min(schema, vtable) & ~7;
  const message = new Uint8Array(WRAP_BYTES + footer.byteLength - cut);
  const view = new DataView(message.buffer);
  view.setUint32(0, 16, true); // root: the table at 16
  view.setUint16(4, 12, true); // vtable: its size in bytes
  view.setUint16(6, 24, true); // size of the table in bytes
  view.setUint16(8, 4, true); // version
  view.setUint16(10, 6, true); // header_type
  view.setUint16(12, 8, true); // header
  view.setUint16(14, 16, true); // bodyLength
  view.setInt32(16, 12, true); // the table: its vtable is 12 bytes before it
  view.setInt16(20, version, true);
  view.setUint8(22, HEADER_SCHEMA);
  view.setUint32(24, WRAP_BYTES + schema - cut - 24, true);
  message.set(footer.subarray(cut), WRAP_BYTES);
  return message;
}
