/**
 * The unit of work: one Arrow IPC message, that is its verified metadata and its body in some memory space.
 *
 * @module
 */
import type { Body } from "../memory/block.ts";

/** Kinds of Arrow IPC message that travel on a record-batch stream. */
export type MessageKind = "schema" | "dictionary" | "batch";

/**
 * Verified metadata of one message. It has been checked against the bounds of `bytes` and, for dictionaries and batches,
 * against the schema of its stream, so that nothing read through it lies outside the body.
 *
 * Instances are immutable and may be shared by many messages with equal metadata.
 */
export interface MessageHeader {
  /** Kind of the message. */
  readonly kind: MessageKind;
  /** A private, 8-aligned copy of the `Message` flatbuffer, without continuation marker and length. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Size of the body in bytes, 0 for a schema. */
  readonly bodyLength: number;
  /** Rows of a batch, values of a dictionary, 0 for a schema. */
  readonly rows: number;
  /** Dictionary id, or -1n if the message is not a dictionary batch. */
  readonly dictionaryId: bigint;
  /** True for a dictionary batch that appends to the values sent earlier. */
  readonly isDelta: boolean;
  /** Length and null count of each field node in order: 2 numbers per node. */
  readonly nodes: Float64Array;
  /** Offset and length in the body of each buffer in order: 2 numbers per buffer. */
  readonly buffers: Float64Array;
  /** Number of variadic data buffers of each view column, in order. */
  readonly variadicCounts: Float64Array;
  /** Codec of the body's buffers. */
  readonly compression: "none" | "lz4" | "zstd";
}

/** One message of a stream. Its holder owns the body and calls `release()` on it when done. */
export interface IpcMessage {
  /** Verified metadata of the message. */
  readonly header: MessageHeader;
  /** The body: `null` for a schema, an empty body if `bodyLength` is 0. */
  readonly body: Body | null;
  /** What the sending application added, if anything (Flight's `app_metadata`). */
  readonly appMetadata?: Uint8Array<ArrayBuffer>;
}
