/**
 * Small files that the tests of the command serve, and what they hold.
 *
 * @module
 */
import { RecordBatch, type Struct, Table, tableFromArrays, tableToIPC } from "apache-arrow";

/** Rows of each batch of {@linkcode tripsBytes}. */
export const TRIP_BATCH_ROWS = 1000;

/** A table of rides: an id, a fare and a zone as dictionary, some of them null. */
export function tripsTable(batches = 3): Table {
  const rows = batches * TRIP_BATCH_ROWS;
  const whole = tableFromArrays({
    id: Int32Array.from({ length: rows }, (_, i) => i),
    fare: Float64Array.from({ length: rows }, (_, i) => i / 4),
    zone: Array.from({ length: rows }, (_, i) => i % 7 === 0 ? null : `zone, "${i % 5}"`),
  });
  const data = whole.batches[0].data;
  const parts = Array.from({ length: batches }, (_, i) => {
    const slice = data.slice(i * TRIP_BATCH_ROWS, TRIP_BATCH_ROWS);
    return new RecordBatch(whole.schema, slice as typeof slice & { type: Struct });
  });
  return new Table(whole.schema, parts);
}

/** {@linkcode tripsTable} as Arrow stream or file. */
export function tripsBytes(format: "stream" | "file", batches = 3): Uint8Array {
  return tableToIPC(tripsTable(batches), format);
}

/** Makes an Arrow file of one int64 column in `folder`. */
export function writeWideFile(path: string, megabytes: number): void {
  const rows = 2 ** 17;
  const table = tableFromArrays({ value: Float64Array.from({ length: rows }, (_, i) => i) });
  const batch = table.batches[0];
  Deno.writeFileSync(
    path,
    tableToIPC(new Table(table.schema, Array.from({ length: megabytes }, () => batch)), "stream"),
  );
}
