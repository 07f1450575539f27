/**
 * Bodies that do not travel, as the two ends of a stream use them: the sender may put a list of addresses in place of a body, and the
 * receiver makes a body of such a list.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import type { Block, Body } from "../memory/block.ts";
import type { KeepOptions, Operation } from "../wire/transport.ts";
import type { SendableMessage } from "./sendable.ts";

/** Answer of {@linkcode BodySharing.share}: there is no room now; ask again once the client has taken or given back something. */
export const WAIT = "wait";

/** The sender's side of one stream. */
export interface BodySharing {
  /**
   * What a message takes of the stream's window, in bytes. Default: the size of its body, also if that does not travel, because it
   * is kept from others.
   *
   * @param message The message; stays the caller's
   */
  weigh?(message: SendableMessage): number;
  /**
   * Whether a body can go as a list at all: if it is not in host memory, then it certainly goes so.
   *
   * @param message The message; stays the caller's
   */
  mayShare(message: SendableMessage): boolean;
  /**
   * Decides how a body goes.
   *
   * @param message The message; stays the caller's
   * @param isHungry Whether the client has taken everything that was sent; then there is nothing to wait for
   * @returns the list of addresses to send in its place, which the caller owns; `null` if the body itself is to be sent
   * @throws {DipcError} why the stream must end: the client has violated the protocol, or holds memory for too long
   */
  share(message: SendableMessage, isHungry: boolean): Body | null | typeof WAIT;
}

/** A body whose bytes are being fetched. */
export interface BodyFetch extends Operation {
  /** What they are written to; the caller owns it, and releases it at the earliest when the channel is closed or the fetch is done. */
  readonly block: Block;
}

/** The receiver's side of one stream. */
export interface AddressedBodies {
  /**
   * The body that a list of addresses stands for, or that it is being fetched.
   *
   * @param list The list as it arrived; valid during the call
   * @param header Metadata of its message
   * @throws {DipcError} `protocol` if the list does not agree with the metadata or the memory
   */
  bodyOf(list: Uint8Array<ArrayBuffer>, header: MessageHeader): Body | BodyFetch;
  /** The receiver waits: what can be given back is given back now. */
  flush(): void;
  /**
   * The stream is over; its bodies live on.
   *
   * @param keep How what it was made with is kept for another stream of the server; `null` if that cannot be
   */
  close(keep: KeepOptions | null): void;
}
