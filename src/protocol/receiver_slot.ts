/**
 * One message in the window of a receiver.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import { bodyTag } from "./tag.ts";

/** States of a slot: not in use, its metadata read, a receive posted for its body, and all of it here. */
export const EMPTY = 0, ANNOUNCED = 1, POSTED = 2, COMPLETE = 3;

/** One message in the receiver's window. Reused: read it before the next call of `next()` or `onFrame()`. */
export class ReceiverSlot<T> {
  /** Sequence number, u32. */
  sequence = 0;
  /** Its verified metadata; `null` only in a slot that is not in use. */
  header: MessageHeader | null = null;
  /** Bytes of the body. */
  byteLength = 0;
  /** The driver's own: the block and receive of this message. */
  attachment: T | null = null;
  /** @internal */
  state = EMPTY;
  /** @internal Position in the stream: sequence numbers without the wrap. */
  index = -1;
  /** @internal Bytes of metadata that it keeps alive. */
  metadataBytes = 0;
  /** @internal The message at `index` has an empty body whose tagged message has not been seen. */
  owesEmpty = false;

  /** The tag to post its receive with, under `SEQUENCE_MASK`. */
  get tag(): bigint {
    return bodyTag(this.sequence);
  }
}
