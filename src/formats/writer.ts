/**
 * The interface of all output formats.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";

/** Options of a writer, for formats that have a use for them. */
export interface WriterOptions {
  /** Custom metadata for the footer of an Arrow file. */
  readonly footerMetadata?: ReadonlyMap<string, string>;
  /** Has DuckDB write a Parquet file. */
  readonly isByDuckDb?: boolean;
}

/** Writes the messages of one stream in some format. Made for one schema. */
export interface MessageWriter {
  /** What is written otherwise than the stream has it, a sentence each. */
  readonly warnings?: readonly string[];
  /**
   * Writes one dictionary or batch, in the order of the stream. Takes the message over: its body is released when it
   * has been written, even on failure.
   *
   * @throws {DipcError} `io`; `unsupported` for what the format cannot hold
   */
  write(message: IpcMessage): void | Promise<void>;
  /** Ends the format and makes the output final, after the last message of a complete stream. @throws {DipcError} `io` */
  finish(): void | Promise<void>;
  /** Aborts the output and removes what can be removed. Never throws. Idempotent. */
  abort(): void | Promise<void>;
}
