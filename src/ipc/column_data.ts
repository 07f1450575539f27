/**
 * The columns of a batch as apache-arrow keeps them.
 *
 * @module
 */
import { type Data, type RecordBatch, Vector } from "apache-arrow";

/** The columns of a batch. A batch that apache-arrow 21 makes of vectors without a value has those vectors in their place. */
export function columnData(batch: RecordBatch): readonly Data[] {
  const columns: readonly (Data | Vector)[] = batch.data.children;
  if (!columns.some((column) => column instanceof Vector)) return batch.data.children;
  return columns.map((column) => column instanceof Vector ? column.data[0] : column);
}
