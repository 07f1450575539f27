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
import { DipcError, type DipcErrorCode } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { plural } from "../text.ts";
import { parseError, peerError } from "./envelope.ts";
import { END_OF_STREAM, ERROR_MESSAGE, frameSequence, frameType, METADATA, PREFIX_BYTES } from "./prefix.ts";
import { BODY_ADDRESSES, BODY_BYTES, formatTag, tagBodyType, tagSequence } from "./tag.ts";
import { type ReceiverLimits, receiverLimits, type ReceiverOptions } from "./receiver_options.ts";
import { ANNOUNCED, COMPLETE, EMPTY, POSTED, ReceiverSlot } from "./receiver_slot.ts";
import { nextSequence, sequenceDistance } from "./sequence.ts";

export type { ReceiverLimits, ReceiverOptions } from "./receiver_options.ts";
export { ReceiverSlot } from "./receiver_slot.ts";

/** Answer of {@linkcode ReceiverState.checkUnexpected}: leave it queued, a receive will be posted for it later. */
export const KEEP = 0;
/** Answer of {@linkcode ReceiverState.checkUnexpected}: receive it (0 bytes) and forget it. */
export const DISCARD = 1;

/** Receiving side of one stream. `T` is what the driver attaches to each message. */
export class ReceiverState<T = unknown> {
  /** Why the stream is lost, once it is. */
  failure: DipcError | null = null;

  readonly #limits: Required<ReceiverLimits>;
  readonly #readHeader: (metadata: Uint8Array) => MessageHeader;
  readonly #first: number;

  /** Made when they are first used: most streams are short. */
  readonly #slots: ReceiverSlot<T>[] = [];
  readonly #mask: number;

  // Positions in the stream, not sequence numbers: they never wrap. head ≤ oldest ≤ post ≤ due.
  /** Next message to hand out. */
  #head = 0;
  /** First message that may have a receive under way. */
  #oldest = 0;
  /** First message whose receive was not posted. */
  #post = 0;
  /** Next message whose metadata is expected. */
  #due = 0;
  /** Its sequence number. */
  #dueSequence: number;
  /** End of stream, once seen: number of messages. */
  #end = Infinity;
  /** Highest position of a held frame. */
  #highestHeld = -1;

  #heldFrames = 0;
  #heldBytes = 0;
  #posted = 0;
  #inFlightBytes = 0;
  /** Empty bodies whose tagged message had not been seen when their slot was used again. */
  #emptiesOwed = 0;
  /** All empty bodies whose tagged message has not been seen. */
  #emptiesMissing = 0;
  #batches = 0;
  #dictionaries = 0;
  #bodyBytes = 0;
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
    this.#first = this.#limits.firstSequence;
    this.#dueSequence = this.#first;
    const { maxAnnounced, reorderWindow } = this.#limits;
    let size = 1;
    while (size < maxAnnounced + reorderWindow) size *= 2;
    this.#mask = size - 1;
  }

  /** Whether there is room for another metadata frame; while false, leave frames in the channel. */
  get wantsFrame(): boolean {
    return this.#due - this.#head < this.#limits.maxAnnounced &&
      this.#pendingMetadataBytes < this.#limits.maxPendingMetadataBytes;
  }

  /** Messages whose metadata was read, the schema among them. */
  get announced(): number {
    return this.#due;
  }

  /** Messages handed out by `next()`, the schema among them. */
  get delivered(): number {
    return this.#head;
  }

  /** Record batches handed out. */
  get batches(): number {
    return this.#batches;
  }

  /** Dictionary batches handed out. */
  get dictionaries(): number {
    return this.#dictionaries;
  }

  /** Bytes of the bodies handed out. */
  get bodyBytes(): number {
    return this.#bodyBytes;
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
    return this.#end !== Infinity;
  }

  /** Whether everything that was announced has been handed out. */
  get isDrained(): boolean {
    return this.#head === this.#due && this.#heldFrames === 0;
  }

  /** True once every message has arrived and was handed out. */
  get finished(): boolean {
    return this.#head === this.#end;
  }

  /**
   * Takes one metadata frame: prefix and what follows. The view need be valid during the call only.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, what `readHeader` throws, and the server's own error message
   */
  onFrame(frame: Uint8Array): void {
    if (this.failure !== null) throw this.failure;
    const size = frame.byteLength;
    if (size < PREFIX_BYTES) {
      throw this.#fail("protocol", `expected a metadata frame of at least ${PREFIX_BYTES} bytes, found ${size}`);
    }
    const type = frameType(frame);
    const sequence = frameSequence(frame);
    if (type === METADATA) {
      if (size - PREFIX_BYTES > this.#limits.maxMetadataBytes) {
        throw this.#fail(
          "limit_exceeded",
          `metadata of sequence number ${sequence} has ${
            size - PREFIX_BYTES
          } bytes, the limit is ${this.#limits.maxMetadataBytes} (maxMetadataBytes)`,
        );
      }
      if (size === PREFIX_BYTES) throw this.#fail("protocol", `metadata of sequence number ${sequence} is empty`);
      const index = this.#indexOf(sequence);
      if (index >= this.#end) {
        throw this.#fail(
          "protocol",
          `metadata of sequence number ${sequence} follows the end of stream, which has number ${
            this.#sequenceAt(this.#end)
          }`,
        );
      }
      if (!this.wantsFrame) {
        throw this.#fail("internal", `metadata of sequence number ${sequence} was taken while the window was full`);
      }
      if (index === this.#due) {
        const slot = this.#slotAt(index);
        this.#announce(slot, frame.subarray(PREFIX_BYTES), index, sequence);
        if (this.#heldFrames !== 0) this.#announceHeld();
      } else {
        this.#hold(frame, index, sequence);
      }
    } else if (type === END_OF_STREAM) {
      this.#onEnd(sequence, size);
    } else if (type === ERROR_MESSAGE && this.#limits.errorMessages) {
      try {
        this.failure = peerError(parseError(frame.subarray(PREFIX_BYTES), this.#limits.maxErrorBytes));
      } catch (error) {
        this.failure = error as DipcError;
      }
      throw this.failure;
    } else {
      throw this.#fail("protocol", `unknown metadata message type ${type} with sequence number ${sequence}`);
    }
  }

  /**
   * The next message to post a receive for, within the limits; `null` if there is nothing to post now. The driver
   * must post it (with `slot.tag` under `SEQUENCE_MASK`, for `slot.byteLength` bytes) and keep its own in
   * `slot.attachment`. Schemas and empty bodies are not among them.
   */
  nextToPost(): ReceiverSlot<T> | null {
    while (this.#post < this.#due) {
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
      throw this.#fail(
        "internal",
        `the body of sequence number ${slot.sequence} was reported, but no receive was posted`,
      );
    }
    if (tagSequence(tag) !== slot.sequence) {
      throw this.#fail(
        "protocol",
        `expected the body of sequence number ${slot.sequence}, found tag ${formatTag(tag)}`,
      );
    }
    this.#checkBody(slot.sequence, tag, byteLength, slot.byteLength);
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
    if (this.failure !== null) throw this.failure;
    const sequence = tagSequence(tag);
    const index = this.#indexOf(sequence);
    if (index >= this.#due) {
      if (index >= this.#end || index - this.#due >= this.#limits.bodyWindow) throw this.#failStray(tag, sequence);
      this.#checkBody(sequence, tag, byteLength, -1);
      if (byteLength > this.#limits.maxBodyBytes) throw this.#failTooLarge(sequence, byteLength);
      // The first message is the schema, which has no body.
      if (index === 0) throw this.#failStray(tag, sequence);
      return KEEP;
    }
    if (index <= 0) throw this.#failStray(tag, sequence);
    const slot = this.#slotAt(index);
    if (slot.index === index) {
      if (slot.state === ANNOUNCED) {
        this.#checkBody(sequence, tag, byteLength, slot.byteLength);
        return KEEP;
      }
      if (!slot.owesEmpty) throw this.#failDuplicate(sequence);
      this.#checkBody(sequence, tag, byteLength, 0);
      slot.owesEmpty = false;
      this.#emptiesMissing--;
      return DISCARD;
    }
    // Handed out long ago and forgotten: at most as many empty bodies pass as messages had one.
    if (this.#emptiesOwed === 0) throw this.#failDuplicate(sequence);
    this.#checkBody(sequence, tag, byteLength, 0);
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
    this.#bodyBytes += slot.byteLength;
    const kind = slot.header!.kind;
    if (kind === "batch") this.#batches++;
    else if (kind === "dictionary") this.#dictionaries++;
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
    const arrived = `${plural(this.#batches, "batch", "batches")} had arrived`;
    if (this.#due === 0) return `the schema was still missing; ${arrived}`;
    if (this.#head < this.#due) {
      return `the body of sequence number ${this.#sequenceAt(this.#head)} was still missing; ${arrived}`;
    }
    const what = this.#end === Infinity && this.#heldFrames === 0
      ? `metadata of sequence number ${this.#dueSequence} or the end of stream was still missing`
      : `metadata of sequence number ${this.#dueSequence} was missing though later frames had arrived`;
    return `${what}; ${arrived}`;
  }

  /** Position in the stream nearest to the message that is due; negative before the start of the stream. */
  #indexOf(sequence: number): number {
    return this.#due + sequenceDistance(this.#dueSequence, sequence);
  }

  #slotAt(index: number): ReceiverSlot<T> {
    return this.#slots[index & this.#mask] ??= new ReceiverSlot<T>();
  }

  #sequenceAt(index: number): number {
    return (this.#first + index) % 0x100000000;
  }

  /** Reads metadata that is due and opens its slot. */
  #announce(slot: ReceiverSlot<T>, metadata: Uint8Array, index: number, sequence: number): void {
    let header: MessageHeader;
    try {
      header = this.#readHeader(metadata);
    } catch (error) {
      if (error instanceof DipcError) {
        throw this.#fail(error.code, `metadata of sequence number ${sequence}: ${error.message}`, error);
      }
      throw error;
    }
    const { kind, bodyLength } = header;
    if ((kind === "schema") !== (index === 0)) {
      throw this.#fail(
        "protocol",
        index === 0
          ? `expected the schema with sequence number ${sequence}, found a ${kind} message`
          : `expected a dictionary or batch with sequence number ${sequence}, found a second schema`,
      );
    }
    if (!(bodyLength >= 0 && bodyLength <= Number.MAX_SAFE_INTEGER && bodyLength % 1 === 0)) {
      throw this.#fail(
        "invalid_data",
        `metadata of sequence number ${sequence} announces an impossible body of ${bodyLength} bytes`,
      );
    }
    if (bodyLength > this.#limits.maxBodyBytes) throw this.#failTooLarge(sequence, bodyLength);
    if (kind === "schema" && bodyLength !== 0) {
      throw this.#fail(
        "protocol",
        `the schema, sequence number ${sequence}, announces a body of ${bodyLength} bytes, expected none`,
      );
    }
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
    this.#due = index + 1;
    this.#dueSequence = nextSequence(sequence);
  }

  /** Keeps a copy of a frame that came before its turn. */
  #hold(frame: Uint8Array, index: number, sequence: number): void {
    if (index < this.#due) {
      throw this.#fail(
        "protocol",
        `metadata of sequence number ${sequence} arrived twice, or belongs to no message of this stream`,
      );
    }
    if (index - this.#due >= this.#limits.reorderWindow) {
      throw this.#fail(
        "protocol",
        `metadata of sequence number ${sequence} arrived while ${this.#dueSequence} was due, it may be at most ${
          this.#limits.reorderWindow - 1
        } ahead`,
      );
    }
    const slot = this.#slotAt(index);
    if (slot.held !== null) throw this.#fail("protocol", `metadata of sequence number ${sequence} arrived twice`);
    const size = frame.byteLength - PREFIX_BYTES;
    if (this.#heldBytes + size > this.#limits.maxHeldBytes) {
      throw this.#fail(
        "limit_exceeded",
        `metadata of sequence number ${this.#dueSequence} is missing while later metadata of more than ${this.#limits.maxHeldBytes} bytes (maxHeldBytes) has arrived`,
      );
    }
    slot.held = new Uint8Array(size);
    slot.held.set(frame.subarray(PREFIX_BYTES));
    this.#heldFrames++;
    this.#heldBytes += size;
    if (index > this.#highestHeld) this.#highestHeld = index;
  }

  /** Reads the held frames that have become due. */
  #announceHeld(): void {
    for (;;) {
      const slot = this.#slotAt(this.#due);
      const held = slot.held;
      if (held === null) return;
      slot.held = null;
      this.#heldFrames--;
      this.#heldBytes -= held.byteLength;
      this.#announce(slot, held, this.#due, this.#dueSequence);
    }
  }

  #onEnd(sequence: number, size: number): void {
    if (size !== PREFIX_BYTES) {
      throw this.#fail(
        "protocol",
        `expected an end of stream of ${PREFIX_BYTES} bytes, found ${size} with sequence number ${sequence}`,
      );
    }
    if (this.#end !== Infinity) {
      throw this.#fail("protocol", `a second end of stream arrived with sequence number ${sequence}`);
    }
    const index = this.#indexOf(sequence);
    const due = this.#dueSequence;
    if (index < 1) {
      throw this.#fail("protocol", `an end of stream arrived with sequence number ${sequence} before the schema`);
    }
    if (index < this.#due || index <= this.#highestHeld) {
      throw this.#fail(
        "protocol",
        `the end of stream has sequence number ${sequence}, but metadata of number ${
          this.#sequenceAt(Math.max(this.#due - 1, this.#highestHeld))
        } had arrived`,
      );
    }
    if (index - this.#due > this.#limits.reorderWindow) {
      throw this.#fail(
        "protocol",
        `the end of stream has sequence number ${sequence}, but ${due} was due, so messages are missing`,
      );
    }
    this.#end = index;
  }

  /** Checks type and length of a body; `expected` is −1 if the length is not known yet. */
  #checkBody(sequence: number, tag: bigint, byteLength: number, expected: number): void {
    const type = tagBodyType(tag);
    if (type !== BODY_BYTES) {
      // Whoever reads the list checks its size.
      if (type === BODY_ADDRESSES && this.#limits.addresses) return;
      throw type === BODY_ADDRESSES
        ? this.#fail(
          "unsupported",
          `the body of sequence number ${sequence} is a list of addresses (type 1), which this client did not request; if ` +
            "you trust the server with all memory of this process, and its URI has a remote_handle, use remoteKeys",
        )
        : this.#fail("protocol", `the body of sequence number ${sequence} has the unknown type ${type}`);
    }
    if (expected >= 0 && byteLength !== expected) {
      throw this.#fail(
        "protocol",
        `the body of sequence number ${sequence} has ${byteLength} bytes, but its metadata announced ${expected}`,
      );
    }
  }

  #failTooLarge(sequence: number, byteLength: number): DipcError {
    return this.#fail(
      "limit_exceeded",
      `the body of sequence number ${sequence} has ${byteLength} bytes, the limit is ${this.#limits.maxBodyBytes} (maxBodyBytes)`,
    );
  }

  #failDuplicate(sequence: number): DipcError {
    return this.#fail("protocol", `a second body of sequence number ${sequence} arrived`);
  }

  #failStray(tag: bigint, sequence: number): DipcError {
    const range = this.#end === Infinity
      ? `${this.#dueSequence} was due`
      : `the stream ends at ${this.#sequenceAt(this.#end)}`;
    return this.#fail(
      "protocol",
      `a tagged message of sequence number ${sequence} (tag ${
        formatTag(tag)
      }) arrived that belongs to no message of this stream, ${range}`,
    );
  }

  /** Remembers the first failure and returns it. */
  #fail(code: DipcErrorCode, message: string, cause?: unknown): DipcError {
    return this.failure ??= new DipcError(
      code,
      `cannot receive the stream: ${message}`,
      cause === undefined ? {} : { cause },
    );
  }
}
