/**
 * The batches of random sequences, whose values follow from the number of the first row.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Dictionary, Int32, type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import type { Random } from "../../support/random.ts";

const text = (value: number): string => `value ${value} ${"long ".repeat(value % 5)}`;

/** Rows `base`, `base + 1`, … */
export function makeBatch(base: number, rows: number): RecordBatch {
  const numbers = Array.from({ length: rows }, (_, i) => base + i);
  return new Table({
    n: vectorFromArray(Int32Array.from(numbers)),
    s: vectorFromArray(numbers.map((n) => n % 7 === 0 ? null : text(n)), new Utf8()),
    d: vectorFromArray(numbers.map((n) => `kind ${n % 3}`), new Dictionary(new Utf8(), new Int32(), 1)),
  }).batches[0];
}

/** Checks a few rows of a batch whose first row is `base`. */
export function checkRows(batch: RecordBatch, base: number, random: Random): void {
  if (batch.numRows === 0) return;
  for (let i = 0; i < 4; i++) {
    const row = random.below(batch.numRows);
    const n = base + row;
    const expected = [n, n % 7 === 0 ? null : text(n), `kind ${n % 3}`];
    assertEquals([0, 1, 2].map((column) => batch.getChildAt(column)!.get(row)), expected);
  }
}
