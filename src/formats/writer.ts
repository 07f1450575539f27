/**
 * What all writers of formats have in common.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";

/** Writes the messages of one stream in some format. Made for one schema. */
export interface MessageWriter {
  /**
   * Writes one dictionary or batch, in the order of the stream. Takes the message over: its body is released when it
   * has been written, also on failure.
   *
   * @throws {DipcError} `io`; `unsupported` for what the format cannot hold
   */
  write(message: IpcMessage): void | Promise<void>;
  /** The stream was whole: ends the format and makes the output final. @throws {DipcError} `io` */
  finish(): void | Promise<void>;
  /** Gives up and removes what can be removed. Never throws. Idempotent. */
  abort(): void | Promise<void>;
}
