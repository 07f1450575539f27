/**
 * A stream of Flight on its way in: frames with their application metadata.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import type { OwnedRecordBatch } from "../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";

/** A batch, application metadata, or both. */
export interface FlightChunk {
  /** The batch; `null` where the frame had only application metadata. */
  readonly batch: OwnedRecordBatch | null;
  /** What the application added; `null` where there is nothing. */
  readonly appMetadata: Uint8Array<ArrayBuffer> | null;
}

/** Reads one stream of Flight, in one way: as an async iterable of chunks, by `messages()` or `toTable()`. */
export interface FlightReader extends AsyncIterable<FlightChunk>, AsyncDisposable {
  /** The schema message. */
  readonly schemaHeader: MessageHeader;
  /** The schema. */
  readonly schema: Schema;
  /** Runs over the raw messages, the schema first; those without a header are left out. */
  messages(): AsyncGenerator<IpcMessage, undefined>;
  /** Gives the stream up. Idempotent. */
  cancel(reason?: unknown): Promise<void>;
}
