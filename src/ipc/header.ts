/**
 * Turns metadata bytes from a peer or a file into verified message headers.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { type OpenMessage, readBatch } from "./batch_reader.ts";
import { FlatReader, invalidMetadata } from "./flatbuffer.ts";
import type { SchemaLayout } from "./layout.ts";
import type { MessageHeader } from "./message.ts";
import { readMetadata, readSchema } from "./schema_reader.ts";
import { VerifiedHeader } from "./verified_header.ts";

export { messageMetadata, VerifiedHeader } from "./verified_header.ts";

/** Limits on what a {@linkcode HeaderReader} accepts. */
export interface HeaderLimits {
  /**
   * Largest metadata of one message, in bytes.
   *
   * @default 16_777_216
   */
  maxMetadataBytes: number;
  /**
   * Largest body of one message, in bytes.
   *
   * @default 4_294_967_296
   */
  maxBodyBytes: number;
  /**
   * Most rows of one batch, and most values of one nested column or dictionary.
   *
   * @default 2_147_483_647
   */
  maxRows: number;
}

/** The default limits. */
const DEFAULT_HEADER_LIMITS: Readonly<HeaderLimits> = {
  maxMetadataBytes: 16 * 1024 * 1024,
  maxBodyBytes: 4 * 1024 * 1024 * 1024,
  maxRows: 2_147_483_647,
};

/** For what this process has encoded itself, or has accepted before: limits guard against peers and files. */
export const NO_HEADER_LIMITS: Readonly<HeaderLimits> = {
  maxMetadataBytes: Number.MAX_SAFE_INTEGER,
  maxBodyBytes: Number.MAX_SAFE_INTEGER,
  maxRows: Number.MAX_SAFE_INTEGER,
};

/** Allocations are slow compared with reading a header, so small headers are carved from slabs; the first of a stream is small. */
const FIRST_SLAB_BYTES = 1024, SLAB_BYTES = 16 * 1024;

/** Numbers of `Schema` and `RecordBatch` in the `MessageHeader` union; `DictionaryBatch` is between them. */
const SCHEMA = 1, BATCH = 3;

const NO_NUMBERS = new Float64Array(0), NO_WORDS = new Int32Array(0), NO_BYTES = new ArrayBuffer(0);

/** A {@linkcode MessageHeader} as a verified header, read again from its bytes if another reader made it. */
export function verified(header: MessageHeader, reader: HeaderReader): VerifiedHeader {
  return header instanceof VerifiedHeader && header.layout === reader.layout ? header : reader.read(header.bytes);
}

/**
 * Reads the metadata of one stream's messages in order. The first one must be a schema; all others are checked against it.
 *
 * @example Usage
 * ```ts ignore
 * const reader = new HeaderReader();
 * const schema = reader.read(firstFrame); // kind "schema"
 * const header = reader.read(nextFrame); // kind "dictionary" or "batch"
 * ```
 */
export class HeaderReader {
  readonly #limits: HeaderLimits;
  #schema: VerifiedHeader | null = null;
  #layout: SchemaLayout | null = null;
  /** The last batch header: many batches of a stream have equal metadata, byte for byte. */
  #last: VerifiedHeader | null = null;
  #lastWords: Int32Array = NO_WORDS;
  /** The buffer that held the last metadata; usually the next metadata is in it too. */
  #source: ArrayBufferLike | null = null;
  #sourceWords: Int32Array = NO_WORDS;
  #slab = NO_BYTES;
  #slabUsed = 0;

  /** @param limits Limits that differ from the defaults */
  constructor(limits: Partial<HeaderLimits> = {}) {
    this.#limits = {
      maxMetadataBytes: limits.maxMetadataBytes ?? DEFAULT_HEADER_LIMITS.maxMetadataBytes,
      maxBodyBytes: limits.maxBodyBytes ?? DEFAULT_HEADER_LIMITS.maxBodyBytes,
      maxRows: limits.maxRows ?? DEFAULT_HEADER_LIMITS.maxRows,
    };
  }

  /**
   * A reader for the messages after a schema message that has been read already.
   *
   * @param schema Header of the schema message
   * @param limits Limits that differ from the defaults
   */
  static continuing(schema: MessageHeader, limits: Partial<HeaderLimits> = {}): HeaderReader {
    const reader = new HeaderReader(limits);
    if (schema instanceof VerifiedHeader && schema.kind === "schema") {
      reader.#schema = schema;
      reader.#layout = schema.layout;
    } else {
      reader.read(schema.bytes);
    }
    return reader;
  }

  /** The schema message, once it has been read. */
  get schema(): VerifiedHeader | null {
    return this.#schema;
  }

  /** The layout of the schema, once it has been read. */
  get layout(): SchemaLayout | null {
    return this.#layout;
  }

  /**
   * Verifies one message's metadata. The bytes are copied; the caller may reuse them at once.
   *
   * @param metadata The `Message` flatbuffer without marker and length
   * @returns an immutable header; the same object as before if the bytes equal those of the last batch
   * @throws {DipcError} `invalid_data`, `limit_exceeded`, `unsupported`
   */
  read(metadata: Uint8Array): VerifiedHeader {
    const last = this.#last;
    if (last !== null && last.bytes.byteLength === metadata.byteLength && this.#equalsLast(metadata)) return last;
    return this.#parse(metadata);
  }

  #equalsLast(metadata: Uint8Array): boolean {
    const start = metadata.byteOffset;
    const length = metadata.byteLength;
    if ((start & 3) !== 0) return equalBytes(this.#last!.bytes, metadata);
    if (this.#source !== metadata.buffer) {
      this.#source = metadata.buffer;
      this.#sourceWords = new Int32Array(metadata.buffer, 0, metadata.buffer.byteLength >> 2);
    }
    const theirs = this.#sourceWords;
    const ours = this.#lastWords;
    const words = length >> 2;
    const from = start >> 2;
    for (let i = 0; i < words; i++) if (ours[i] !== theirs[from + i]) return false;
    for (let i = words << 2; i < length; i++) if (this.#last!.bytes[i] !== metadata[i]) return false;
    return true;
  }

  #parse(metadata: Uint8Array): VerifiedHeader {
    const limits = this.#limits;
    const size = metadata.byteLength;
    if (size > limits.maxMetadataBytes) {
      throw new DipcError(
        "limit_exceeded",
        `cannot accept ${size} bytes of Arrow metadata: the limit maxMetadataBytes is ${limits.maxMetadataBytes}; raise it`,
      );
    }
    // One allocation holds the copy and, if their count follows from the schema, the numbers read from it.
    const padded = (size + 7) & ~7;
    const plan = this.#layout?.plan;
    const needed = padded + (plan === undefined ? 0 : 16 * (plan.nodeCount + plan.bufferCounts[4]));
    const storage = this.#reserve(needed);
    const start = this.#slabUsed - needed;
    const bytes = new Uint8Array(storage, start, size);
    bytes.set(metadata);
    const reader = new FlatReader(bytes);
    const root = reader.root();
    const version = readVersion(reader, root);
    const headerType = readHeaderType(reader, root);
    const table = reader.child(root, 2, "message header");
    if (table === 0) throw invalidMetadata("the message has no header");
    const bodyLength = reader.count(root, 3, "body length");
    if (bodyLength > limits.maxBodyBytes) {
      throw new DipcError(
        "limit_exceeded",
        `cannot accept a body of ${bodyLength} bytes: the limit maxBodyBytes is ${limits.maxBodyBytes}; raise it or send smaller batches`,
      );
    }
    this.#checkMetadata(reader, root);
    const { maxRows } = limits;
    const roomStart = start + padded;
    const message = { reader, table, bytes, version, bodyLength, maxRows, roomStart, roomEnd: start + needed } as const;
    if (headerType === SCHEMA) return this.#readSchema(message);
    if (this.#layout === null) throw invalidMetadata("the first message is not a schema");
    return headerType === BATCH ? this.#readBatch(message, this.#layout) : this.#readDictionary(message, this.#layout);
  }

  /** Memory for one header: the last `byteLength` used bytes of the returned slab. Small headers share a slab. */
  #reserve(byteLength: number): ArrayBuffer {
    if (this.#slabUsed + byteLength > this.#slab.byteLength) {
      const size = Math.min(Math.max(2 * this.#slab.byteLength, FIRST_SLAB_BYTES), SLAB_BYTES);
      this.#slab = new ArrayBuffer(byteLength > size / 8 ? byteLength : size);
      this.#slabUsed = 0;
    }
    this.#slabUsed += byteLength;
    return this.#slab;
  }

  /** Verifies the message's custom metadata now, so that reading it later cannot fail. */
  #checkMetadata(reader: FlatReader, root: number): void {
    if (reader.field(root, 4, 4, "message metadata") !== 0) readMetadata(reader, root, 4, "message metadata");
  }

  #readSchema({ reader, table, bytes, version, bodyLength }: OpenMessage): VerifiedHeader {
    if (this.#schema !== null) throw invalidMetadata("a second schema message in one stream");
    if (bodyLength !== 0) throw invalidMetadata(`the schema message has a body of ${bodyLength} bytes, expected none`);
    const layout = readSchema(reader, table, version);
    this.#layout = layout;
    return this.#schema = new VerifiedHeader({
      kind: "schema",
      bytes,
      bodyLength: 0,
      rows: 0,
      dictionaryId: -1n,
      isDelta: false,
      nodes: NO_NUMBERS,
      buffers: NO_NUMBERS,
      variadicCounts: NO_NUMBERS,
      compression: "none",
      layout,
      plan: layout.plan,
      version,
    });
  }

  #readBatch(message: OpenMessage, layout: SchemaLayout): VerifiedHeader {
    const { bytes, version, bodyLength } = message;
    const { plan } = layout;
    const { rows, nodes, buffers, variadicCounts, compression } = readBatch(message, message.table, plan);
    const header = new VerifiedHeader({
      kind: "batch",
      bytes,
      bodyLength,
      rows,
      dictionaryId: -1n,
      isDelta: false,
      nodes,
      buffers,
      variadicCounts,
      compression,
      layout,
      plan,
      version,
    });
    this.#last = header;
    this.#lastWords = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    return header;
  }

  #readDictionary(message: OpenMessage, layout: SchemaLayout): VerifiedHeader {
    const { reader, table, bytes, version, bodyLength } = message;
    const id = reader.int64(table, 0, "dictionary id");
    const dictionary = layout.dictionaries.get(id);
    if (dictionary === undefined) throw invalidMetadata(`dictionary id ${id} is not in the schema`);
    const data = reader.child(table, 1, "dictionary values");
    if (data === 0) throw invalidMetadata(`dictionary ${id} has no values`);
    const { plan } = dictionary;
    const { rows, nodes, buffers, variadicCounts, compression } = readBatch(message, data, plan);
    return new VerifiedHeader({
      kind: "dictionary",
      bytes,
      bodyLength,
      rows,
      dictionaryId: id,
      isDelta: reader.bool(table, 2, "delta flag"),
      nodes,
      buffers,
      variadicCounts,
      compression,
      layout,
      plan,
      version,
    });
  }
}

function readVersion(reader: FlatReader, root: number): 4 | 5 {
  const version = reader.int16(root, 0, 0, "metadata version");
  if (version === 3) return 4;
  if (version === 4) return 5;
  if (version >= 0 && version < 3) {
    throw new DipcError(
      "unsupported",
      `cannot read Arrow metadata: its version is V${
        version + 1
      }, expected V4 or V5; write the data again with Arrow 0.8 or newer`,
    );
  }
  throw invalidMetadata(`metadata version is ${version}, expected 3 (V4) or 4 (V5)`);
}

function readHeaderType(reader: FlatReader, root: number): number {
  const type = reader.uint8(root, 1, 0, "header type");
  if (type < SCHEMA || type > BATCH) {
    const name = ["NONE", "", "", "", "Tensor", "SparseTensor"][type] ?? "unknown";
    throw invalidMetadata(
      `message header is of type ${type} (${name}), expected a schema, dictionary batch or record batch`,
    );
  }
  return type;
}
