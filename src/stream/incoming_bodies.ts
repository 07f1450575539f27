/**
 * The bodies of one stream, as they are received over a channel: a receive into a pool block is posted for each that is announced,
 * lists of addresses are replaced by what they stand for, and what arrives unexpectedly is kept or rejected.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { hostPool } from "../memory/host_pool.ts";
import { addressListBytes } from "../protocol/address_list.ts";
import { ERROR_MESSAGE, frameType } from "../protocol/prefix.ts";
import { DISCARD, type ReceiverSlot, type ReceiverState } from "../protocol/receiver.ts";
import { sequenceDistance } from "../protocol/sequence.ts";
import { BODY_ADDRESSES, FULL_MASK, SEQUENCE_MASK, tagBodyType, tagSequence } from "../protocol/tag.ts";
import { type Channel, FAILED, PENDING, type UnexpectedMessage } from "../wire/transport.ts";
import type { AddressedBodies, BodyFetch } from "./body_sharing.ts";
import { EarlyBodies, type PostedBody } from "./early_bodies.ts";

/** Bodies to keep posted: few, because recycled blocks that stay in the cache are several times faster. */
const POSTED_BYTES = 512 * 1024;
const POSTED_LARGE = 4;
const POSTED_HUGE = 1;
const HUGE_BODY = 8 * 2 ** 20;
/** Progress calls without effect after which nothing more is expected of a connection that was lost. */
const LAST_ROUNDS = 16;
/** Unexpected messages are probed for in every 16th round. */
const PROBE_EVERY = 15;
/** Most progress calls that did something while an unexpected message waited and no expected one arrived. */
const QUIET_PROGRESS = 4096;
/** One more such call is allowed per this many bytes of bodies under way. */
const QUIET_BYTES = 256;
/** Bytes of bodies that are taken from a shared stream ahead of its reader; one body always is. */
const SHARED_AHEAD_BYTES = 4 * 2 ** 20;

/** A body that a receive was posted for. */
export interface IncomingBody extends PostedBody {
  /** What a list of addresses stood for, once it has arrived; the block is back then. */
  shared?: Body;
  /** The same while it is being fetched, into the block. */
  fetch?: BodyFetch;
}

/** Options of {@linkcode IncomingBodies}. */
export interface BodyOptions {
  limits: ReaderLimits;
  pool: Pool;
  /** Whether metadata and bodies come from two servers, so that one may be far ahead of the other. */
  isApart: boolean;
  /** Makes bodies of lists of addresses, if they were requested. */
  addressed?: AddressedBodies;
}

/** Receives the bodies that a {@linkcode ReceiverState} expects. */
export class IncomingBodies {
  readonly #channel: Channel;
  readonly #state: ReceiverState<IncomingBody>;
  readonly #options: BodyOptions;
  readonly #early: EarlyBodies;
  /** Bytes of bodies posted now, to keep few of them. */
  #postedBytes = 0;
  #lastBody = 0;
  #sharedBytes = 0;
  #rounds = 0;
  /** The channel's activity when an expected message arrived last. */
  #activeWhenDue: number;
  #discarding: IncomingBody | null = null;
  /** The message of a shared stream whose body has not arrived; only then is it known what to take memory for. */
  #awaited: ReceiverSlot<IncomingBody> | null = null;

  constructor(channel: Channel, state: ReceiverState<IncomingBody>, options: BodyOptions) {
    this.#channel = channel;
    this.#state = state;
    this.#options = options;
    this.#early = new EarlyBodies(channel, options.pool, options.limits.maxInFlightBytes);
    this.#activeWhenDue = channel.activity;
  }

  /** Bytes of bodies that did not travel, because they are read in place. */
  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  /** Bytes of bodies that are under way, as far as it is known. */
  get byteLength(): number {
    return this.#postedBytes + this.#early.byteLength;
  }

  /** Whether nothing that came ahead of its metadata, or is thrown away, is under way. */
  get isSettled(): boolean {
    return this.#early.count === 0 && this.#discarding === null;
  }

  /**
   * Advances everything once: takes what has arrived, and posts receives for what was announced.
   *
   * @param probes Whether unexpected messages are looked for in this round, too
   */
  advance(probes = false): void {
    this.#settle();
    this.#post();
    if (probes || this.#discarding !== null || (++this.#rounds & PROBE_EVERY) === 0) this.#takeUnexpected();
  }

  /** Gives the requests back; the blocks are {@linkcode IncomingBodies.release}'s. */
  cancel(): void {
    this.#state.forEachAttached((slot) => slot.attachment!.receive.cancel());
    this.#early.cancel();
  }

  /** Gives all blocks back, once no request is left. */
  release(): void {
    this.#state.forEachAttached(releaseBody);
    this.#early.release();
    this.#discarding?.block.release();
    this.#discarding = null;
  }

  /** Reports finished receives, the earliest first: bodies mostly arrive in order. */
  #settle(): void {
    const state = this.#state;
    for (let slot; (slot = state.oldestPosted()) !== null;) {
      const incoming = slot.attachment;
      if (incoming === null) return;
      const { receive } = incoming;
      const status = receive.poll();
      if (status === PENDING) return;
      if (status === FAILED) throw this.#lost(receive.error);
      if (this.#options.addressed !== undefined && !this.#resolve(slot, incoming)) return;
      state.onBody(slot, receive.tag, receive.byteLength);
      this.#postedBytes -= slot.byteLength;
      this.#activeWhenDue = this.#channel.activity;
    }
  }

  /** Puts in place of a list of addresses what it stands for. @returns false while that is being fetched */
  #resolve(slot: ReceiverSlot<IncomingBody>, incoming: IncomingBody): boolean {
    const { block, receive } = incoming;
    if (tagBodyType(receive.tag) !== BODY_ADDRESSES) return true;
    if (incoming.fetch === undefined) {
      const made = this.#options.addressed!.bodyOf(block.bytes().subarray(0, receive.byteLength), slot.header!);
      block.release();
      this.#sharedBytes += slot.byteLength;
      if (!("poll" in made)) {
        incoming.shared = made;
        return true;
      }
      incoming.fetch = made;
      incoming.block = made.block;
    }
    const status = incoming.fetch.poll();
    if (status === FAILED) throw this.#lost(incoming.fetch.error);
    return status !== PENDING;
  }

  /**
   * Why a receive has failed: the server's own word, if it is among what has arrived. The news of the end overtakes it, and the
   * bodies before it never come.
   */
  #lost(error: unknown): unknown {
    const channel = this.#channel;
    try {
      for (let quiet = 0; quiet < LAST_ROUNDS; quiet = channel.progress() ? 0 : quiet + 1) {
        for (let frame; (frame = channel.takeFrame()) !== null;) {
          if (frameType(frame) === ERROR_MESSAGE) this.#state.onFrame(frame);
        }
      }
    } catch (said) {
      return said;
    }
    return channel.failure ?? error;
  }

  /** Posts receives for what has arrived of a shared stream. */
  #postArrived(): void {
    const state = this.#state;
    for (;;) {
      const slot = this.#awaited ??= state.nextToPost();
      if (slot === null || !this.#mayPost()) return;
      const isAhead = state.inFlightBytes > slot.byteLength && state.inFlightBytes > SHARED_AHEAD_BYTES;
      if (isAhead) return;
      const message = this.#channel.probe();
      if (message === null || tagSequence(message.tag) !== slot.sequence) return;
      const isList = tagBodyType(message.tag) === BODY_ADDRESSES;
      const byteLength = isList ? addressListBytes(slot.header!.buffers.length / 2) : slot.byteLength;
      if (message.byteLength > byteLength) {
        throw new LocalError(
          "protocol",
          `cannot receive the stream: the body of sequence number ${slot.sequence} has ${message.byteLength} bytes, ` +
            `expected ${byteLength}`,
        );
      }
      const block = (isList ? hostPool() : this.#options.pool).acquire(byteLength);
      slot.attachment = { block, receive: this.#channel.receive(message.tag, FULL_MASK, block, byteLength) };
      this.#awaited = null;
      this.#postedBytes += slot.byteLength;
      this.#lastBody = isList ? 0 : slot.byteLength;
      this.#settle();
    }
  }

  #post(): void {
    if (this.#options.addressed !== undefined) return this.#postArrived();
    const state = this.#state;
    while (this.#mayPost()) {
      const slot = state.nextToPost();
      if (slot === null) return;
      const { byteLength } = slot;
      slot.attachment = this.#early.take(slot.sequence);
      if (slot.attachment === null) {
        const block = this.#options.pool.acquire(byteLength);
        slot.attachment = { block, receive: this.#channel.receive(slot.tag, SEQUENCE_MASK, block, byteLength) };
      }
      this.#postedBytes += byteLength;
      this.#lastBody = byteLength;
    }
  }

  /** Whether one more body like the last one should be posted. */
  #mayPost(): boolean {
    const posted = this.#postedBytes;
    const body = this.#lastBody;
    if (posted === 0) return true;
    const most = body >= HUGE_BODY ? POSTED_HUGE * body : Math.max(POSTED_BYTES, POSTED_LARGE * body);
    return posted + body <= most;
  }

  /** Receives unexpected messages, and rejects those that cannot belong to the stream. */
  #takeUnexpected(): void {
    const discarding = this.#discarding;
    if (discarding !== null) {
      if (discarding.receive.poll() === PENDING) return;
      discarding.block.release();
      this.#discarding = null;
    }
    for (let message; (message = this.#channel.probe()) !== null;) {
      if (this.#awaited !== null && tagSequence(message.tag) === this.#awaited.sequence) return;
      if (this.#state.checkUnexpected(message.tag, message.byteLength) !== DISCARD) {
        return this.#keep(message);
      }
      const block = this.#options.pool.acquire(0);
      const receive = this.#channel.receive(message.tag, FULL_MASK, block, 0);
      if (receive.poll() === PENDING) {
        this.#discarding = { block, receive };
        return;
      }
      block.release();
    }
  }

  /** Keeps an unexpected body for later: leaves it in UCX, or receives it ahead of its metadata. */
  #keep(message: UnexpectedMessage): void {
    const quiet = this.#channel.activity - this.#activeWhenDue;
    if (quiet > QUIET_PROGRESS + this.#postedBytes / QUIET_BYTES) {
      throw new LocalError(
        "protocol",
        `cannot receive the stream: unexpected messages keep arriving while the next expected one is missing: ${this.#state.describe()}`,
      );
    }
    if (this.#awaited !== null) return;
    // Only the first unexpected message can be seen. If it stays because its metadata does not come, more may queue up
    // after it.
    const sequence = tagSequence(message.tag);
    if (this.#options.isApart || sequenceDistance(this.#state.announced % 2 ** 32, sequence) < 0) return;
    this.#early.see(message);
  }
}

/** The body of a message that is complete, which its caller owns. */
export function bodyOf({ attachment, byteLength }: ReceiverSlot<IncomingBody>): Body {
  return attachment === null ? EMPTY_BODY : attachment.shared ?? attachment.block.toBody(byteLength);
}

/** Gives back what a message's body is received into. */
export function releaseBody(slot: ReceiverSlot<IncomingBody>): void {
  (slot.attachment?.shared ?? slot.attachment?.block)?.release();
  slot.attachment = null;
}
