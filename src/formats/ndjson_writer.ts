/**
 * Writes newline-delimited JSON: one object per row.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import { TextWriter } from "./batch_writer.ts";
import { cellText } from "./cell_text.ts";

/**
 * Writes one JSON object per row, with the columns' names as keys in their order. Numbers have all their digits, even those
 * that JavaScript would round; see `cellText` for the other types.
 */
export class NdjsonWriter extends TextWriter {
  /** Writes one line for each row. */
  protected override async writeBatch(batch: RecordBatch): Promise<void> {
    const cells = batch.data.children.map((child) => cellText(child));
    const keys = batch.schema.fields.map((field, i) => `${i > 0 ? "," : ""}${JSON.stringify(field.name)}:`);
    for (let row = 0; row < batch.numRows; row++) {
      let line = "{";
      let i = 0;
      try {
        for (; i < cells.length; i++) line += keys[i] + cells[i].json(row);
        line += "}\n";
      } catch (error) {
        throw this.cellError(error, batch, i, row);
      }
      const pending = this.put(line);
      if (pending !== undefined) await pending;
    }
  }
}
