/**
 * The reader of one stream: record batches, raw messages, a table, or the bytes of an Arrow stream.
 *
 * @module
 */
import { type RecordBatch, type Schema, Table } from "apache-arrow";
import { arrowReadableStream } from "./formats/readable_stream.ts";
import { BatchDecoder, type OwnedRecordBatch } from "./ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "./ipc/message.ts";
import { TypedEventTarget } from "./events.ts";
import type { ReaderLimits } from "./limits.ts";
import { type ReaderStats, ReadState } from "./read_state.ts";
import type { EndpointStats, StreamRoutes } from "./routes/stats.ts";
import { busyError, type MessageInput } from "./stream/message_input.ts";
import type { StreamSpan } from "./telemetry/stream_span.ts";

export type { ReaderStats } from "./read_state.ts";
export type { EndpointStats, RouteName } from "./routes/stats.ts";

/** Longest work without yielding to timers, signals and other tasks, in milliseconds. */
const TURN_MS = 5;
/** The same for all readers together that are at work in this isolate, if there are several. */
const SHARED_TURN_MS = 1;
/** The clock is read once per this many messages, or bytes. */
const CLOCK_MESSAGES = 32;
const CLOCK_BYTES = 2 ** 20;

/** Readers of this isolate that wait for their next turn. */
let waiting = 0;

/** Constructor arguments of {@linkcode DissociatedStreamReader}. */
export interface ReaderParts {
  /** The running stream, after its schema. */
  input: MessageInput;
  /** The schema message. */
  schema: MessageHeader;
  /** The routes that its parts take. */
  routes: StreamRoutes;
  limits: ReaderLimits;
  /** Cancels the stream. */
  signal?: AbortSignal;
  /** `performance.now()` when `connect` was called. */
  startedMs: number;
  /** The stream in a trace. */
  span: StreamSpan;
}

/**
 * Reads one stream. Made by {@linkcode connect}.
 *
 * Use it in one way, once: as an async iterable of batches, by `messages()`, `toTable()` or `toReadableStream()`. A stream that
 * does not arrive completely throws; it never just ends. Reading it again after its end throws `closed`.
 *
 * A stream of a Flight server reports by a `route` event, a `CustomEvent<EndpointStats>`, for each endpoint which route its
 * data takes, once that is settled: when its first batch has arrived. `stats.route` and `stats.routeReason` report it at any time.
 *
 * A batch owns its memory. Dispose it (`for await (using batch of reader)`) to release the memory at once; otherwise it
 * is released when the batch is collected. A disposed batch throws on access.
 */
export class DissociatedStreamReader extends TypedEventTarget<{ route: CustomEvent<EndpointStats> }>
  implements AsyncIterable<OwnedRecordBatch>, AsyncDisposable {
  readonly #input: MessageInput;
  readonly #limits: ReaderLimits;
  readonly #state: ReadState;
  #decoder: BatchDecoder | null = null;
  #messagesUntilClock = CLOCK_MESSAGES;
  #bytesUntilClock = CLOCK_BYTES;
  #turnStartedMs: number;
  #turnMs = TURN_MS;

  /** The schema message as it arrived; available for every Arrow type. */
  readonly schemaHeader: MessageHeader;

  /** @ignore Use {@linkcode connect}. */
  constructor(parts: ReaderParts) {
    super();
    this.#input = parts.input;
    this.schemaHeader = parts.schema;
    this.#limits = parts.limits;
    const { routes, signal, startedMs, span } = parts;
    routes.onSettled = (detail) => this.dispatchEvent(new CustomEvent("route", { detail }));
    this.#turnStartedMs = performance.now();
    this.#state = new ReadState({ routes, signal, startedMs, span, close: (how) => this.#input.close(how) });
  }

  /**
   * The schema.
   *
   * @throws {DipcError} `unsupported` if apache-arrow has no such type; the message names column and type
   */
  get schema(): Schema {
    return this.#decode().schema;
  }

  /** Counters up to now. */
  get stats(): ReaderStats {
    return this.#state.stats(this.#input.metadataBytes);
  }

  /**
   * The next record batch; `done` once every message has arrived.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`, `unsupported`
   */
  next(): Promise<IteratorResult<OwnedRecordBatch, undefined>> {
    if (this.#state.isTaken) return Promise.reject(busyError());
    try {
      if (!this.#state.enter()) return Promise.resolve({ done: true, value: undefined });
      while (this.#hasTurn()) {
        const message = this.#input.next();
        if (message === null || message instanceof Promise || !this.#decode().ready(message.header)) {
          return this.#nextLater(message);
        }
        this.#count(message);
        const batch = this.#decoder!.decode(message);
        if (batch === null) continue;
        this.#state.isBusy = false;
        return Promise.resolve({ done: false, value: batch });
      }
      return this.#nextLater(this.#yieldThenNext());
    } catch (error) {
      return this.#state.reject(error);
    }
  }

  /** Runs over the batches. Leaving the loop early cancels the stream. */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedRecordBatch, undefined> {
    this.#state.begin();
    return {
      next: () => this.next(),
      return: async () => {
        await this.cancel();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Runs over the raw messages: the schema, then dictionaries and batches. The caller releases the body of each message.
   * Works for every Arrow type. Leaving the loop early cancels the stream.
   */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    this.#state.begin(true);
    try {
      yield { header: this.schemaHeader, body: null };
      for (;;) {
        const message = await this.#nextMessage();
        if (message === null) return;
        yield message;
      }
    } finally {
      await this.cancel();
    }
  }

  /** Collects the rest of the stream. The table's batches own their memory. */
  async toTable(): Promise<Table> {
    const batches: RecordBatch[] = [];
    for await (const batch of this) batches.push(batch);
    return batches.length === 0 ? new Table(this.schema) : new Table(this.schema, batches);
  }

  /** The stream as the bytes of an Arrow IPC stream; for every Arrow type. Cancelling it cancels this reader. */
  toReadableStream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#state.begin(true);
    return arrowReadableStream(this.messages(), (reason) => this.cancel(reason));
  }

  /**
   * Cancels the stream and releases everything but the batches handed out. Idempotent; does nothing after the end.
   *
   * @param reason Becomes the cause of the error that a pending read gets
   */
  cancel(reason?: unknown): Promise<void> {
    return this.#state.cancel(reason);
  }

  /** As `cancel()`; what reads afterwards gets `closed`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#state.dispose();
  }

  #decode(): BatchDecoder {
    return this.#decoder ??= new BatchDecoder(this.schemaHeader, this.#limits);
  }

  #count({ header }: IpcMessage): void {
    this.#bytesUntilClock -= header.bodyLength;
    this.#state.count(header);
  }

  /** False once this task has run so long that others should have their turn. */
  #hasTurn(): boolean {
    if (--this.#messagesUntilClock > 0 && this.#bytesUntilClock > 0) return true;
    this.#messagesUntilClock = CLOCK_MESSAGES;
    this.#bytesUntilClock = CLOCK_BYTES;
    return performance.now() - this.#turnStartedMs < this.#turnMs;
  }

  /** Goes on if the next message has not arrived, is the end, or needs a codec to be loaded. */
  async #nextLater(
    pending: IpcMessage | null | Promise<IpcMessage | null>,
  ): Promise<IteratorResult<OwnedRecordBatch, undefined>> {
    try {
      for (;;) {
        const message = await pending;
        if (message === null) {
          await this.#state.finish();
          return { done: true, value: undefined };
        }
        this.#count(message);
        const batch = await this.#decode().decodeAsync(message);
        if (batch !== null) {
          this.#state.isBusy = false;
          return { done: false, value: batch };
        }
        pending = this.#input.next();
      }
    } catch (error) {
      return this.#state.reject(error);
    }
  }

  async #yieldThenNext(): Promise<IpcMessage | null> {
    waiting++;
    await new Promise<void>((resolve) => setImmediate(resolve));
    waiting--;
    this.#turnStartedMs = performance.now();
    this.#turnMs = waiting === 0 ? TURN_MS : SHARED_TURN_MS / (waiting + 1);
    return await this.#input.next();
  }

  async #nextMessage(): Promise<IpcMessage | null> {
    if (this.#state.isTaken) throw busyError();
    try {
      if (!this.#state.enter()) return null;
      const message = await (this.#hasTurn() ? this.#input.next() : this.#yieldThenNext());
      if (message === null) await this.#state.finish();
      else this.#count(message);
      this.#state.isBusy = false;
      return message;
    } catch (error) {
      return this.#state.reject(error);
    }
  }
}
