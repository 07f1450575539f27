/**
 * Receives one stream over a channel, and hands out complete messages in order.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { wrapBytes } from "../memory/wrap.ts";
import { encodeStop, isEndOfStopped } from "../protocol/envelope.ts";
import { ERROR_MESSAGE, frameType } from "../protocol/prefix.ts";
import { ReceiverState } from "../protocol/receiver.ts";
import { type Channel, type KeepOptions, type Operation, PENDING } from "../wire/transport.ts";
import { ArrivalWatch } from "./arrival_watch.ts";
import { bodyOf, type BodyOptions, IncomingBodies, type IncomingBody, releaseBody } from "./incoming_bodies.ts";
import type { EndOptions, MessageInput } from "./message_input.ts";

/** Progress calls without a complete message before the shared loop takes over. */
const SPINS = 64;
/** A body on the metadata's own connection runs ahead of it by a few messages at most. */
const ONE_CONNECTION_WINDOW = 1024;
/** How long the answer on a connection that was kept is polled for, in milliseconds. */
const EAGER_MS = 0.5;
/** Longest wait for the end of a stream whose connection could then be kept, in milliseconds. */
const END_MS = 250;
/** Most bytes that are received and thrown away for that: a new connection costs less. */
const MAX_DRAINED = 16 * 2 ** 20;

/** Options of an {@linkcode IncomingStream}. */
export interface IncomingOptions extends BodyOptions {
  /** Longest wait for the peer, in milliseconds. */
  timeoutMs: number;
  /** Latest time of the schema, of `performance.now()`; the connection has used up some of the first wait. */
  schemaDeadline?: number;
  /** Aborts the stream with `cancelled`. */
  signal?: AbortSignal;
  /** Whether error messages were requested from the server. */
  errorMessages: boolean;
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
  readonly #state: ReceiverState<IncomingBody>;
  readonly #headers: HeaderReader;
  readonly #bodies: IncomingBodies;
  #failure: unknown = null;
  /** Taken from the window by a step that only had to check whether there is one. */
  #ahead: IpcMessage | null = null;
  #batches = 0;
  readonly #arrivals = new ArrivalWatch();
  /** Whether a read is under way that waits for the channel. */
  #isWaiting = false;
  #isClosed = false;
  #closing: Promise<void> | null = null;

  constructor(channel: Channel, options: IncomingOptions) {
    this.#channel = channel;
    this.#options = options;
    const { limits } = options;
    this.#headers = new HeaderReader(limits);
    this.#state = new ReceiverState<IncomingBody>({
      readHeader: (metadata) => this.#headers.read(metadata),
      maxMetadataBytes: limits.maxMetadataBytes,
      maxBodyBytes: limits.maxBodyBytes,
      maxInFlightBytes: limits.maxInFlightBytes,
      errorMessages: options.errorMessages,
      addresses: options.addressed !== undefined,
      bodyWindow: options.isApart ? undefined : ONE_CONNECTION_WINDOW,
    });
    this.#bodies = new IncomingBodies(channel, this.#state, options);
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
    return this.#bodies.sharedBytes;
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
    this.#bodies.cancel();
    this.#options.addressed?.flush();
    await this.#channel.close(mayKeep ? { flush, keep } : { flush });
    this.#bodies.release();
    this.#ahead?.body?.release();
    this.#ahead = null;
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
      if (!stop || this.#bodies.byteLength > MAX_DRAINED) return false;
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
      this.#bodies.advance(true);
      for (let slot; (slot = state.next()) !== null;) {
        releaseBody(slot);
        drained += slot.byteLength;
      }
      if (drained > MAX_DRAINED) return true;
      if (asking !== null && asking.poll() === PENDING) return false;
      const isOver = state.finished || (isStopped && state.isDrained);
      return isOver && state.emptiesMissing === 0 && this.#bodies.isSettled;
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
    this.#bodies.advance();
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
    return { header, body: header.kind === "schema" ? null : bodyOf(slot) };
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
