/**
 * Writes messages as an Arrow IPC stream, bodies directly from their memory.
 *
 * @module
 */
import { END_OF_STREAM, frameMetadata } from "../ipc/frame.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ByteSink, Piece } from "./sink.ts";
import type { MessageWriter } from "./writer.ts";

/** Writes an Arrow IPC stream (`.arrows`). Every type and every dictionary is written as it arrived. */
export class ArrowStreamWriter implements MessageWriter {
  readonly #sink: ByteSink;
  #schema: MessageHeader | null;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    this.#sink = sink;
    this.#schema = schema;
  }

  /** Writes one message and releases its body. */
  write(message: IpcMessage): void | Promise<void> {
    const { header, body } = message;
    const pieces: Piece[] = this.#start();
    pieces.push(frameMetadata(header));
    if (body !== null) pieces.push(body);
    let pending: void | Promise<void>;
    try {
      pending = this.#sink.write(pieces);
    } catch (error) {
      body?.release();
      throw error;
    }
    if (pending instanceof Promise) return pending.finally(() => body?.release());
    body?.release();
  }

  /** Writes the end of the stream. */
  async finish(): Promise<void> {
    await this.#sink.write([...this.#start(), END_OF_STREAM]);
    await this.#sink.finish();
  }

  /** Aborts the output. */
  abort(): void | Promise<void> {
    return this.#sink.abort();
  }

  #start(): Piece[] {
    const schema = this.#schema;
    this.#schema = null;
    return schema === null ? [] : [frameMetadata(schema)];
  }
}
