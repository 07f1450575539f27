/**
 * What gathers DuckDB's chunks of 2,048 rows into larger batches.
 *
 * @module
 */
import { VerifiedHeader } from "../ipc/header.ts";
import type { SchemaLayout } from "../ipc/layout.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import type { IpcMessage } from "../ipc/message.ts";

/** When a batch is complete: after the chunk that reaches one of them. */
export interface BatchSize {
  readonly rows: number;
  readonly bytes: number;
}

/** Gathers the chunks of one result. */
export interface Gatherer {
  /**
   * Fetches the next batch. Within a call of the connection.
   *
   * @returns The dictionaries if they were not sent yet, and the batch; `null` at the end
   * @throws {DipcError} What DuckDB reports
   */
  read(): Promise<IpcMessage[] | null>;
  /** Releases what was fetched and not returned. Called once, within a call of the connection, before the result is destroyed. */
  close(): void | Promise<void>;
}

/** Most bytes of a batch before its last chunk, and of the text of a column: offsets have 31 bits. */
export const MAX_BATCH_BYTES: number = 2 ** 30;
export const MAX_TEXT_BYTES: number = 2 ** 31 - 1;

/** Buffers of a message start at multiples of this many bytes. */
const ALIGNMENT = 64;

/** Places of the buffers of a body. */
export class BodyPlaces {
  /** Offset and length of each buffer. */
  readonly buffers: number[] = [];
  /** Size of the body in bytes. */
  byteLength = 0;

  /** Adds a buffer. @param slack Bytes after it that may be written to @returns its offset */
  add(byteLength: number, slack = 0): number {
    const at = this.byteLength;
    this.buffers.push(at, byteLength);
    this.byteLength += Math.ceil((byteLength + slack) / ALIGNMENT) * ALIGNMENT;
    return at;
  }

  /** Writes zeros after the buffers, up to the next one. */
  pad(bytes: Uint8Array): void {
    for (let i = 0; i < this.buffers.length; i += 2) {
      bytes.fill(0, this.buffers[i] + this.buffers[i + 1], this.buffers[i + 2] ?? this.byteLength);
    }
  }
}

/** The header of a batch. */
export function batchHeader(
  layout: SchemaLayout,
  rows: number,
  nodes: readonly number[],
  { buffers, byteLength: bodyLength }: BodyPlaces,
  variadicCounts: readonly number[] = [],
): VerifiedHeader {
  return new VerifiedHeader({
    kind: "batch",
    bytes: () => encodeBatchMetadata({ rows, bodyLength, nodes, buffers, variadicCounts }),
    bodyLength,
    rows,
    dictionaryId: -1n,
    isDelta: false,
    nodes: Float64Array.from(nodes),
    buffers: Float64Array.from(buffers),
    variadicCounts: Float64Array.from(variadicCounts),
    compression: "none",
    layout,
    plan: layout.plan,
    version: 5,
  });
}
