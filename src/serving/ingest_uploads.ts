/**
 * Uploads (DoPut) that become rows of a table, as they arrive.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { descriptorName } from "../flight/model.ts";
import type { FlightUpload } from "../flight/service/exchange.ts";
import type { UploadSink } from "../flight/service/parts.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";

/** An upload as what writes it into a table reads it. */
export interface UploadReader {
  /** The schema message. */
  readonly schemaHeader: MessageHeader;
  /** Dictionaries and batches; the taker releases the bodies. */
  messages(): AsyncGenerator<IpcMessage, undefined>;
}

/** Writes the rows of an upload into a table. */
export interface UploadTarget {
  /**
   * Reads an upload to its end.
   *
   * @param table Name that the client gave
   * @param upload Its rows
   */
  ingest(table: string, upload: UploadReader): Promise<unknown>;
}

/** Has uploads written into tables. */
export class IngestUploads implements UploadSink {
  readonly #target: UploadTarget;
  readonly #maxBytes: number;

  /**
   * @param target Writes them
   * @param maxBytes Largest upload, in bytes
   */
  constructor(target: UploadTarget, maxBytes: number) {
    this.#target = target;
    this.#maxBytes = maxBytes;
  }

  /**
   * Has one upload written. All application metadata of the client is sent back once the message that it came with was taken.
   *
   * @param upload The call of the client
   * @throws {DipcError} `invalid_argument` for an upload without a name, `limit_exceeded`, what the target throws
   */
  async take(upload: FlightUpload): Promise<void> {
    const table = upload.descriptor === null ? "" : descriptorName(upload.descriptor);
    if (table === "") {
      throw new DipcError("invalid_argument", "cannot keep the upload: it needs a descriptor whose path names a table");
    }
    this.#checkSize(upload._announcedBytes);
    const schemaHeader = await upload._readSchema();
    await this.#target.ingest(table, { schemaHeader, messages: () => this.#messages(upload) });
  }

  async *#messages(upload: FlightUpload): AsyncGenerator<IpcMessage, undefined> {
    let bytes = 0;
    for await (const { message, appMetadata } of upload) {
      if (message !== null) {
        bytes += message.header.bytes.byteLength + (message.body?.byteLength ?? 0);
        try {
          this.#checkSize(bytes);
        } catch (error) {
          message.body?.release();
          throw error;
        }
        yield message;
      }
      if (appMetadata !== null) await upload.acknowledge(appMetadata);
    }
  }

  #checkSize(bytes: number): void {
    if (bytes <= this.#maxBytes) return;
    throw new DipcError(
      "limit_exceeded",
      `cannot keep the upload: it is larger than ${this.#maxBytes} bytes, which is the most that this server accepts`,
    );
  }
}
