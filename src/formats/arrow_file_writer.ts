/**
 * Writes messages as an Arrow IPC file, bodies directly from their memory.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { encodeFooter, END_OF_STREAM, frameMetadata, padTo8 } from "../ipc/frame.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { FILE_HEAD_BYTES, FILE_MAGIC, type FileBlock } from "../ipc/split_file.ts";
import type { ByteSink, Piece } from "./sink.ts";
import type { MessageWriter } from "./writer.ts";

/**
 * Writes an Arrow IPC file (`.arrow`, also known as Feather V2). Every type is written as it arrived, and so are deltas
 * of dictionaries. A file cannot hold a dictionary that is replaced: that is an `unsupported` error.
 */
export class ArrowFileWriter implements MessageWriter {
  readonly #sink: ByteSink;
  readonly #schema: MessageHeader;
  readonly #dictionaries: FileBlock[] = [];
  readonly #batches: FileBlock[] = [];
  readonly #known = new Set<bigint>();
  #offset = 0;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    this.#sink = sink;
    this.#schema = schema;
  }

  /** Writes one message and releases its body. */
  write(message: IpcMessage): void | Promise<void> {
    const { header, body } = message;
    let pending: void | Promise<void>;
    try {
      pending = this.#sink.write(this.#pieces(message));
    } catch (error) {
      body?.release();
      throw error;
    }
    if (header.kind === "dictionary") this.#known.add(header.dictionaryId);
    if (pending instanceof Promise) return pending.finally(() => body?.release());
    body?.release();
  }

  /** Writes the end of the stream and the footer. */
  async finish(): Promise<void> {
    const footer = encodeFooter(this.#schema, this.#dictionaries, this.#batches);
    const tail = new Uint8Array(4 + FILE_MAGIC.byteLength);
    new DataView(tail.buffer).setInt32(0, footer.byteLength, true);
    tail.set(FILE_MAGIC, 4);
    await this.#sink.write([...this.#start(), END_OF_STREAM, footer, tail]);
    await this.#sink.finish();
  }

  /** Aborts the output. */
  abort(): void | Promise<void> {
    return this.#sink.abort();
  }

  #pieces({ header, body }: IpcMessage): Piece[] {
    if (header.kind === "dictionary" && !header.isDelta && this.#known.has(header.dictionaryId)) {
      throw new DipcError(
        "unsupported",
        `cannot write an Arrow file: dictionary ${header.dictionaryId} is replaced in the middle of the data, which a file cannot hold; ` +
          `write an Arrow stream instead (--format arrows, or a file name that ends with .arrows)`,
      );
    }
    const pieces = this.#start();
    const frame = frameMetadata(header);
    const bodyLength = body?.byteLength ?? 0;
    const block: FileBlock = { offset: this.#offset, metadataLength: frame.byteLength, bodyLength };
    (header.kind === "dictionary" ? this.#dictionaries : this.#batches).push(block);
    pieces.push(frame);
    if (body !== null) pieces.push(body);
    const padding = padTo8(bodyLength) - bodyLength;
    if (padding > 0) pieces.push(new Uint8Array(padding));
    this.#offset += frame.byteLength + bodyLength + padding;
    return pieces;
  }

  /** The start of the file, once: magic and schema. */
  #start(): Piece[] {
    if (this.#offset > 0) return [];
    const head = new Uint8Array(FILE_HEAD_BYTES);
    head.set(FILE_MAGIC);
    const schema = frameMetadata(this.#schema);
    this.#offset = head.byteLength + schema.byteLength;
    return [head, schema];
  }
}
