/**
 * Receives one stream over a channel: posts a receive into a pool block for every body that is announced, and hands out
 * complete messages in order.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { hostPool } from "../memory/host_pool.ts";
import { wrapBytes } from "../memory/wrap.ts";
import { addressListBytes } from "../protocol/address_list.ts";
import { encodeStop, isEndOfStopped } from "../protocol/envelope.ts";
import { ERROR_MESSAGE, frameType } from "../protocol/prefix.ts";
import { DISCARD, type ReceiverSlot, ReceiverState } from "../protocol/receiver.ts";
import { sequenceDistance } from "../protocol/sequence.ts";
import { BODY_ADDRESSES, FULL_MASK, SEQUENCE_MASK, tagBodyType, tagSequence } from "../protocol/tag.ts";
import {
  type Channel,
  FAILED,
  type KeepOptions,
  type Operation,
  PENDING,
  type UnexpectedMessage,
} from "../wire/transport.ts";
import { ArrivalWatch } from "./arrival_watch.ts";
import type { AddressedBodies, BodyFetch } from "./body_sharing.ts";
import { EarlyBodies, type PostedBody } from "./early_bodies.ts";
import type { EndOptions, MessageInput } from "./message_input.ts";

/** Bodies to keep posted: few, because recycled blocks that stay in the cache are several times faster. */
const POSTED_BYTES = 512 * 1024;
const POSTED_LARGE = 4;
const POSTED_HUGE = 1;
const HUGE_BODY = 8 * 2 ** 20;
/** Progress calls without effect after which nothing more is expected of a connection that was lost. */
const LAST_ROUNDS = 16;
/** Progress calls without a complete message before the shared loop takes over. */
const SPINS = 64;
/** Unexpected messages are probed for in every 16th round. */
const PROBE_EVERY = 15;
/** Most progress calls that did something while an unexpected message waited and no expected one arrived. */
const QUIET_PROGRESS = 4096;
/** One more such call is allowed per this many bytes of bodies under way. */
const QUIET_BYTES = 256;
/** A body on the metadata's own connection runs ahead of it by a few messages at most. */
const ONE_CONNECTION_WINDOW = 1024;

/** Bytes of bodies that are taken from a shared stream ahead of its reader; one body always is. */
const SHARED_AHEAD_BYTES = 4 * 2 ** 20;
/** How long the answer on a connection that was kept is polled for, in milliseconds. */
const EAGER_MS = 0.5;
/** Longest wait for the end of a stream whose connection could then be kept, in milliseconds. */
const END_MS = 250;
/** Most bytes that are received and thrown away for that: a new connection costs less. */
const MAX_DRAINED = 16 * 2 ** 20;

interface Incoming extends PostedBody {
  /** What a list of addresses stood for, once it has arrived; the block is back then. */
  shared?: Body;
  /** The same while it is being fetched, into the block. */
  fetch?: BodyFetch;
}

/** Options of an {@linkcode IncomingStream}. */
export interface IncomingOptions {
  limits: ReaderLimits;
  pool: Pool;
  /** Longest wait for the peer, in milliseconds. */
  timeoutMs: number;
  /** Latest time of the schema, of `performance.now()`; the connection has used up some of the first wait. */
  schemaDeadline?: number;
  /** Aborts the stream with `cancelled`. */
  signal?: AbortSignal;
  /** Whether error messages were requested from the server. */
  errorMessages: boolean;
  /** Whether metadata and bodies come from two servers, so that one may be far ahead of the other. */
  isApart: boolean;
  /** Makes bodies of lists of addresses, if they were requested. */
  addressed?: AddressedBodies;
  /** How the connection is kept for the next stream; `null` or left out if the server takes one request only. */
  keep?: KeptConnection | null;
}

/** How a connection is kept after its stream. */
export interface KeptConnection extends KeepOptions {
  /** The tag of requests. */
  readonly wantData: bigint;
}

/** One stream that is received over a channel. */
export class IncomingStream implements MessageInput {
  readonly #channel: Channel;
  readonly #options: IncomingOptions;
  readonly #state: ReceiverState<Incoming>;
  readonly #headers: HeaderReader;
  /** Bytes of bodies posted now, to keep few of them. */
  #postedBytes = 0;
  #failure: unknown = null;
  /** Taken from the window by a step that only had to check whether there is one. */
  #ahead: IpcMessage | null = null;
  #lastBody = 0;
  #batches = 0;
  #pumps = 0;
  /** The channel's activity when an expected message arrived last. */
  #activeWhenDue = 0;
  readonly #arrivals = new ArrivalWatch();
  readonly #early: EarlyBodies;
  #discarding: Incoming | null = null;
  /** The message of a shared stream whose body has not arrived; only then is it known what to take memory for. */
  #awaited: ReceiverSlot<Incoming> | null = null;
  #sharedBytes = 0;
  /** Whether a read is under way that waits for the channel. */
  #isWaiting = false;
  #isClosed = false;
  #closing: Promise<void> | null = null;

  constructor(channel: Channel, options: IncomingOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#activeWhenDue = channel.activity;
    const { limits } = options;
    this.#early = new EarlyBodies(channel, options.pool, limits.maxInFlightBytes);
    this.#headers = new HeaderReader(limits);
    this.#state = new ReceiverState<Incoming>({
      readHeader: (metadata) => this.#headers.read(metadata),
      maxMetadataBytes: limits.maxMetadataBytes,
      maxBodyBytes: limits.maxBodyBytes,
      maxInFlightBytes: limits.maxInFlightBytes,
      errorMessages: options.errorMessages,
      addresses: options.addressed !== undefined,
      bodyWindow: options.isApart ? undefined : ONE_CONNECTION_WINDOW,
    });
  }

  /** True once every message has arrived and was handed out. */
  get finished(): boolean {
    return this.#state.finished;
  }

  /** Record batches that were handed out. */
  get batches(): number {
    return this.#batches;
  }

  /** Bytes of metadata received, without prefixes. */
  get metadataBytes(): number {
    return this.#state.metadataBytes;
  }

  /** Bytes of bodies that did not travel, because they are read in place. */
  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  /**
   * The next message in order, or `null` after the end. Returns no promise if the message is at hand or comes
   * within a few rounds of progress. The caller owns the message's body. Never call it while an earlier call is pending.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`
   */
  next(): IpcMessage | null | Promise<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#isClosed) throw this.#fail(new LocalError("closed", "cannot receive the stream: it was closed"));
    const message = this.#take();
    if (message !== null) return message;
    try {
      // Lists are mostly there already, as they take next to nothing of a window.
      if (this.#options.addressed !== undefined && this.#pump(false)) return this.#take();
      for (let spins = 0; spins < SPINS; spins++) {
        if (this.#pump()) return this.#take();
      }
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#wait();
  }

  /** Ends the stream, whatever its state. Afterwards all blocks but those handed out are back. */
  close(options: EndOptions = {}): Promise<void> {
    return this.#closing ??= this.#close(options);
  }

  async #close({ flush, stop }: EndOptions): Promise<void> {
    const { keep } = this.#options;
    const mayKeep = keep && (flush || stop) && !this.#isWaiting && await this.#endQuietly(keep, stop === true);
    this.#isClosed = true;
    this.#state.forEachAttached((slot) => slot.attachment!.receive.cancel());
    this.#early.cancel();
    this.#options.addressed?.flush();
    await this.#channel.close(mayKeep ? { flush, keep } : { flush });
    this.#state.forEachAttached((slot) => {
      const { block, shared } = slot.attachment!;
      (shared ?? block).release();
      slot.attachment = null;
    });
    this.#early.release();
    this.#ahead?.body?.release();
    this.#ahead = null;
    this.#discarding?.block.release();
    this.#discarding = null;
    this.#options.addressed?.close(mayKeep ? keep! : null);
  }

  /**
   * Brings the stream to its end, so that its connection can carry another one: all of it has arrived, or the server stops and what
   * is under way is taken. Not at any price.
   *
   * @param keep How the connection is kept
   * @param stop Whether the server may be asked to stop
   * @returns whether nothing of the stream is left
   */
  async #endQuietly({ wantData }: KeptConnection, stop: boolean): Promise<boolean> {
    const state = this.#state;
    const channel = this.#channel;
    if (this.#failure !== null || channel.isReused === undefined) return false;
    let isStopped = state.finished;
    let asking: Operation | null = null;
    if (!isStopped) {
      if (!stop || this.#postedBytes + this.#early.byteLength > MAX_DRAINED) return false;
      asking = channel.sendTagged(wantData, wrapBytes(encodeStop()), false);
    }
    let drained = 0;
    this.#ahead?.body?.release();
    this.#ahead = null;
    // Mostly all of it is here already.
    let hasLooked = !isStopped;
    const step = (): boolean => {
      if (hasLooked) channel.progress();
      hasLooked = true;
      for (let frame; state.wantsFrame && !isStopped && (frame = channel.takeFrame()) !== null;) {
        if (frameType(frame) === ERROR_MESSAGE) isStopped = isEndOfStopped(frame);
        else state.onFrame(frame);
      }
      this.#settle();
      this.#post();
      this.#takeUnexpected();
      for (let slot; (slot = state.next()) !== null;) {
        const { attachment } = slot;
        (attachment?.shared ?? attachment?.block)?.release();
        drained += slot.byteLength;
      }
      if (drained > MAX_DRAINED) return true;
      if (asking !== null && asking.poll() === PENDING) return false;
      const isOver = state.finished || (isStopped && state.isDrained);
      return isOver && state.emptiesMissing === 0 && this.#early.count === 0 && this.#discarding === null;
    };
    try {
      return (step() || await channel.until(step, { timeoutMs: END_MS })) && drained <= MAX_DRAINED;
    } catch {
      return false;
    }
  }

  async #wait(): Promise<IpcMessage | null> {
    const { timeoutMs, schemaDeadline = Infinity, signal } = this.#options;
    const isFirst = this.#state.announced === 0;
    this.#options.addressed?.flush();
    // The answer to a request on a connection that is up is on its way.
    const eagerMs = isFirst && this.#channel.isReused ? EAGER_MS : undefined;
    this.#isWaiting = true;
    try {
      this.#arrivals.start(this.#channel.activity);
      const deadline = (): number => Math.min(this.#arrivals.lastMs + timeoutMs, isFirst ? schemaDeadline : Infinity);
      for (let left; (left = deadline() - performance.now()) > 0;) {
        if (await this.#channel.until(this.#step, { signal, timeoutMs: left, eagerMs, isStreaming: !isFirst })) {
          return this.#take();
        }
      }
      throw new LocalError(
        "timeout",
        `cannot receive the stream: nothing arrived for ${timeoutMs / 1000} s: ${this.#state.describe()}`,
      );
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isWaiting = false;
    }
  }

  #step = (): boolean => {
    const { announced } = this.#state;
    const isReady = this.#pump();
    this.#arrivals.look(this.#channel.activity, announced !== this.#state.announced);
    return isReady;
  };

  /**
   * Advances everything once. True if a message can be taken or the stream is complete.
   *
   * @param progresses Whether the channel is looked at for more than has arrived already
   */
  #pump(progresses = true): boolean {
    const channel = this.#channel;
    const state = this.#state;
    const active = progresses ? channel.progress() : true;
    for (let frame; state.wantsFrame && (frame = channel.takeFrame()) !== null;) state.onFrame(frame);
    this.#settle();
    this.#post();
    this.#checkUnexpected();
    if (this.#ready()) return true;
    if (channel.queuedFrameBytes > this.#options.limits.maxInFlightBytes) {
      throw new LocalError(
        "limit_exceeded",
        `cannot receive the stream: ${channel.queuedFrameBytes} bytes of metadata wait while a body is missing, the limit ` +
          `is ${this.#options.limits.maxInFlightBytes} (maxInFlightBytes)`,
      );
    }
    // The notice that the peer has closed may overtake what it sent before.
    if (channel.failure !== null && !active && channel.queuedFrames === 0) throw channel.failure;
    return false;
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
  #resolve(slot: ReceiverSlot<Incoming>, incoming: Incoming): boolean {
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
  #checkUnexpected(): void {
    if (this.#discarding === null && (++this.#pumps & PROBE_EVERY) !== 0) return;
    this.#takeUnexpected();
  }

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

  #ready(): boolean {
    if (this.#ahead === null && !this.#state.finished) this.#ahead = this.#fromState();
    return this.#ahead !== null || this.#state.finished;
  }

  #take(): IpcMessage | null {
    const message = this.#ahead ?? this.#fromState();
    this.#ahead = null;
    if (message !== null && message.header.kind === "batch") this.#batches++;
    return message;
  }

  #fromState(): IpcMessage | null {
    const slot = this.#state.next();
    if (slot === null) return null;
    const header = slot.header!;
    if (header.kind === "schema") return { header, body: null };
    const incoming = slot.attachment;
    if (incoming === null) return { header, body: EMPTY_BODY };
    return { header, body: incoming.shared ?? incoming.block.toBody(slot.byteLength) };
  }

  #fail(error: unknown): unknown {
    if (error instanceof DipcError && error.code === "connection_lost") {
      error = new LocalError("connection_lost", [error.message, this.#state.describe()].join("; "), {
        cause: error,
        foreign: error.foreign,
      });
    }
    return this.#failure ??= error;
  }
}
