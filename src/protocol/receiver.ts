/**
 * The receiving side of a stream as a state machine: pairs metadata with bodies, restores order, and rejects what violates
 * the protocol. It does no I/O: a driver passes it what arrived and queries what to do next.
 *
 * @example Driving it from a channel
 * ```ts ignore
 * const state = new ReceiverState<{ block: Block; receive: Receive }>({ readHeader: (bytes) => headers.read(bytes) });
 *
 * function step(): void { // after each progress
 *   let frame: Uint8Array | null;
 *   while (state.wantsFrame && (frame = channel.takeFrame()) !== null) state.onFrame(frame);
 *   let slot: ReceiverSlot<{ block: Block; receive: Receive }> | null;
 *   while ((slot = state.nextToPost()) !== null) {
 *     const block = pool.acquire(slot.byteLength);
 *     slot.attachment = { block, receive: channel.receive(slot.tag, SEQUENCE_MASK, block, slot.byteLength) };
 *   }
 *   while ((slot = state.oldestPosted()) !== null) {
 *     const { receive } = slot.attachment!;
 *     const status = receive.poll();
 *     if (status === PENDING) break;
 *     if (status === FAILED) throw receive.error;
 *     state.onBody(slot, receive.tag, receive.byteLength);
 *   }
 *   const unexpected = channel.probe();
 *   if (unexpected !== null && state.checkUnexpected(unexpected.tag, unexpected.byteLength) === DISCARD) {
 *     // receive it: an empty tagged message of a message with an empty body
 *     channel.receive(unexpected.tag, FULL_MASK, emptyBlock, 0);
 *   }
 *   while ((slot = state.next()) !== null) {
 *     // slot.header, and slot.attachment?.block unless the body is empty; read them before the next call
 *   }
 *   if (state.finished) return; // complete
 * }
 * ```
 *
 * Once a method has thrown, the stream is lost: `failure` holds the error and `onFrame` throws it again, while `next()`
 * still returns the messages that were complete.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { plural } from "../text.ts";
import { parseError, peerError } from "./envelope.ts";
import { MessageChecks } from "./message_checks.ts";
import { MetadataOrder } from "./metadata_order.ts";
import { END_OF_STREAM, ERROR_MESSAGE, frameSequence, frameType, METADATA, PREFIX_BYTES } from "./prefix.ts";
import { type ReceiverLimits, receiverLimits, type ReceiverOptions } from "./receiver_options.ts";
import { ANNOUNCED, COMPLETE, EMPTY, POSTED, ReceiverSlot } from "./receiver_slot.ts";
import { StreamFailure } from "./stream_failure.ts";
import { formatTag, tagSequence } from "./tag.ts";

export type { ReceiverLimits, ReceiverOptions } from "./receiver_options.ts";
export { ReceiverSlot } from "./receiver_slot.ts";

/** Answer of {@linkcode ReceiverState.checkUnexpected}: leave it queued, a receive will be posted for it later. */
export const KEEP = 0;
/** Answer of {@linkcode ReceiverState.checkUnexpected}: receive it (0 bytes) and forget it. */
export const DISCARD = 1;

/** Receiving side of one stream. `T` is what the driver attaches to each message. */
export class ReceiverState<T = unknown> {
  readonly #failure = new StreamFailure();
  readonly #limits: Required<ReceiverLimits>;
  readonly #order: MetadataOrder;
  readonly #checks: MessageChecks;
  readonly #readHeader: (metadata: Uint8Array) => MessageHeader;

  /** Made when they are first used: most streams are short. */
  readonly #slots: ReceiverSlot<T>[] = [];
  readonly #mask: number;

  // Positions in the stream: head ≤ oldest ≤ post ≤ the one that is due.
  /** Next message to hand out. */
  #head = 0;
  /** First message that may have a receive under way. */
  #oldest = 0;
  /** First message whose receive was not posted. */
  #post = 0;

  #posted = 0;
  #inFlightBytes = 0;
  /** Empty bodies whose tagged message had not been seen when their slot was used again. */
  #emptiesOwed = 0;
  /** All empty bodies whose tagged message has not been seen. */
  #emptiesMissing = 0;
  #batches = 0;
  #metadataBytes = 0;
  #taken: ReceiverSlot<T> | null = null;
  /** The header read last, and bytes of metadata that the window keeps alive. */
  #lastHeader: MessageHeader | null = null;
  #pendingMetadataBytes = 0;

  /**
   * A stream of which nothing has arrived.
   *
   * @param options How to read metadata, and limits
   * @throws {DipcError} `invalid_argument` if a limit is not an integer in its range
   */
  constructor(options: ReceiverOptions) {
    this.#readHeader = options.readHeader;
    this.#limits = receiverLimits(options);
    this.#order = new MetadataOrder(this.#limits, this.#failure);
    this.#checks = new MessageChecks(this.#limits, this.#failure);
    const { maxAnnounced, reorderWindow } = this.#limits;
    let size = 1;
    while (size < maxAnnounced + reorderWindow) size *= 2;
    this.#mask = size - 1;
  }

  /** Why the stream is lost, once it is. */
  get failure(): DipcError | null {
    return this.#failure.error;
  }

  /** Whether there is room for another metadata frame; while false, leave frames in the channel. */
  get wantsFrame(): boolean {
    return this.#order.due - this.#head < this.#limits.maxAnnounced &&
      this.#pendingMetadataBytes < this.#limits.maxPendingMetadataBytes;
  }

  /** Messages whose metadata was read, the schema among them. */
  get announced(): number {
    return this.#order.due;
  }

  /** Messages handed out by `next()`, the schema among them. */
  get delivered(): number {
    return this.#head;
  }

  /** Record batches handed out. */
  get batches(): number {
    return this.#batches;
  }

  /** Bytes of metadata read, without prefixes. */
  get metadataBytes(): number {
    return this.#metadataBytes;
  }

  /** Bytes of bodies posted or complete and not handed out yet. */
  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** Empty bodies whose tagged messages have not been seen. A sender may leave them out; if it does not, they are still to come. */
  get emptiesMissing(): number {
    return this.#emptiesMissing;
  }

  /** Receives posted whose body has not been reported. */
  get posted(): number {
    return this.#posted;
  }

  /** True once the end of stream was seen; messages before it may still be missing. */
  get ended(): boolean {
    return this.#order.end !== Infinity;
  }

  /** Whether everything that was announced has been handed out. */
  get isDrained(): boolean {
    return this.#head === this.#order.due && this.#order.heldFrames === 0;
  }

  /** True once every message has arrived and was handed out. */
  get finished(): boolean {
    return this.#head === this.#order.end;
  }

  /**
   * Takes one metadata frame: prefix and what follows. The view need be valid during the call only.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, what `readHeader` throws, and the server's own error message
   */
  onFrame(frame: Uint8Array): void {
    if (this.#failure.error !== null) throw this.#failure.error;
    const size = frame.byteLength;
    this.#checks.frame(size);
    const type = frameType(frame);
    const sequence = frameSequence(frame);
    if (type === METADATA) {
      this.#checks.metadata(sequence, size - PREFIX_BYTES);
      const order = this.#order;
      const index = order.place(sequence);
      if (!this.wantsFrame) {
        throw this.#failure.lose(
          "internal",
          `metadata of sequence number ${sequence} was taken while the window was full`,
        );
      }
      const metadata = frame.subarray(PREFIX_BYTES);
      if (index !== order.due) return order.hold(metadata, index, sequence);
      this.#announce(metadata, sequence);
      while (order.heldFrames !== 0) {
        const held = order.takeHeld();
        if (held === null) return;
        this.#announce(held, order.dueSequence);
      }
    } else if (type === END_OF_STREAM) {
      this.#order.endAt(sequence, size);
    } else if (type === ERROR_MESSAGE && this.#limits.errorMessages) {
      try {
        this.#failure.error = peerError(parseError(frame.subarray(PREFIX_BYTES), this.#limits.maxErrorBytes));
      } catch (error) {
        this.#failure.error = error as DipcError;
      }
      throw this.#failure.error;
    } else {
      throw this.#failure.lose("protocol", `unknown metadata message type ${type} with sequence number ${sequence}`);
    }
  }

  /**
   * The next message to post a receive for, within the limits; `null` if there is nothing to post now. The driver
   * must post it (with `slot.tag` under `SEQUENCE_MASK`, for `slot.byteLength` bytes) and keep its own in
   * `slot.attachment`. Schemas and empty bodies are not among them.
   */
  nextToPost(): ReceiverSlot<T> | null {
    const { due } = this.#order;
    while (this.#post < due) {
      const slot = this.#slotAt(this.#post);
      if (slot.state !== ANNOUNCED) { // a message without a body
        this.#post++;
        continue;
      }
      if (this.#posted >= this.#limits.maxPosted) return null;
      const total = this.#inFlightBytes + slot.byteLength;
      if (total > this.#limits.maxInFlightBytes && this.#inFlightBytes !== 0) return null;
      slot.state = POSTED;
      this.#inFlightBytes = total;
      this.#posted++;
      this.#post++;
      return slot;
    }
    return null;
  }

  /** The earliest message whose receive is under way, or `null`. Bodies mostly arrive in order: poll this one first. */
  oldestPosted(): ReceiverSlot<T> | null {
    while (this.#oldest < this.#post) {
      const slot = this.#slotAt(this.#oldest);
      if (slot.state === POSTED) return slot;
      this.#oldest++;
    }
    return null;
  }

  /**
   * Takes the result of a receive.
   *
   * @param slot What the receive was posted for
   * @param tag The full tag received
   * @param byteLength Bytes received
   * @throws {DipcError} `protocol` if the number, type or length is not the one announced
   */
  onBody(slot: ReceiverSlot<T>, tag: bigint, byteLength: number): void {
    if (slot.state !== POSTED) {
      throw this.#failure.lose(
        "internal",
        `the body of sequence number ${slot.sequence} was reported, but no receive was posted`,
      );
    }
    if (tagSequence(tag) !== slot.sequence) {
      throw this.#failure.lose(
        "protocol",
        `expected the body of sequence number ${slot.sequence}, found tag ${formatTag(tag)}`,
      );
    }
    this.#checks.body(slot.sequence, tag, byteLength, slot.byteLength);
    slot.state = COMPLETE;
    this.#posted--;
  }

  /**
   * Judges an unexpected message: it arrived before a matching receive was posted.
   *
   * @param tag Full tag of the message
   * @param byteLength Size of the message in bytes
   * @returns {@linkcode KEEP} for a body whose receive is posted later, {@linkcode DISCARD} for the tagged message of an empty body
   * @throws {DipcError} `protocol` for a duplicate, or one that cannot belong to this stream; `limit_exceeded`
   */
  checkUnexpected(tag: bigint, byteLength: number): 0 | 1 {
    if (this.#failure.error !== null) throw this.#failure.error;
    const sequence = tagSequence(tag);
    const order = this.#order;
    const index = order.positionOf(sequence);
    if (index >= order.due) {
      if (index >= order.end || index - order.due >= this.#limits.bodyWindow) throw order.stray(tag, sequence);
      this.#checks.body(sequence, tag, byteLength, -1);
      if (byteLength > this.#limits.maxBodyBytes) throw this.#checks.tooLarge(sequence, byteLength);
      // The first message is the schema, which has no body.
      if (index === 0) throw order.stray(tag, sequence);
      return KEEP;
    }
    if (index <= 0) throw order.stray(tag, sequence);
    const slot = this.#slotAt(index);
    if (slot.index === index) {
      if (slot.state === ANNOUNCED) {
        this.#checks.body(sequence, tag, byteLength, slot.byteLength);
        return KEEP;
      }
      if (!slot.owesEmpty) throw this.#failDuplicate(sequence);
      this.#checks.body(sequence, tag, byteLength, 0);
      slot.owesEmpty = false;
      this.#emptiesMissing--;
      return DISCARD;
    }
    // Handed out long ago and forgotten: at most as many empty bodies pass as messages had one.
    if (this.#emptiesOwed === 0) throw this.#failDuplicate(sequence);
    this.#checks.body(sequence, tag, byteLength, 0);
    this.#emptiesOwed--;
    this.#emptiesMissing--;
    return DISCARD;
  }

  /** The next message in order, once it is complete; `null` if it is not. Its slot is valid until the next call. */
  next(): ReceiverSlot<T> | null {
    const taken = this.#taken;
    if (taken !== null) { // what the driver did not take over must not live on in the window
      taken.attachment = null;
      taken.header = null;
      this.#taken = null;
    }
    const slot = this.#slotAt(this.#head);
    if (slot.state !== COMPLETE) return null;
    slot.state = EMPTY;
    this.#head++;
    if (this.#oldest < this.#head) this.#oldest = this.#head;
    if (this.#post < this.#head) this.#post = this.#head;
    this.#inFlightBytes -= slot.byteLength;
    this.#pendingMetadataBytes -= slot.metadataBytes;
    if (slot.header!.kind === "batch") this.#batches++;
    this.#taken = slot;
    return slot;
  }

  /**
   * Runs through the messages that `next()` has not given out and that have something attached, so that a driver that aborts can
   * cancel receives and release blocks.
   */
  forEachAttached(visit: (slot: ReceiverSlot<T>) => void): void {
    // Skips the slots that were never used.
    this.#slots.forEach((slot) => {
      if (slot.attachment !== null && slot !== this.#taken) visit(slot);
    });
  }

  /** What the stream is waiting for, in words, for the message of a timeout or a lost connection. */
  describe(): string {
    if (this.finished) return "the stream is complete";
    const order = this.#order;
    const arrived = `${plural(this.#batches, "batch", "batches")} had arrived`;
    if (order.due === 0) return `the schema was still missing; ${arrived}`;
    if (this.#head < order.due) {
      return `the body of sequence number ${order.sequenceAt(this.#head)} was still missing; ${arrived}`;
    }
    return `${order.describe()}; ${arrived}`;
  }

  #slotAt(index: number): ReceiverSlot<T> {
    return this.#slots[index & this.#mask] ??= new ReceiverSlot<T>();
  }

  /** Reads metadata that is due and opens its slot. */
  #announce(metadata: Uint8Array, sequence: number): void {
    const index = this.#order.due;
    let header: MessageHeader;
    try {
      header = this.#readHeader(metadata);
    } catch (error) {
      if (error instanceof DipcError) {
        throw this.#failure.lose(error.code, `metadata of sequence number ${sequence}: ${error.message}`, error);
      }
      throw error;
    }
    this.#checks.header(header, sequence, index === 0);
    const { bodyLength } = header;
    const slot = this.#slotAt(index);
    if (slot.owesEmpty) this.#emptiesOwed++;
    slot.index = index;
    slot.sequence = sequence;
    slot.header = header;
    slot.byteLength = bodyLength;
    slot.owesEmpty = bodyLength === 0 && index !== 0;
    if (slot.owesEmpty) this.#emptiesMissing++;
    slot.state = bodyLength === 0 ? COMPLETE : ANNOUNCED;
    slot.metadataBytes = header === this.#lastHeader ? 0 : metadata.byteLength;
    this.#lastHeader = header;
    this.#pendingMetadataBytes += slot.metadataBytes;
    this.#metadataBytes += metadata.byteLength;
    this.#order.advance();
  }

  #failDuplicate(sequence: number): DipcError {
    return this.#failure.lose("protocol", `a second body of sequence number ${sequence} arrived`);
  }
}
