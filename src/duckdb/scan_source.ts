/**
 * The layout of `struct source` of `native/duckdb/scan.c`.
 *
 * @module
 */

/** Offsets of its members, in bytes. */
export const SOURCE = {
  ...{ stream: 0, lockAndTaken: 40, users: 56, connection: 64, columnCount: 72, types: 80, names: 88, schemas: 96 },
  ...{ batches: 104, batchCount: 112, rowCount: 120 },
} as const;

/** Its size in bytes. */
export const SOURCE_BYTES = 128;
