/**
 * The unit of work: one Arrow IPC message, that is its verified metadata and its body in some memory space.
 *
 * @module
 */
import type { Body } from "../memory/block.ts";

/** Kinds of Arrow IPC message that travel on a record-batch stream. */
export type MessageKind = "schema" | "dictionary" | "batch";

/**
 * Verified metadata of one message. Every number in it has been checked against `bytes`, and (for dictionaries and
 * batches) against the schema of its stream, so that nothing read through it lies outside the body.
 *
 * Instances are immutable and may be shared by many messages with equal metadata.
 */
export interface MessageHeader {
  /** Which header the message has. */
  readonly kind: MessageKind;
  /** The `Message` flatbuffer: no continuation marker, no length, own copy, 8-aligned. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of the body, 0 for a schema. */
  readonly bodyLength: number;
  /** Rows of a batch, values of a dictionary, 0 for a schema. */
  readonly rows: number;
  /** Dictionary id, or -1n where the message is not a dictionary batch. */
  readonly dictionaryId: bigint;
  /** True for a dictionary batch that appends to the values sent earlier. */
  readonly isDelta: boolean;
  /** Length and null count of each field node in order: 2 numbers a node. */
  readonly nodes: Float64Array;
  /** Offset and length in the body of each buffer in order: 2 numbers a buffer. */
  readonly buffers: Float64Array;
  /** Number of variadic data buffers of each view column, in order. */
  readonly variadicCounts: Float64Array;
  /** Codec of the body's buffers. */
  readonly compression: "none" | "lz4" | "zstd";
}

/** One message of a stream. Whoever holds it owns its body and calls `release()` once done with it. */
export interface IpcMessage {
  /** Its verified metadata. */
  readonly header: MessageHeader;
  /** Its body: `null` for a schema, an empty body where `bodyLength` is 0. */
  readonly body: Body | null;
  /** What the sending application added (Flight's `app_metadata`), where it did. */
  readonly appMetadata?: Uint8Array<ArrayBuffer>;
}
