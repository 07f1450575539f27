/**
 * The base of writers of text: it decodes messages and disposes batches.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import { cellError } from "./engine_limits.ts";
import { BatchDecoder } from "../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ByteSink } from "./sink.ts";
import type { MessageWriter } from "./writer.ts";

/** Length of text collected before it is written, in UTF-16 code units. */
const CHUNK_CHARACTERS = 1 << 18;

/** A writer of text: decodes each message and hands the batch to {@linkcode writeBatch}. */
export abstract class TextWriter implements MessageWriter {
  /** Decodes the stream's messages. */
  protected readonly decoder: BatchDecoder;
  readonly #sink: ByteSink;
  readonly #encoder = new TextEncoder();
  #text: string[] = [];
  #characters = 0;
  /** Rows of the batches before. */
  #rows = 0;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @throws {DipcError} `unsupported` for a column that apache-arrow cannot read
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    this.decoder = new BatchDecoder(schema);
    this.#sink = sink;
  }

  /** Writes one message and releases its body. */
  async write(message: IpcMessage): Promise<void> {
    using batch = await this.decoder.decodeAsync(message);
    if (batch === null) return;
    await this.writeBatch(batch);
    this.#rows += batch.numRows;
  }

  /** Writes what is left and makes the output final. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#sink.finish();
  }

  /** Aborts the output. */
  abort(): void | Promise<void> {
    return this.#sink.abort();
  }

  /** Writes the rows of a batch, which is disposed afterwards. */
  protected abstract writeBatch(batch: RecordBatch): Promise<void>;

  /** The error for a cell of a batch, of which there is no text. */
  protected cellError(error: unknown, batch: RecordBatch, column: number, row: number): unknown {
    // After the last column it is the line that is too long.
    const { name } = batch.schema.fields[Math.min(column, batch.schema.fields.length - 1)];
    return cellError(error, name, this.#rows + row);
  }

  /** Adds text; returns a promise if the sink has to catch up. */
  protected put(text: string): void | Promise<void> {
    // Together with what was collected it might be too long for one text.
    if (text.length >= CHUNK_CHARACTERS && this.#characters > 0) return this.#flush().then(() => this.put(text));
    this.#text.push(text);
    this.#characters += text.length;
    if (this.#characters >= CHUNK_CHARACTERS) return this.#flush();
  }

  async #flush(): Promise<void> {
    const bytes = this.#encoder.encode(this.#text.join(""));
    this.#text = [];
    this.#characters = 0;
    await this.#sink.write([bytes]);
  }
}
