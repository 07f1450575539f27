/**
 * One stream of messages that is received, over any carrier.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { IpcMessage } from "../ipc/message.ts";

/** How a stream is ended. */
export interface EndOptions {
  /** First acknowledge to the peer that everything has arrived. */
  flush?: boolean;
  /** Nothing is wrong with the stream, its reader merely wants no more: its connection may be kept if that costs little. */
  stop?: boolean;
}

/** The input of a reader. */
export interface MessageInput {
  /** Bytes of metadata received, without prefixes. */
  readonly metadataBytes: number;
  /** Bytes of bodies that did not travel, because they are read in place. Default 0. */
  readonly sharedBytes?: number;
  /**
   * The next message in order, or `null` after the end of a complete stream. Returns no promise if the
   * message is at hand. The caller owns the message's body. Never called while an earlier call is pending.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`
   */
  next(): IpcMessage | null | Promise<IpcMessage | null>;
  /**
   * Ends the stream, whatever its state; afterwards all memory but that of messages handed out is back. Idempotent.
   *
   * @param options Whether everything has arrived, or the reader wants no more
   */
  close(options?: EndOptions): Promise<void>;
}

/** The error of a second read of a stream while the first is under way; the first and the stream go on. */
export function busyError(): DipcError {
  return new DipcError("invalid_argument", "cannot read the stream: an earlier read of it is not done; await it first");
}

/** The error of a second run through a stream, which would find nothing and look like an empty one. */
export function readTwice(): DipcError {
  return new DipcError(
    "closed",
    "cannot read the stream again: it was read to its end, and can be read once; connect again",
  );
}
