/**
 * The sending side of a stream as a state machine: assigns sequence numbers and enforces the send window. It does no I/O.
 *
 * A message is *outstanding* from `assign` until the peer is known to have taken it: until its own synchronous tagged
 * send or that of a later message is done or, if there are no bodies to wait for (a metadata-only server, a run of
 * empty bodies), until a later metadata frame that was sent with the rendezvous flag is done.
 *
 * @example Driving it over a channel
 * ```ts ignore
 * const state = new SenderState<{ operation: Operation; body: Body }>({ role: "both", windowBytes, windowBatches });
 * const schema = state.assign(0, dataset.schema.bytes.byteLength); // always first, in every role
 * if (state.sendsMetadata) channel.sendFrame(METADATA, schema.sequence, dataset.schema.bytes);
 * state.sent(schema, null);
 *
 * function step(): void { // after each progress
 *   let slot: SenderSlot<{ operation: Operation; body: Body }> | null;
 *   while ((slot = state.oldest()) !== null && slot.attachment!.operation.poll() === DONE) {
 *     slot.attachment!.body.release();
 *     state.settle();
 *   }
 *   while (state.mayStart() && (message = stream.next()) !== null) {
 *     const slot = state.assign(message.body.byteLength, message.header.bytes.byteLength);
 *     let operation = null;
 *     if (state.sendsMetadata) operation = channel.sendFrame(METADATA, slot.sequence, message.header.bytes, slot.rendezvous);
 *     if (state.sendsBodies) {
 *       const isEmpty = message.body.byteLength === 0; // a receiver may never match it
 *       const send = channel.sendTagged(slot.tag, message.body, !isEmpty);
 *       if (!isEmpty || !slot.rendezvous) operation = send;
 *     }
 *     state.sent(slot, operation && { operation, body: message.body }); // null: done already
 *   }
 *   if (message === null && !state.ended && state.sendsMetadata) channel.sendFrame(END_OF_STREAM, state.end(), null);
 * }
 * ```
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerIn } from "../options.ts";
import type { StreamRole } from "./role.ts";
import { checkSequence, nextSequence } from "./sequence.ts";
import { bodyTag } from "./tag.ts";

/** Settings of a {@linkcode SenderState}. */
export interface SenderOptions {
  /**
   * Which half of the stream is sent.
   *
   * @default "both"
   */
  role?: StreamRole;
  /**
   * Bytes that may be outstanding; a single larger message is admitted when nothing else is outstanding.
   * Bodies count, and metadata if there is no body.
   *
   * @default 64 MiB
   */
  windowBytes?: number;
  /**
   * Messages that may be outstanding, at most 65536.
   *
   * @default 256
   */
  windowBatches?: number;
  /**
   * Messages that may be outstanding whatever their size.
   *
   * @default 1
   */
  minBatches?: number;
  /**
   * Sequence number of the schema. 0 by the protocol; tests start elsewhere to make the number wrap.
   *
   * @default 0
   */
  firstSequence?: number;
}

/** One send under way. Reused after it is settled. */
export class SenderSlot<T> {
  /** Sequence number, u32. */
  sequence = 0;
  /** Send this metadata frame with the rendezvous flag: the window ends with it. */
  rendezvous = false;
  /** The driver's own: operation and body. */
  attachment: T | null = null;
  /** @internal Whether the end of its own send shows that the peer has taken it. */
  isConfirmed = false;
  /** @internal Bytes that are outstanding until it is settled. */
  bytes = 0;
  /** @internal Messages that are outstanding until it is settled. */
  messages = 0;

  /** The tag of its body. */
  get tag(): bigint {
    return bodyTag(this.sequence);
  }
}

/** Sending side of one stream. `T` is what the driver attaches to each send under way. */
export class SenderState<T = unknown> {
  /** Which half of the stream is sent. */
  readonly role: StreamRole;
  /** Whether metadata frames and the end of stream are sent. */
  readonly sendsMetadata: boolean;
  /** Whether bodies are sent. */
  readonly sendsBodies: boolean;

  readonly #windowBytes: number;
  readonly #windowBatches: number;
  readonly #minBatches: number;
  readonly #markBytes: number;
  readonly #markBatches: number;
  /** Made when they are first used: most streams are short. */
  readonly #slots: SenderSlot<T>[] = [];
  readonly #mask: number;

  #head = 0; // sends under way: ring positions head … tail − 1
  #tail = 0;
  #open: SenderSlot<T> | null = null;
  #sequence: number;
  #messages = 0;
  #bodyBytes = 0;
  #metadataBytes = 0;
  #outstandingBytes = 0;
  #outstandingMessages = 0;
  /** What no send under way will settle yet. */
  #unsettledBytes = 0;
  #unsettledMessages = 0;
  #hasEnded = false;

  /**
   * A stream of which nothing was sent.
   *
   * @throws {DipcError} `invalid_argument` if a window is not an integer in its range
   */
  constructor(options: SenderOptions = {}) {
    const { role = "both", windowBytes = 64 * 1024 * 1024, windowBatches = 256, minBatches = 1, firstSequence = 0 } =
      options;
    integerIn("windowBytes", windowBytes, 1);
    integerIn("windowBatches", windowBatches, 1, 65536);
    integerIn("minBatches", minBatches, 1, windowBatches);
    this.role = role;
    this.#minBatches = minBatches;
    this.sendsMetadata = role !== "body";
    this.sendsBodies = role !== "metadata";
    this.#windowBytes = windowBytes;
    this.#windowBatches = windowBatches;
    // Two marks per window, so that the next half can be sent while the last one is fetched.
    this.#markBytes = Math.max(1, Math.floor(windowBytes / 2));
    this.#markBatches = Math.max(1, windowBatches >> 1);
    this.#sequence = checkSequence(firstSequence);
    let size = 1;
    while (size < windowBatches) size *= 2;
    this.#mask = size - 1;
  }

  /** Messages assigned, the schema among them. */
  get messages(): number {
    return this.#messages;
  }

  /** Bytes of the bodies assigned. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** Bytes of metadata assigned, without prefixes. */
  get metadataBytes(): number {
    return this.#metadataBytes;
  }

  /** Bytes that the peer may not have taken yet. */
  get outstandingBytes(): number {
    return this.#outstandingBytes;
  }

  /** Messages that the peer may not have taken yet. */
  get outstandingMessages(): number {
    return this.#outstandingMessages;
  }

  /** True once `end()` was called. */
  get ended(): boolean {
    return this.#hasEnded;
  }

  /** True once the stream has ended and no send is under way. */
  get finished(): boolean {
    return this.#hasEnded && this.#head === this.#tail;
  }

  /**
   * Whether the window has room for another message.
   *
   * @param byteLength Size of its body in bytes, 0 if not known; the window may then be exceeded by one message
   */
  mayStart(byteLength: number = 0): boolean {
    if (this.#head === this.#tail || this.#outstandingMessages < this.#minBatches) return true;
    return this.#outstandingMessages < this.#windowBatches && this.#outstandingBytes < this.#windowBytes &&
      this.#outstandingBytes + byteLength <= this.#windowBytes;
  }

  /**
   * Gives the next message its sequence number. The schema comes first, in every role, with a body of 0 bytes.
   *
   * @param bodyBytes Bytes of its body
   * @param metadataBytes Bytes of its metadata, without the prefix
   * @returns The slot to send by; `sent` must follow
   * @throws {DipcError} `internal` if the calls come in another order, `invalid_data` for an impossible number
   */
  assign(bodyBytes: number, metadataBytes: number): SenderSlot<T> {
    const sequence = this.#sequence;
    if (this.#hasEnded) {
      throw new DipcError("internal", `cannot send message ${sequence}: it comes after the end of stream`);
    }
    if (this.#open !== null) {
      throw new DipcError(
        "internal",
        `cannot send message ${sequence}: message ${this.#open.sequence} was assigned, but not sent`,
      );
    }
    if (!this.mayStart()) {
      throw new DipcError("internal", `cannot send message ${sequence}: the window is full`);
    }
    if (
      !Number.isSafeInteger(bodyBytes) || bodyBytes < 0 || !Number.isSafeInteger(metadataBytes) || metadataBytes < 0
    ) {
      throw new DipcError(
        "invalid_data",
        `cannot send message ${sequence}: impossible sizes, a body of ${bodyBytes} and metadata of ${metadataBytes} bytes`,
      );
    }
    if (this.#messages === 0 && bodyBytes !== 0) {
      throw new DipcError(
        "internal",
        `cannot send the schema, message ${sequence}: it has a body of ${bodyBytes} bytes, expected none`,
      );
    }
    const slot = this.#slots[this.#tail & this.#mask] ??= new SenderSlot<T>();
    // The end of its own send shows that the peer has taken it; if it cannot, a metadata frame has to, periodically.
    const isConfirmed = this.sendsBodies && (bodyBytes !== 0 || !this.sendsMetadata);
    const bytes = isConfirmed ? bodyBytes : metadataBytes;
    slot.sequence = sequence;
    slot.isConfirmed = isConfirmed;
    this.#unsettledBytes += bytes;
    this.#unsettledMessages++;
    slot.rendezvous = !isConfirmed &&
      (this.#unsettledMessages >= this.#markBatches || this.#unsettledBytes >= this.#markBytes);
    this.#outstandingBytes += bytes;
    this.#outstandingMessages++;
    this.#bodyBytes += bodyBytes;
    this.#metadataBytes += metadataBytes;
    this.#messages++;
    this.#sequence = nextSequence(sequence);
    this.#open = slot;
    return slot;
  }

  /**
   * Notes that the message of the last `assign` was handed to the channel.
   *
   * @param slot What `assign` returned
   * @param attachment What to keep until the send is done; `null` if it is done already
   */
  sent(slot: SenderSlot<T>, attachment: T | null): void {
    if (slot !== this.#open) {
      throw new DipcError("internal", `cannot send message ${slot.sequence}: it was sent already`);
    }
    this.#open = null;
    if (attachment === null && !slot.isConfirmed && !slot.rendezvous) return; // outstanding until a later send is done
    slot.bytes = this.#unsettledBytes;
    slot.messages = this.#unsettledMessages;
    this.#unsettledBytes = 0;
    this.#unsettledMessages = 0;
    if (attachment === null) {
      this.#release(slot);
    } else {
      slot.attachment = attachment;
      this.#tail++;
    }
  }

  /** The earliest send under way, or `null`. Peers take messages in order: poll this one only. */
  oldest(): SenderSlot<T> | null {
    return this.#head === this.#tail ? null : this.#slots[this.#head & this.#mask];
  }

  /**
   * Notes that the earliest send is done.
   *
   * @throws {DipcError} `internal` if none is under way
   */
  settle(): void {
    if (this.#head === this.#tail) throw new DipcError("internal", "cannot settle a send: none is under way");
    const slot = this.#slots[this.#head & this.#mask];
    slot.attachment = null;
    this.#head++;
    this.#release(slot);
  }

  /**
   * Ends the stream.
   *
   * @returns The number of the end-of-stream frame: the one the next message would have had
   * @throws {DipcError} `internal` before the schema, or if it has ended already
   */
  end(): number {
    if (this.#hasEnded) throw new DipcError("internal", "cannot end the stream: it has ended already");
    if (this.#messages === 0) throw new DipcError("internal", "cannot end the stream: its schema was not sent");
    this.#hasEnded = true;
    return this.#sequence;
  }

  /** The number that the next message or the end of stream gets; an error message carries it too. */
  get nextSequence(): number {
    return this.#sequence;
  }

  #release(slot: SenderSlot<T>): void {
    this.#outstandingBytes -= slot.bytes;
    this.#outstandingMessages -= slot.messages;
  }
}
