/**
 * Writes the metadata of record batches and dictionary batches as flatbuffers.
 *
 * The layout is fixed, so it is written front to back in one pass: vtables, the tables, then the vectors they refer to. Table
 * and field numbers are those of Arrow's `Message.fbs`.
 *
 * @module
 */

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

const encoder = new TextEncoder();

const MESSAGE_VTABLE = 4;
const BATCH_VTABLE = 18;
const DICTIONARY_VTABLE = 32;
const PAIR_VTABLE = 42;
const MESSAGE = 56;
const MESSAGE_SIZE = 24;
const BATCH_SIZE = 24;
const DICTIONARY_SIZE = 24;

/** Encodes a `Message` of metadata version V5, padded to 8 bytes. */
export function encodeBatchMetadata(batch: BatchMetadata): Uint8Array<ArrayBuffer> {
  const custom = batch.custom === undefined
    ? []
    : [...batch.custom].map(([key, value]) => [encoder.encode(key), encoder.encode(value)] as const);
  const dictionaryAt = MESSAGE + MESSAGE_SIZE;
  const batchAt = dictionaryAt + (batch.dictionary === undefined ? 0 : DICTIONARY_SIZE);
  const nodesAt = batchAt + BATCH_SIZE + 4;
  const buffersAt = nodesAt + 8 + 8 * batch.nodes.length;
  const countsAt = buffersAt + 8 + 8 * batch.buffers.length;
  const customAt = countsAt + 8 + 8 * batch.variadicCounts.length;
  let pairsAt = customAt + 4 + 4 * custom.length;
  const end = custom.reduce((at, [key, value]) => at + 12 + stringSize(key) + stringSize(value), pairsAt);
  const bytes = new Uint8Array((end + 7) & ~7);
  const view = new DataView(bytes.buffer);
  const u16s = (at: number, values: readonly number[]): void =>
    values.forEach((value, i) => view.setUint16(at + 2 * i, value, true));
  const refer = (at: number, to: number): void => view.setUint32(at, to - at, true);
  const table = (at: number, vtable: number): void => view.setInt32(at, at - vtable, true);
  const count = (at: number, value: number): void => {
    view.setUint32(at, value % 4294967296, true);
    view.setUint32(at + 4, Math.floor(value / 4294967296), true);
  };
  const counts = (at: number, length: number, values: readonly number[]): void => {
    view.setUint32(at, length, true);
    for (let i = 0; i < values.length; i++) count(at + 4 + 8 * i, values[i]);
  };

  // Sizes and field offsets: Message (version, type, header, body length, custom metadata), RecordBatch (length, nodes,
  // buffers, compression, variadic counts), DictionaryBatch (id, data, delta), KeyValue (key, value).
  u16s(MESSAGE_VTABLE, [14, MESSAGE_SIZE, 16, 18, 4, 8, custom.length > 0 ? 20 : 0]);
  u16s(BATCH_VTABLE, [14, BATCH_SIZE, 8, 4, 16, 0, batch.variadicCounts.length > 0 ? 20 : 0]);
  u16s(DICTIONARY_VTABLE, [10, DICTIONARY_SIZE, 8, 4, 16]);
  u16s(PAIR_VTABLE, [8, 12, 4, 8]);

  refer(0, MESSAGE);
  table(MESSAGE, MESSAGE_VTABLE);
  refer(MESSAGE + 4, batch.dictionary === undefined ? batchAt : dictionaryAt);
  count(MESSAGE + 8, batch.bodyLength);
  view.setInt16(MESSAGE + 16, 4, true); // V5
  view.setUint8(MESSAGE + 18, batch.dictionary === undefined ? 3 : 2);
  if (custom.length > 0) refer(MESSAGE + 20, customAt);
  if (batch.dictionary !== undefined) {
    table(dictionaryAt, DICTIONARY_VTABLE);
    refer(dictionaryAt + 4, batchAt);
    view.setBigInt64(dictionaryAt + 8, batch.dictionary.id, true);
    view.setUint8(dictionaryAt + 16, batch.dictionary.isDelta ? 1 : 0);
  }
  table(batchAt, BATCH_VTABLE);
  refer(batchAt + 4, nodesAt);
  count(batchAt + 8, batch.rows);
  refer(batchAt + 16, buffersAt);
  if (batch.variadicCounts.length > 0) refer(batchAt + 20, countsAt);
  counts(nodesAt, batch.nodes.length / 2, batch.nodes);
  counts(buffersAt, batch.buffers.length / 2, batch.buffers);
  counts(countsAt, batch.variadicCounts.length, batch.variadicCounts);
  view.setUint32(customAt, custom.length, true);
  custom.forEach(([key, value], i) => {
    refer(customAt + 4 + 4 * i, pairsAt);
    table(pairsAt, PAIR_VTABLE);
    const keyAt = pairsAt + 12;
    const valueAt = keyAt + stringSize(key);
    refer(pairsAt + 4, keyAt);
    refer(pairsAt + 8, valueAt);
    for (const [at, text] of [[keyAt, key], [valueAt, value]] as const) {
      view.setUint32(at, text.byteLength, true);
      bytes.set(text, at + 4);
    }
    pairsAt = valueAt + stringSize(value);
  });
  return bytes;
}

/** Length word, bytes, terminating zero, padded to 4. */
function stringSize(text: Uint8Array): number {
  return (4 + text.byteLength + 1 + 3) & ~3;
}
