/**
 * Decodes messages into apache-arrow's record batches.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { arrowSchema } from "./arrow_schema.ts";
import { columnStarts, dictionaryPlans, shapeOf } from "./batch_shape.ts";
import { bufferName } from "./buffer_name.ts";
import { type Allowance, codecReady, decompressBuffer, loadCodec } from "./compression.ts";
import { type DictionaryChunk, DictionaryState } from "./dictionaries.ts";
import { type HeaderLimits, HeaderReader, verified, type VerifiedHeader } from "./header.ts";
import { type BatchShape, BatchSource, lazyBatch, type OwnedRecordBatch } from "./lazy_batch.ts";
import type { IpcMessage, MessageHeader } from "./message.ts";

export type { OwnedRecordBatch } from "./lazy_batch.ts";

/** Options of {@linkcode BatchDecoder}. */
export interface BatchDecoderOptions extends Partial<HeaderLimits> {
  /**
   * Largest total size of the decompressed buffers of one batch or dictionary, in bytes.
   *
   * @default 4_294_967_296
   */
  maxDecompressedBytes?: number;
  /**
   * Largest total size of all dictionaries of a stream, in bytes.
   *
   * @default 4_294_967_296
   */
  maxDictionaryBytes?: number;
}

/**
 * Turns the messages of one stream into record batches, in order.
 *
 * @example Usage
 * ```ts ignore
 * const decoder = new BatchDecoder(schemaHeader);
 * using batch = await decoder.decodeAsync(message);
 * ```
 */
export class BatchDecoder {
  /** apache-arrow's schema of the stream. */
  readonly schema: Schema;
  readonly #reader: HeaderReader;
  readonly #shape: BatchShape;
  readonly #maxDecompressedBytes: number;
  readonly #maxDictionaryBytes: number;
  #dictionaries: DictionaryState;

  /**
   * @param schemaHeader Header of the stream's schema message
   * @param options Limits
   * @param like A decoder of the same stream whose dictionaries this one starts with
   * @throws {DipcError} `unsupported` naming the column and type that apache-arrow cannot represent, or for big-endian data
   */
  constructor(schemaHeader: MessageHeader, options: BatchDecoderOptions = {}, like: BatchDecoder | null = null) {
    if (like !== null) {
      this.schema = like.schema;
      this.#reader = like.#reader;
      this.#shape = like.#shape;
      this.#maxDecompressedBytes = like.#maxDecompressedBytes;
      this.#maxDictionaryBytes = like.#maxDictionaryBytes;
      this.#dictionaries = like.#dictionaries;
      return;
    }
    this.#maxDecompressedBytes = options.maxDecompressedBytes ?? 4 * 1024 * 1024 * 1024;
    this.#maxDictionaryBytes = options.maxDictionaryBytes ?? 4 * 1024 * 1024 * 1024;
    this.#reader = HeaderReader.continuing(schemaHeader, options);
    const layout = this.#reader.layout!;
    this.schema = arrowSchema(layout);
    this.#shape = shapeOf(layout, this.schema);
    this.#dictionaries = DictionaryState.empty(dictionaryPlans(layout, this.schema));
  }

  /** Another decoder at the same point of the stream; what one of them decodes does not affect the other. */
  fork(): BatchDecoder {
    return new BatchDecoder(this.#reader.schema!, {}, this);
  }

  /**
   * Whether {@linkcode decode} may be called for this message now; if not, await {@linkcode prepare} first.
   *
   * @param header Header of the message
   */
  ready(header: MessageHeader): boolean {
    return codecReady(header.compression);
  }

  /**
   * Loads the codec that decoding the message needs, if its body is compressed.
   *
   * @param header Header of the message
   */
  async prepare(header: MessageHeader): Promise<void> {
    if (header.compression !== "none") await loadCodec(header.compression);
  }

  /**
   * Decodes one message and takes over its body, even if it throws. Columns are built later, on first access.
   *
   * @param message A message of this stream, after all messages before it
   * @returns the batch, which owns its memory; `null` for a schema or dictionary, which is kept
   * @throws {DipcError} `invalid_data`, `limit_exceeded`
   */
  decode(message: IpcMessage): OwnedRecordBatch | null {
    const { body } = message;
    try {
      if (message.header.kind === "schema") {
        body?.release();
        return null;
      }
      const header = verified(message.header, this.#reader);
      if ((body?.byteLength ?? 0) < header.bodyLength) {
        throw new DipcError(
          "invalid_data",
          `cannot decode a message: its body has ${body?.byteLength ?? 0} bytes, expected ${header.bodyLength}`,
        );
      }
      if (!codecReady(header.compression)) {
        throw new DipcError(
          "internal",
          `cannot decode a message with a ${header.compression} body: the codec is not loaded; await prepare() first`,
        );
      }
      if (header.kind === "dictionary") {
        this.#addDictionary(header, body);
        return null;
      }
      header.starts ??= columnStarts(header);
      const source = new BatchSource(header, this.#shape, this.#dictionaries, body, this.#maxDecompressedBytes);
      return lazyBatch(this.schema, source);
    } catch (error) {
      body?.release();
      throw error;
    }
  }

  /**
   * Decodes one message as {@linkcode decode} does, after loading the codec that it needs. Takes over its body, even if it
   * throws.
   *
   * @param message A message of this stream, after all messages before it
   * @returns the batch, which owns its memory; `null` for a schema or dictionary, which is kept
   * @throws {DipcError} `invalid_data`, `limit_exceeded`
   */
  async decodeAsync(message: IpcMessage): Promise<OwnedRecordBatch | null> {
    if (!this.ready(message.header)) {
      try {
        await this.prepare(message.header);
      } catch (error) {
        message.body?.release();
        throw error;
      }
    }
    return this.decode(message);
  }

  /** Copies the dictionary out of its block, because it lives as long as any batch refers to it. */
  #addDictionary(header: VerifiedHeader, body: Body | null): void {
    const chunk = copyChunk(header, body, this.#maxDecompressedBytes);
    body?.release();
    const next = this.#dictionaries.with(chunk);
    if (next.byteLength > this.#maxDictionaryBytes) {
      throw new DipcError(
        "limit_exceeded",
        `cannot keep ${next.byteLength} bytes of dictionaries: the limit maxDictionaryBytes is ${this.#maxDictionaryBytes}; raise it`,
      );
    }
    this.#dictionaries = next;
  }
}

function copyChunk(header: VerifiedHeader, body: Body | null, maxDecompressedBytes: number): DictionaryChunk {
  const { buffers, compression } = header;
  const bytes = body === null ? new Uint8Array(0) : body.bytes().slice(0, header.bodyLength);
  const piece = (index: number): Uint8Array => new Uint8Array(bytes.buffer, buffers[2 * index], buffers[2 * index + 1]);
  if (compression === "none") return { header, buffer: piece, byteLength: bytes.byteLength, data: null };
  const allowance: Allowance = { left: maxDecompressedBytes, limit: maxDecompressedBytes };
  const pieces: Uint8Array[] = [];
  let byteLength = 0;
  for (let i = 0; i < buffers.length / 2; i++) {
    pieces.push(decompressBuffer(compression, piece(i), allowance, () => bufferName(header, i)));
    byteLength += pieces[i].byteLength;
  }
  return { header, buffer: (index) => pieces[index], byteLength, data: null };
}
