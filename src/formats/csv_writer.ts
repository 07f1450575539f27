/**
 * Writes CSV as RFC 4180 describes it, with a header line.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import type { MessageHeader } from "../ipc/message.ts";
import { TextWriter } from "./batch_writer.ts";
import { cellText } from "./cell_text.ts";
import type { ByteSink } from "./sink.ts";

/**
 * Writes CSV: fields separated by commas, lines ended by a line feed, quotes only if they are needed. A null is an empty
 * field, an empty text is `""`. Nested values are JSON; binary ones are hexadecimal.
 */
export class CsvWriter extends TextWriter {
  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @throws {DipcError} `unsupported` for a column that apache-arrow cannot read
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    super(schema, sink);
    // Returns no promise: the header is far smaller than what is collected before the sink is used.
    void this.put(this.decoder.schema.fields.map((field) => csvField(field.name)).join(",") + "\n");
  }

  /** Writes one line for each row. */
  protected override async writeBatch(batch: RecordBatch): Promise<void> {
    const cells = batch.data.children.map((child) => cellText(child));
    for (let row = 0; row < batch.numRows; row++) {
      let line = "";
      let i = 0;
      try {
        for (; i < cells.length; i++) {
          if (i > 0) line += ",";
          const text = cells[i].text(row);
          if (text !== null) line += csvField(text);
        }
        line += "\n";
      } catch (error) {
        throw this.cellError(error, batch, i, row);
      }
      const pending = this.put(line);
      if (pending !== undefined) await pending;
    }
  }
}

/** A field, quoted if it would be misread otherwise. */
function csvField(text: string): string {
  if (text !== "" && !/[",\r\n]/.test(text)) return text;
  return `"${text.replaceAll('"', '""')}"`;
}
