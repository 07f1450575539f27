/**
 * Reads the messages of an Arrow file at the positions that its footer declares.
 *
 * @module
 */
import { addressOf } from "../../ffi/libc.ts";
import { LocalError } from "../errors.ts";
import { FlatReader } from "../ipc/flatbuffer.ts";
import type { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { FileBlock } from "../ipc/split_file.ts";
import { readPrefix } from "../ipc/split_stream.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import type { FileHandle } from "./file_handle.ts";
import type { FileMap } from "./file_map.ts";
import { named } from "./named.ts";

/** Bytes for the metadata of most messages; grows when that is not enough. */
const SCRATCH_BYTES = 16 * 1024;

/** Reads messages at the positions that the footer of a file declares. */
export class BlockReader {
  readonly #file: FileHandle;
  readonly #headers: HeaderReader;
  readonly #pool: Pool;
  readonly #limits: ReaderLimits;
  #scratch: Uint8Array<ArrayBuffer> = new Uint8Array(SCRATCH_BYTES);
  #address = addressOf(this.#scratch);
  #view = new DataView(this.#scratch.buffer);

  /**
   * @param file The file
   * @param headers Reader of the file's metadata, which has read its schema
   * @param pool Allocates the bodies
   * @param limits Limits on each message
   */
  constructor(file: FileHandle, headers: HeaderReader, pool: Pool, limits: ReaderLimits) {
    this.#file = file;
    this.#headers = headers;
    this.#pool = pool;
    this.#limits = limits;
  }

  /** Metadata and body with one read. */
  read(block: FileBlock, kind: "dictionary" | "batch"): IpcMessage {
    this.#prepare(block);
    const target = this.#pool.acquire(block.bodyLength);
    try {
      this.#file.readPairAt(block.offset, this.#address, block.metadataLength, target.address, block.bodyLength);
      const header = this.#parse(block, kind);
      return { header, body: target.toBody(header.bodyLength) };
    } catch (error) {
      target.release();
      throw error;
    }
  }

  /** The body as a part of the map if it is 8-aligned there, else as {@linkcode read}. */
  readMapped(block: FileBlock, kind: "dictionary" | "batch", map: FileMap): IpcMessage {
    const start = block.offset + block.metadataLength;
    if (start % 8 !== 0) return this.read(block, kind);
    const header = this.header(block, kind);
    const body: Body = map.body(start, header.bodyLength);
    return { header, body };
  }

  /** Only the metadata. */
  header(block: FileBlock, kind: "dictionary" | "batch"): MessageHeader {
    this.#prepare(block);
    this.#file.readAt(block.offset, this.#address, block.metadataLength);
    return this.#parse(block, kind);
  }

  /** Metadata version that a message declares, as its number in the format; what it is worth shows when it is read. */
  version(block: FileBlock): number {
    this.#prepare(block);
    this.#file.readAt(block.offset, this.#address, block.metadataLength);
    const reader = new FlatReader(this.#metadata(block));
    return reader.int16(reader.root(), 0, 0, "metadata version");
  }

  /** Checks a block against the limits and makes room for its metadata. */
  #prepare(block: FileBlock): void {
    this.#checkLimit(block, "metadata", block.metadataLength, "maxMetadataBytes");
    this.#checkLimit(block, "body", block.bodyLength, "maxBodyBytes");
    if (block.metadataLength > this.#scratch.byteLength) {
      this.#scratch = new Uint8Array(block.metadataLength);
      this.#address = addressOf(this.#scratch);
      this.#view = new DataView(this.#scratch.buffer);
    }
  }

  #checkLimit(block: FileBlock, what: string, bytes: number, name: "maxMetadataBytes" | "maxBodyBytes"): void {
    const limit = this.#limits[name];
    if (bytes <= limit) return;
    throw new LocalError(
      "limit_exceeded",
      `cannot read ${this.#place(block)}: it has ${bytes} bytes of ${what}, the limit is ${limit} (${name})`,
    );
  }

  /** The metadata of a block that was read, in the scratch memory. */
  #metadata(block: FileBlock): Uint8Array<ArrayBuffer> {
    const where = this.#place(block);
    const prefix = readPrefix(this.#view, where);
    const end = prefix.byteLength + prefix.metadataLength;
    if (prefix.metadataLength === 0 || end > block.metadataLength) {
      throw new LocalError(
        "invalid_data",
        `cannot read ${where}: the file is damaged, the footer declares ${block.metadataLength} bytes of prefix and metadata, ` +
          `found ${end}`,
      );
    }
    return this.#scratch.subarray(prefix.byteLength, end);
  }

  #parse(block: FileBlock, kind: "dictionary" | "batch"): MessageHeader {
    const where = this.#place(block);
    const header = named(where, () => this.#headers.read(this.#metadata(block)));
    if (header.kind !== kind || header.bodyLength > block.bodyLength) {
      throw new LocalError(
        "invalid_data",
        `cannot read ${where}: the file is damaged, the footer declares a ${kind} with ${block.bodyLength} bytes of body, ` +
          `found a ${header.kind} with ${header.bodyLength}`,
      );
    }
    return header;
  }

  #place({ offset }: FileBlock): string {
    return `the message at byte ${offset} of "${this.#file.path}"`;
  }
}
