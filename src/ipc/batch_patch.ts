/**
 * The metadata of a record batch whose body was packed anew: the same columns with other lengths.
 *
 * @module
 */
import { FlatReader } from "./flatbuffer.ts";

/** Fields of `Message` and `RecordBatch` in Arrow's `Message.fbs` that are changed. */
const MESSAGE_HEADER = 2, MESSAGE_BODY_LENGTH = 3, BATCH_LENGTH = 0, BATCH_NODES = 1, BATCH_BUFFERS = 2;

/** The new numbers. */
export interface BatchNumbers {
  /** Rows of the batch. */
  readonly rows: number;
  /** Length and null count of each node. */
  readonly nodes: Float64Array;
  /** Offset of each buffer in the body. */
  readonly offsets: Float64Array;
  /** Size of each buffer in bytes, without padding. */
  readonly lengths: Float64Array;
  /** Size of the body in bytes. */
  readonly bodyLength: number;
}

/**
 * The metadata with new numbers.
 *
 * @param metadata A `Message` of a record batch, verified; it is copied
 * @param numbers What is written into the copy; as many nodes and buffers as it has
 */
export function patchBatch(metadata: Uint8Array, numbers: BatchNumbers): Uint8Array<ArrayBuffer> {
  const { rows, nodes, offsets, lengths, bodyLength } = numbers;
  const bytes = new Uint8Array(metadata);
  const view = new DataView(bytes.buffer);
  const reader = new FlatReader(bytes);
  const root = reader.root();
  const batch = reader.child(root, MESSAGE_HEADER, "record batch");
  const set = (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true);
  // A number may be absent if it was 0, and then it still is.
  const rowsAt = reader.field(batch, BATCH_LENGTH, 8, "row count");
  if (rowsAt !== 0) set(rowsAt, rows);
  const bodyLengthAt = reader.field(root, MESSAGE_BODY_LENGTH, 8, "body length");
  if (bodyLengthAt !== 0) set(bodyLengthAt, bodyLength);
  const nodesAt = reader.vector(batch, BATCH_NODES, 16, "field nodes") + 4;
  nodes.forEach((value, i) => set(nodesAt + 8 * i, value));
  const buffersAt = reader.vector(batch, BATCH_BUFFERS, 16, "buffers") + 4;
  lengths.forEach((length, i) => {
    set(buffersAt + 16 * i, offsets[i]);
    set(buffersAt + 16 * i + 8, length);
  });
  return bytes;
}
