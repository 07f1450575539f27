/**
 * The data that the benchmarks move: columns of row numbers, so that a reader can check every value it gets.
 *
 * @module
 */
import { Field, Float64, Int64, makeData, RecordBatch, Schema, Struct } from "apache-arrow";
import type { DataType } from "apache-arrow";

/** The shape of one generated data set. `peers/arrow_peer.py` makes the same. */
export interface Shape {
  /** Rows of each batch. */
  readonly rows: number;
  /** Number of batches. */
  readonly batches: number;
  /** Columns of 8-byte values, 1 to 4: first `int64`, then `float64`. */
  readonly columns: number;
}

/** Value of column `i` = row number × factor. */
const FACTORS = [1, 3, 0.5, -1] as const;

function isInteger(shape: Shape, column: number): boolean {
  return column < (shape.columns + 1) >> 1;
}

/** Bytes of the data of all batches. */
export function totalBytes(shape: Shape): number {
  return shape.rows * shape.batches * shape.columns * 8;
}

/** Four 8-byte columns in batches of exactly `batchBytes`, as many as make up `total` bytes. */
export function shapeOf(batchBytes: number, total: number): Shape {
  return { rows: batchBytes / 32, batches: Math.max(1, Math.round(total / batchBytes)), columns: 4 };
}

/** The batches of a shape, made one by one. */
export function* generateBatches(shape: Shape): Generator<RecordBatch> {
  const fields = Array.from(
    { length: shape.columns },
    (_, i) => new Field(`c${i}`, (isInteger(shape, i) ? new Int64() : new Float64()) as DataType, false),
  );
  const schema = new Schema(fields);
  for (let b = 0; b < shape.batches; b++) {
    const first = b * shape.rows;
    const children = fields.map((field, i) => {
      const factor = FACTORS[i];
      if (!isInteger(shape, i)) {
        const data = new Float64Array(shape.rows);
        for (let r = 0; r < shape.rows; r++) data[r] = (first + r) * factor;
        return makeData({ type: field.type as Float64, length: shape.rows, nullCount: 0, data });
      }
      // Row numbers stay below 2^31 ⁄ 3: the low words are enough, and far faster to fill than BigInts.
      const words = new Uint32Array(2 * shape.rows);
      for (let r = 0; r < shape.rows; r++) words[2 * r] = (first + r) * factor;
      const data = new BigInt64Array(words.buffer);
      return makeData({ type: field.type as Int64, length: shape.rows, nullCount: 0, data });
    });
    yield new RecordBatch(
      schema,
      makeData({ type: new Struct(fields), length: shape.rows, nullCount: 0, children }),
    );
  }
}

/**
 * Compares every value of a received batch with what it must be.
 *
 * @param batch What was received
 * @param shape The requested shape
 * @param first Number of its first row
 * @throws {Error} naming the column and row of the first difference
 */
export function checkBatch(batch: RecordBatch, shape: Shape, first: number): void {
  for (let i = 0; i < shape.columns; i++) {
    const values = batch.getChildAt(i)?.data[0].values as BigInt64Array | Float64Array;
    if (values?.length !== shape.rows) throw new Error(`column ${i}: ${values?.length} values, expected ${shape.rows}`);
    const factor = FACTORS[i];
    const wrong = (r: number) =>
      new Error(`row ${first + r}, column ${i}: ${values[r]}, expected ${(first + r) * factor}`);
    if (values instanceof Float64Array) {
      for (let r = 0; r < shape.rows; r++) if (values[r] !== (first + r) * factor) throw wrong(r);
    } else {
      const words = new Uint32Array(values.buffer, values.byteOffset, 2 * shape.rows);
      for (let r = 0; r < shape.rows; r++) {
        if (words[2 * r] !== (first + r) * factor || words[2 * r + 1] !== 0) throw wrong(r);
      }
    }
  }
}
