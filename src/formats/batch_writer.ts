/**
 * The base of writers of lines of text: it decodes messages, and writes a line for each row.
 *
 * @module
 */
import type { Field } from "apache-arrow";
import { BatchDecoder, type OwnedRecordBatch } from "../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { cellError } from "./engine_limits.ts";
import type { ByteSink } from "./sink.ts";
import type { TextForm } from "./text/cell.ts";
import { CellFactory } from "./text/cells.ts";
import { TextOutput, type Token } from "./text/output.ts";
import type { MessageWriter } from "./writer.ts";

/** Length of text collected before it is written, in bytes. */
const CHUNK_BYTES = 256 * 1024;

/** What lines are made of, besides cells. */
export interface LineParts {
  /** What comes before the cell of each column. */
  readonly before: readonly Token[];
  /** What ends a line. */
  readonly end: Token;
}

/** Writes each row as a line: its cells, with constant parts between them. */
export abstract class TextWriter implements MessageWriter {
  /** Names that are written otherwise than the stream has them. */
  abstract readonly warnings: readonly string[];
  /** Columns of the stream. */
  protected readonly fields: readonly Field[];
  /** Text that has not been written yet. */
  protected readonly out: TextOutput = new TextOutput();
  readonly #decoder: BatchDecoder;
  readonly #sink: ByteSink;
  readonly #cells: CellFactory;
  /** Rows of the batches before. */
  #rows = 0;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param form What the cells are written for
   * @throws {DipcError} `unsupported` for a column that apache-arrow cannot read
   */
  constructor(schema: MessageHeader, sink: ByteSink, form: TextForm) {
    this.#decoder = new BatchDecoder(schema);
    this.fields = this.#decoder.schema.fields;
    this.#sink = sink;
    this.#cells = new CellFactory(form, this.fields.length === 1);
  }

  /** The constant parts of each line. */
  protected abstract readonly parts: LineParts;

  /** Writes one message and releases its body. */
  async write(message: IpcMessage): Promise<void> {
    using batch = await this.#decoder.decodeAsync(message);
    if (batch === null) return;
    await this.#writeRows(batch);
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

  async #writeRows(batch: OwnedRecordBatch): Promise<void> {
    const { out } = this;
    const { before, end } = this.parts;
    const cells = batch.data.children.map((column) => this.#cells.cell(column));
    const rows = batch.numRows, columns = cells.length;
    for (let row = 0; row < rows; row++) {
      let i = 0;
      out.lineStart = out.at;
      try {
        for (; i < columns; i++) {
          out.token(before[i]);
          cells[i](out, row);
        }
        out.token(end);
      } catch (error) {
        // After the last column it is the line that is too long.
        throw cellError(error, this.fields[Math.min(i, columns - 1)].name, this.#rows + row);
      }
      if (out.at >= CHUNK_BYTES) {
        const pending = this.#flush();
        if (pending !== undefined) await pending;
      }
    }
  }

  #flush(): void | Promise<void> {
    const { out } = this;
    const pending = this.#sink.write([out.written()]);
    if (pending !== undefined) return pending.then(() => out.clear());
    out.clear();
  }
}
