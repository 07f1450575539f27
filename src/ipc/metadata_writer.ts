/**
 * Writes the metadata of record batches and dictionary batches as flatbuffers.
 *
 * The layout is fixed, so it is written front to back in one pass: tables with their vtables, then the vectors they refer to. Table
 * and field numbers are those of Arrow's `Message.fbs`.
 *
 * @module
 */
import { PairsWriter } from "./pairs_writer.ts";

/** What the metadata of one batch contains. */
export interface BatchMetadata {
  readonly rows: number;
  readonly bodyLength: number;
  /** Length and null count of each node. */
  readonly nodes: readonly number[];
  /** Offset and length of each buffer. */
  readonly buffers: readonly number[];
  readonly variadicCounts: readonly number[];
  readonly custom?: ReadonlyMap<string, string>;
  /** Set for a dictionary batch. */
  readonly dictionary?: { readonly id: bigint; readonly isDelta: boolean };
}

const MESSAGE_VTABLE = 4;
const MESSAGE = 24;
const MESSAGE_SIZE = 24;
const BATCH_SIZE = 24;
const DICTIONARY_SIZE = 24;
/** Bytes of a vtable, padded so that its table is 8-aligned. */
const VTABLE_SIZE = 16;

/** Encodes a `Message` of metadata version V5, padded to 8 bytes. */
export function encodeBatchMetadata(batch: BatchMetadata): Uint8Array<ArrayBuffer> {
  const custom = new PairsWriter(batch.custom ?? new Map());
  const dictionaryAt = MESSAGE + MESSAGE_SIZE + VTABLE_SIZE;
  const batchAt = batch.dictionary === undefined ? dictionaryAt : dictionaryAt + DICTIONARY_SIZE + VTABLE_SIZE;
  const nodesAt = batchAt + BATCH_SIZE + 4;
  const buffersAt = nodesAt + 8 + 8 * batch.nodes.length;
  const countsAt = buffersAt + 8 + 8 * batch.buffers.length;
  const customAt = countsAt + 8 + 8 * batch.variadicCounts.length;
  const end = customAt + custom.byteLength;
  const bytes = new Uint8Array((end + 7) & ~7);
  const view = new DataView(bytes.buffer);
  const u16s = (at: number, values: readonly number[]): void =>
    values.forEach((value, i) => view.setUint16(at + 2 * i, value, true));
  const refer = (at: number, to: number): void => view.setUint32(at, to - at, true);
  /** A table and its vtable, which comes right before it: the reader of Polars does not look before the table that refers to it. */
  const table = (at: number, fields: readonly number[]): void => {
    u16s(at - VTABLE_SIZE, fields);
    view.setInt32(at, VTABLE_SIZE, true);
  };
  const count = (at: number, value: number): void => {
    view.setUint32(at, value % 4294967296, true);
    view.setUint32(at + 4, Math.floor(value / 4294967296), true);
  };
  const counts = (at: number, length: number, values: readonly number[]): void => {
    view.setUint32(at, length, true);
    for (let i = 0; i < values.length; i++) count(at + 4 + 8 * i, values[i]);
  };

  // Sizes and field offsets: Message (version, type, header, body length, custom metadata), RecordBatch (length, nodes,
  // buffers, compression, variadic counts), DictionaryBatch (id, data, delta).
  u16s(MESSAGE_VTABLE, [14, MESSAGE_SIZE, 16, 18, 4, 8, custom.count > 0 ? 20 : 0]);
  view.setInt32(MESSAGE, MESSAGE - MESSAGE_VTABLE, true);
  table(batchAt, [14, BATCH_SIZE, 8, 4, 16, 0, batch.variadicCounts.length > 0 ? 20 : 0]);

  refer(0, MESSAGE);
  refer(MESSAGE + 4, batch.dictionary === undefined ? batchAt : dictionaryAt);
  count(MESSAGE + 8, batch.bodyLength);
  view.setInt16(MESSAGE + 16, 4, true); // V5
  view.setUint8(MESSAGE + 18, batch.dictionary === undefined ? 3 : 2);
  if (custom.count > 0) refer(MESSAGE + 20, customAt);
  if (batch.dictionary !== undefined) {
    table(dictionaryAt, [10, DICTIONARY_SIZE, 8, 4, 16]);
    refer(dictionaryAt + 4, batchAt);
    view.setBigInt64(dictionaryAt + 8, batch.dictionary.id, true);
    view.setUint8(dictionaryAt + 16, batch.dictionary.isDelta ? 1 : 0);
  }
  refer(batchAt + 4, nodesAt);
  count(batchAt + 8, batch.rows);
  refer(batchAt + 16, buffersAt);
  if (batch.variadicCounts.length > 0) refer(batchAt + 20, countsAt);
  counts(nodesAt, batch.nodes.length / 2, batch.nodes);
  counts(buffersAt, batch.buffers.length / 2, batch.buffers);
  counts(countsAt, batch.variadicCounts.length, batch.variadicCounts);
  custom.write(bytes, customAt);
  return bytes;
}
