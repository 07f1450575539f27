/**
 * A wide table in memory, always the same.
 *
 * @module
 */
import { Field, Float64, makeData, RecordBatch, Schema, Struct, Table } from "apache-arrow";

const BATCH_ROWS = 65_536;

/** A table of float64 columns. */
export function wideTable(columns: number, rows: number): Table {
  const fields = Array.from({ length: columns }, (_, column) => new Field(`c${column}`, new Float64(), false));
  const schema = new Schema(fields);
  const batches: RecordBatch[] = [];
  for (let start = 0; start < rows; start += BATCH_ROWS) {
    const length = Math.min(BATCH_ROWS, rows - start);
    const children = fields.map((_, column) => {
      const data = new Float64Array(length);
      for (let row = 0; row < length; row++) data[row] = (start + row) * 1.5 + column;
      return makeData({ type: new Float64(), length, nullCount: 0, data });
    });
    batches.push(new RecordBatch(schema, makeData({ type: new Struct(fields), length, nullCount: 0, children })));
  }
  return new Table(schema, batches);
}
