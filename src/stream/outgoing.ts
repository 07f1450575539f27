/**
 * Sends one stream over a channel: takes messages from a dataset, enforces the send window, and releases every body
 * once the transport is done with it.
 *
 * @module
 */
import { withDeadline } from "../deadline.ts";
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { END_OF_STREAM, METADATA } from "../protocol/prefix.ts";
import type { StreamRole } from "../protocol/role.ts";
import { SenderState } from "../protocol/sender.ts";
import { BODY_ADDRESSES, encodeTag } from "../protocol/tag.ts";
import { datasetError, fromDataset } from "../tell_peer.ts";
import { type Channel, FAILED, type Operation, PENDING } from "../wire/transport.ts";
import { type BodySharing, WAIT } from "./body_sharing.ts";
import type { SendableDataset, SendableMessage, SendableStream } from "./sendable.ts";

/** Messages sent before the other streams of the isolate get their turn. */
const TURN_MESSAGES = 64;
/** Bytes sent before the other streams of the isolate get their turn. */
const TURN_BYTES = 2 * 2 ** 20;
/** Checks per idle timeout: it may be exceeded by one of them. */
const IDLE_CHECKS = 16;
/** Longest wait for a source to end, in milliseconds. */
const SOURCE_CLOSE_MS = 1_000;

/** Options of an {@linkcode OutgoingStream}. */
export interface OutgoingOptions {
  /** Which half of the stream this connection carries. */
  role: StreamRole;
  /** Most bytes of bodies under way; two bodies are always admitted. */
  windowBytes: number;
  /** Most messages under way. */
  windowBatches: number;
  /** Longest time without any progress of the peer, in milliseconds. */
  idleTimeoutMs: number;
  /** Ends the stream with `cancelled`. */
  signal: AbortSignal;
  /** Called once, before the first message with a body is sent, or the stream ends without one. An error that it throws ends the stream. */
  onFirstBody?: () => void;
  /** Puts lists of addresses in place of bodies. Default: every body is sent. */
  sharing?: BodySharing;
  /**
   * Takes a message that the client sends while its stream is running, and returns whether the client wants no more of it. Throws if
   * it may not send that. By default it may send nothing.
   */
  hasStopped?: () => boolean;
}

/** What a stream has sent, even if it failed. */
export interface OutgoingTotals {
  /** Record batches. */
  batches: number;
  /** Rows of those batches. */
  rows: number;
  /** Bytes of bodies. */
  bodyBytes: number;
  /** Bytes of metadata, without prefixes. */
  metadataBytes: number;
  /** Bytes of those bodies that did not travel, because the client reads them in place. */
  sharedBytes: number;
  /** Messages that were sent, but that the client had not confirmed when it closed the connection. */
  unacknowledged: number;
}

interface Sending {
  operation: Operation;
  body: Body | null;
}

/** One stream that is sent. The caller closes the channel afterwards, and only then calls {@linkcode OutgoingStream.release}. */
export class OutgoingStream {
  readonly totals: OutgoingTotals = {
    ...{ batches: 0, rows: 0, bodyBytes: 0, metadataBytes: 0, sharedBytes: 0, unacknowledged: 0 },
  };
  readonly #channel: Channel;
  readonly #dataset: SendableDataset;
  readonly #options: OutgoingOptions;
  readonly #state: SenderState<Sending>;
  /** How long it has waited for the client to take what was under way, in milliseconds. */
  waitedMs = 0;
  /** Whether it has ended because the client accepted nothing for too long. */
  hasStalled = false;
  /** Whether the client wanted no more of it; then `settle` must follow. */
  isStopped = false;
  #stream: SendableStream | null = null;
  /** Taken from the dataset and not sent, because the window is full. */
  #held: SendableMessage | null = null;
  /** The dataset's next message while the dataset is working on it. */
  #awaited: Promise<void> | null = null;
  /** What the dataset threw, which may be anything. */
  #sourceError: { error: unknown } | null = null;
  #hasSourceEnded = false;
  #activity = 0;
  #onFirstBody: (() => void) | undefined;

  constructor(channel: Channel, dataset: SendableDataset, options: OutgoingOptions) {
    this.#channel = channel;
    this.#dataset = dataset;
    this.#options = options;
    this.#onFirstBody = options.onFirstBody;
    this.#state = new SenderState<Sending>({
      ...options,
      // One body is under way while the peer takes the other.
      minBatches: Math.min(2, options.windowBatches),
    });
  }

  /**
   * Sends the whole stream and waits until the peer has taken it, or until the peer wants no more.
   *
   * @throws {DipcError} the channel's failure, the source's error, `timeout`, `cancelled`, `protocol`
   */
  async run(): Promise<void> {
    const stream = this.#stream = await this.#open();
    const schema = await fromDataset(() => stream.schema ?? this.#dataset.schema);
    const slot = this.#state.assign(0, schema.bytes.byteLength);
    const operation = this.#state.sendsMetadata
      ? this.#channel.sendFrame(METADATA, slot.sequence, schema.bytes, slot.rendezvous)
      : null;
    this.#state.sent(slot, operation && { operation, body: null });
    for (;;) {
      try {
        const askedMs = performance.now();
        await this.#until(this.#step);
        this.waitedMs += performance.now() - askedMs;
      } catch (error) {
        // A client that has everything closes, and the notice may overtake its last acknowledgements.
        if (this.#state.ended && this.#channel.failure?.code === "connection_lost") {
          this.totals.unacknowledged = this.#state.outstandingMessages;
          return;
        }
        throw error;
      }
      if (this.#sourceError !== null) throw this.#sourceError.error;
      if (this.#state.finished || this.isStopped) return;
      await this.#sourceReady();
    }
  }

  /**
   * Waits until the peer has taken what is under way of a stream that was stopped.
   *
   * @throws {DipcError} the channel's failure, `timeout`, `cancelled`
   */
  async settle(): Promise<void> {
    await this.#until(() => {
      this.#reap();
      return this.#state.oldest() === null;
    });
  }

  /**
   * Releases everything that is still held. Call it after the channel's `close()` has resolved. A source that does not
   * end within a second is left to finish on its own; what it still produces is released when it comes.
   */
  async release(): Promise<void> {
    for (let slot; (slot = this.#state.oldest()) !== null; this.#state.settle()) slot.attachment?.body?.release();
    this.#releaseHeld();
    const late = this.#awaited?.then(() => this.#releaseHeld());
    const closed = this.#stream?.close();
    if (late === undefined && !(closed instanceof Promise)) return;
    await withDeadline(Promise.all([closed, late]), SOURCE_CLOSE_MS);
  }

  #releaseHeld(): void {
    this.#held?.body?.release();
    this.#held = null;
  }

  /** Runs `step` under the idle deadline. */
  async #until(step: () => boolean, signal: AbortSignal = this.#options.signal): Promise<void> {
    const timeoutMs = this.#options.idleTimeoutMs / IDLE_CHECKS;
    for (let idle = 0, seen = this.#activity; idle < IDLE_CHECKS;) {
      if (await this.#channel.until(step, { signal, timeoutMs, isStreaming: true })) return;
      idle = seen === this.#activity ? idle + 1 : 0;
      seen = this.#activity;
    }
    this.hasStalled = true;
    throw new DipcError(
      "timeout",
      `cannot send the stream: the client accepted nothing for ${this.#options.idleTimeoutMs} ms`,
    );
  }

  /** Starts a run. One that takes long to start, such as a query of a database, is cancelled if its client leaves meanwhile. */
  async #open(): Promise<SendableStream> {
    const { signal, role, sharing } = this.#options;
    const left = new AbortController();
    const mayShare = sharing && ((message: SendableMessage) => sharing.mayShare(message));
    const opening = fromDataset(() =>
      this.#dataset.open({
        // Made for those that look at it.
        get signal() {
          return AbortSignal.any([signal, left.signal]);
        },
        ...{ isPart: role !== "both", mayShare },
      })
    );
    if (!(opening instanceof Promise)) return opening;
    try {
      await this.#progressUntil(opening.then(() => {}, () => {}));
    } catch (error) {
      left.abort(error);
      opening.then((stream) => stream.close()).catch(() => {});
      throw error;
    }
    if (this.isStopped) {
      opening.then((stream) => stream.close()).catch(() => {});
      throw new DipcError("cancelled", "cannot start the stream: the client wanted none of it any more");
    }
    return await opening;
  }

  /** Waits for the dataset's next message. */
  async #sourceReady(): Promise<void> {
    if (this.#awaited !== null) await this.#progressUntil(this.#awaited);
  }

  /**
   * Waits for the dataset and progresses the sends under way meanwhile.
   *
   * @param awaited Never rejects
   */
  async #progressUntil(awaited: Promise<void>): Promise<void> {
    const ready = new AbortController();
    let isWaiting = true;
    const reap = (): boolean => {
      this.#reap();
      this.#checkSilent();
      return !isWaiting || this.isStopped;
    };
    awaited.then(() => {
      isWaiting = false;
      ready.abort();
    });
    try {
      // The idle deadline is the peer's; a slow source is not its fault.
      await this.#channel.until(reap, { signal: AbortSignal.any([ready.signal, this.#options.signal]) });
    } catch (error) {
      if (isWaiting) throw error;
    }
    if (!this.isStopped) await awaited;
  }

  /** Sends what the window admits. True once everything was sent, or while the dataset has no message at hand. */
  #step = (): boolean => {
    this.#reap();
    this.#checkSilent();
    if (this.isStopped) return true;
    const state = this.#state;
    const { sharing } = this.#options;
    let bytes = 0;
    for (let count = 0; count < TURN_MESSAGES && bytes < TURN_BYTES; count++) {
      if (this.#hasSourceEnded) return this.#finish();
      if (!state.mayStart()) break;
      const message = this.#held ?? this.#pull();
      if (message === null) {
        if (this.#awaited !== null || this.#sourceError !== null) return true;
        continue;
      }
      const body = message.body!;
      const weight = sharing?.weigh?.(message) ?? body.byteLength;
      if (!state.mayStart(weight)) {
        this.#held = message;
        break;
      }
      const list = sharing === undefined ? null : sharing.share(message, state.oldest() === null);
      if (list === WAIT) {
        this.#held = message;
        break;
      }
      this.#held = null;
      bytes += weight;
      this.#send(message, list, weight);
    }
    return false;
  };

  /** A client must not send while its stream is running, unless it wants no more of it. */
  #checkSilent(): void {
    const { hasStopped } = this.#options;
    if (hasStopped !== undefined) {
      // After the end the next request may arrive before this side knows that everything was taken.
      if (!this.#state.ended && !this.isStopped) this.isStopped = hasStopped();
    } else if (this.#channel.probe() !== null) {
      throw new DipcError("protocol", "cannot send the stream: the client sent a tagged message while it was running");
    }
  }

  /**
   * @param list What is sent in place of the body, if that does not travel
   * @param weight What it takes of the window
   */
  #send(message: SendableMessage, list: Body | null, weight: number): void {
    const state = this.#state;
    const original = message.body!;
    const { byteLength } = original;
    if (list !== null) original.release();
    const body = list ?? original;
    try {
      this.#begin();
    } catch (error) {
      body.release();
      throw error;
    }
    const { header } = message;
    const slot = state.assign(weight, header.bytes.byteLength);
    let operation: Operation | null = null;
    if (state.sendsMetadata) {
      operation = this.#channel.sendFrame(METADATA, slot.sequence, header.bytes, slot.rendezvous);
      if (operation?.poll() === FAILED) {
        body.release();
        throw operation.error!;
      }
    }
    if (state.sendsBodies) {
      // A receiver may leave an empty body unmatched: it completes at once, and its frame bounds a run of them.
      const isEmpty = body.byteLength === 0;
      const tag = list === null ? slot.tag : encodeTag(slot.sequence, BODY_ADDRESSES);
      const send = this.#channel.sendTagged(tag, body, !isEmpty);
      if (!isEmpty || !slot.rendezvous) operation = send;
    } else {
      body.release();
    }
    if (operation === null) {
      state.sent(slot, null);
      body.release();
    } else {
      state.sent(slot, { operation, body });
    }
    this.#activity++;
    const totals = this.totals;
    if (header.kind === "batch") {
      totals.batches++;
      totals.rows += header.rows;
    }
    totals.bodyBytes += byteLength;
    if (list !== null) totals.sharedBytes += byteLength;
    totals.metadataBytes += header.bytes.byteLength;
  }

  #begin(): void {
    this.#onFirstBody?.();
    this.#onFirstBody = undefined;
  }

  /** The next message if it is at hand; otherwise null, and `#awaited`, `#sourceError` or `#hasSourceEnded` tells why. */
  #pull(): SendableMessage | null {
    if (this.#awaited !== null) return null;
    try {
      const next = this.#stream!.next();
      if (next instanceof Promise) {
        this.#awaited = next.then((message) => {
          this.#held = message;
          this.#hasSourceEnded = message === null;
        }, (error) => {
          this.#sourceError = { error: datasetError(error) };
        }).then(() => {
          this.#awaited = null;
        });
        return null;
      }
      this.#hasSourceEnded = next === null;
      return next;
    } catch (error) {
      this.#sourceError = { error: datasetError(error) };
      return null;
    }
  }

  #finish(): boolean {
    const state = this.#state;
    if (!state.ended) {
      this.#begin();
      const sequence = state.end();
      if (state.sendsMetadata) this.#channel.sendFrame(END_OF_STREAM, sequence, null);
    }
    return state.finished;
  }

  #reap(): void {
    const state = this.#state;
    for (let slot; (slot = state.oldest()) !== null;) {
      const { operation, body } = slot.attachment!;
      const status = operation.poll();
      if (status === PENDING) return;
      if (status === FAILED) throw operation.error!;
      body?.release();
      state.settle();
      this.#activity++;
    }
  }
}
