/**
 * The header of a message whose metadata has been verified.
 *
 * @module
 */
import { FlatReader } from "./flatbuffer.ts";
import type { NodePlan, SchemaLayout } from "./layout.ts";
import type { MessageHeader, MessageKind } from "./message.ts";
import { readMetadata } from "./schema_reader.ts";

/** A header made by `HeaderReader`, with what only this folder needs to know. */
export class VerifiedHeader implements MessageHeader {
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
  /** Schema of the stream. */
  readonly layout: SchemaLayout;
  /** Nodes and buffers of this message; for a schema those of its batches. */
  readonly plan: NodePlan;
  /** Metadata version of this message. */
  readonly version: 4 | 5;
  /** Where each top-level column starts, once a decoder has asked: node, buffer and variadic count, 3 numbers a column. */
  starts: Float64Array | null = null;
  /** Custom metadata of the message, once somebody has asked. */
  customMetadata: Map<string, string> | null = null;

  /** @param parts All fields, each checked */
  constructor(
    kind: MessageKind,
    bytes: Uint8Array<ArrayBuffer>,
    bodyLength: number,
    rows: number,
    dictionaryId: bigint,
    isDelta: boolean,
    nodes: Float64Array,
    buffers: Float64Array,
    variadicCounts: Float64Array,
    compression: "none" | "lz4" | "zstd",
    layout: SchemaLayout,
    plan: NodePlan,
    version: 4 | 5,
  ) {
    this.kind = kind;
    this.bytes = bytes;
    this.bodyLength = bodyLength;
    this.rows = rows;
    this.dictionaryId = dictionaryId;
    this.isDelta = isDelta;
    this.nodes = nodes;
    this.buffers = buffers;
    this.variadicCounts = variadicCounts;
    this.compression = compression;
    this.layout = layout;
    this.plan = plan;
    this.version = version;
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
