/**
 * What a sender needs of a dataset. Every {@linkcode Dataset} has it; one that another isolate lends has no more than that.
 *
 * @module
 */
import type { MessageKind } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";

/** Metadata of a message that is sent. */
export interface SendableHeader {
  /** Kind of the message. */
  readonly kind: MessageKind;
  /** The `Message` flatbuffer, without continuation marker and length. */
  readonly bytes: Uint8Array;
  /** Rows of a batch. */
  readonly rows: number;
}

/** A message that is sent. Its holder owns the body and releases it. */
export interface SendableMessage {
  readonly header: SendableHeader;
  /** The body: `null` for a schema only. */
  readonly body: Body | null;
}

/** One run through what is sent; see `MessageStream`. */
export interface SendableStream {
  /** The schema message of this run, if it may not be that of the dataset. */
  readonly schema?: SendableHeader;
  /** The next message, or `null` at the end. Never called while an earlier call is pending. */
  next(): SendableMessage | null | Promise<SendableMessage | null>;
  /** Ends the run, finished or not; releases what it holds. Idempotent. */
  close(): void | Promise<void>;
}

/** What is sent; see `Dataset`. */
export interface SendableDataset {
  /** The schema message that starts every run. */
  readonly schema: SendableHeader;
  /**
   * Starts a run.
   *
   * @param options See `Dataset`; `mayShare` says which bodies the client may read in place, so that they need not be in memory from
   * which they can be sent
   */
  open(
    options?: { signal?: AbortSignal; isPart?: boolean; mayShare?: (message: SendableMessage) => boolean },
  ): SendableStream | Promise<SendableStream>;
}
