/**
 * The header of a message whose metadata has been verified.
 *
 * @module
 */
import { FlatReader } from "./flatbuffer.ts";
import type { NodePlan, SchemaLayout } from "./layout.ts";
import type { MessageHeader, MessageKind } from "./message.ts";
import { readMetadata } from "./schema_reader.ts";

/** The verified parts of a {@linkcode VerifiedHeader}. */
export interface VerifiedParts extends Omit<MessageHeader, "bytes"> {
  /** The metadata, or a function that encodes it when it is first needed: batches of C structures have none. */
  readonly bytes: Uint8Array<ArrayBuffer> | (() => Uint8Array<ArrayBuffer>);
  /** Schema of the stream. */
  readonly layout: SchemaLayout;
  /** Nodes and buffers of this message; for a schema those of its batches. */
  readonly plan: NodePlan;
  /** Metadata version of this message. */
  readonly version: 4 | 5;
}

/** A header made by `HeaderReader`, with details that only this library uses. */
export class VerifiedHeader implements MessageHeader {
  readonly kind: MessageKind;
  #bytes: Uint8Array<ArrayBuffer> | (() => Uint8Array<ArrayBuffer>);
  readonly bodyLength: number;
  readonly rows: number;
  readonly dictionaryId: bigint;
  readonly isDelta: boolean;
  readonly nodes: Float64Array;
  readonly buffers: Float64Array;
  readonly variadicCounts: Float64Array;
  readonly compression: "none" | "lz4" | "zstd";
  readonly layout: SchemaLayout;
  readonly plan: NodePlan;
  readonly version: 4 | 5;
  /** Indices of the first node, buffer and variadic count of each top-level column, once a decoder has computed them. */
  starts: Float64Array | null = null;
  /** Custom metadata of the message, read on first access. */
  customMetadata: Map<string, string> | null = null;

  /** @param parts All fields, verified */
  constructor(parts: VerifiedParts) {
    this.kind = parts.kind;
    this.#bytes = parts.bytes;
    this.bodyLength = parts.bodyLength;
    this.rows = parts.rows;
    this.dictionaryId = parts.dictionaryId;
    this.isDelta = parts.isDelta;
    this.nodes = parts.nodes;
    this.buffers = parts.buffers;
    this.variadicCounts = parts.variadicCounts;
    this.compression = parts.compression;
    this.layout = parts.layout;
    this.plan = parts.plan;
    this.version = parts.version;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    return typeof bytes === "function" ? this.#bytes = bytes() : bytes;
  }
}

/** Custom metadata of a message (not that of the schema in it). */
export function messageMetadata(header: VerifiedHeader): Map<string, string> {
  if (header.customMetadata === null) {
    const reader = new FlatReader(header.bytes);
    header.customMetadata = new Map(readMetadata(reader, reader.root(), 4, "message metadata"));
  }
  return header.customMetadata;
}
