/**
 * The header of a message whose metadata has been verified.
 *
 * @module
 */
import { FlatReader } from "./flatbuffer.ts";
import type { NodePlan, SchemaLayout } from "./layout.ts";
import type { MessageHeader, MessageKind } from "./message.ts";
import { readMetadata } from "./schema_reader.ts";

/** What a {@linkcode VerifiedHeader} is made from, each part checked. */
export interface VerifiedParts extends MessageHeader {
  /** Schema of the stream. */
  readonly layout: SchemaLayout;
  /** Nodes and buffers of this message; for a schema those of its batches. */
  readonly plan: NodePlan;
  /** Metadata version of this message. */
  readonly version: 4 | 5;
}

/** A header made by `HeaderReader`, with what only this folder needs to know. */
export class VerifiedHeader implements VerifiedParts {
  readonly kind: MessageKind;
  readonly bytes: Uint8Array<ArrayBuffer>;
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
  /** Where each top-level column starts, once a decoder has asked: node, buffer and variadic count, 3 numbers a column. */
  starts: Float64Array | null = null;
  /** Custom metadata of the message, once somebody has asked. */
  customMetadata: Map<string, string> | null = null;

  /** @param parts All fields, each checked */
  constructor(parts: VerifiedParts) {
    this.kind = parts.kind;
    this.bytes = parts.bytes;
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
}

/** Custom metadata of a message (not that of the schema in it). */
export function messageMetadata(header: VerifiedHeader): Map<string, string> {
  if (header.customMetadata === null) {
    const reader = new FlatReader(header.bytes);
    header.customMetadata = new Map(readMetadata(reader, reader.root(), 4, "message metadata"));
  }
  return header.customMetadata;
}
