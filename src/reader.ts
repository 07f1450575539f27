/**
 * The reader of one stream: record batches, raw messages, a table, or the bytes of an Arrow stream.
 *
 * @module
 */
import { type RecordBatch, type Schema, Table } from "apache-arrow";
import { DipcError } from "./errors.ts";
import { arrowReadableStream } from "./formats/readable_stream.ts";
import { BatchDecoder, type OwnedRecordBatch } from "./ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "./ipc/message.ts";
import type { ReaderLimits } from "./limits.ts";
import { type EndpointStats, type RouteName, routeOf, type StreamRoutes } from "./routes/route.ts";
import type { MessageInput } from "./stream/message_input.ts";
import { plural } from "./text.ts";

export type { EndpointStats, RouteName } from "./routes/route.ts";

/** Longest stretch of work without letting timers, signals and other tasks run, in milliseconds. */
const TURN_MS = 5;
/** The clock is looked at once in so many messages, or bytes. */
const CLOCK_MESSAGES = 32;
const CLOCK_BYTES = 4 * 2 ** 20;

/** Counters and facts of a {@linkcode DissociatedStreamReader}. */
export interface ReaderStats {
  /** Rows of the batches that have arrived. */
  rows: number;
  /** Record batches that have arrived. */
  batches: number;
  /** Dictionary batches that have arrived. */
  dictionaries: number;
  /** Bytes of their bodies. */
  bodyBytes: number;
  /** Bytes of metadata, without prefixes. */
  metadataBytes: number;
  /** Seconds from the start of `connect` to now, or to the end of the stream. */
  seconds: number;
  /** `bodyBytes` a second. */
  bytesPerSecond: number;
  /** Seconds from the start of `connect` to the first record batch; `null` before it. */
  firstBatchSeconds: number | null;
  /** Transports that UCX chose, such as `["posix"]`. */
  transports: string[];
  /** True once the stream has arrived whole. */
  complete: boolean;
  /** How the data comes: `"flight"` where any part of it comes by DoGet. May change from `"ucx"` up to the first batch. */
  route: RouteName;
  /** Why that route was taken, in words. */
  routeReason: string;
  /** The parts of the stream: one for a `ucx:` URI, as many as there are endpoints for a flight. */
  endpoints: EndpointStats[];
}

/** What {@linkcode DissociatedStreamReader} is made from. */
export interface ReaderParts {
  /** The running stream, its schema taken. */
  input: MessageInput;
  /** The schema message. */
  schema: MessageHeader;
  /** The routes that its parts take. */
  routes: StreamRoutes;
  limits: ReaderLimits;
  /** Gives the stream up. */
  signal?: AbortSignal;
  /** `performance.now()` when `connect` was called. */
  startedMs: number;
}

/**
 * Reads one stream. Made by {@linkcode connect}.
 *
 * Use it in one way: as an async iterable of batches, by `messages()`, `toTable()` or `toReadableStream()`. A stream that
 * does not arrive whole throws; it never just ends.
 *
 * A stream of a Flight server reports by a `route` event, a `CustomEvent<EndpointStats>`, for each endpoint which route its
 * data takes, once that is settled: when its first batch has arrived. `stats.route` and `stats.routeReason` say it at any time.
 *
 * A batch owns its memory. Dispose it (`for await (using batch of reader)`) to give the memory back at once; otherwise it
 * comes back when it is collected. A disposed batch throws on access.
 */
export class DissociatedStreamReader extends EventTarget implements AsyncIterable<OwnedRecordBatch>, AsyncDisposable {
  readonly #input: MessageInput;
  readonly #limits: ReaderLimits;
  readonly #routes: StreamRoutes;
  readonly #startedMs: number;
  readonly #signal?: AbortSignal;
  #endedMs = 0;
  #firstBatchMs = 0;
  #rows = 0;
  #batches = 0;
  #dictionaries = 0;
  #bodyBytes = 0;
  #complete = false;
  #decoder: BatchDecoder | null = null;
  #undecoded: IpcMessage | null = null;
  #busy = false;
  #error: unknown = null;
  #closing: Promise<void> | null = null;
  #messagesUntilClock = CLOCK_MESSAGES;
  #bytesUntilClock = CLOCK_BYTES;
  #turnStartedMs: number;

  /** The schema message as it arrived; there for every Arrow type. */
  readonly schemaHeader: MessageHeader;

  /** @ignore Use {@linkcode connect}. */
  constructor(parts: ReaderParts) {
    super();
    this.#input = parts.input;
    this.schemaHeader = parts.schema;
    this.#limits = parts.limits;
    this.#routes = parts.routes;
    this.#routes.onSettled = (detail) => this.dispatchEvent(new CustomEvent("route", { detail }));
    this.#startedMs = parts.startedMs;
    this.#turnStartedMs = performance.now();
    this.#signal = parts.signal;
    this.#signal?.addEventListener("abort", this.#onAbort);
  }

  /**
   * The schema.
   *
   * @throws {DipcError} `unsupported` where apache-arrow has no such type; the message names column and type
   */
  get schema(): Schema {
    return this.#decode().schema;
  }

  /** Counters up to now. */
  get stats(): ReaderStats {
    const seconds = ((this.#endedMs || performance.now()) - this.#startedMs) / 1000;
    return {
      rows: this.#rows,
      batches: this.#batches,
      dictionaries: this.#dictionaries,
      bodyBytes: this.#bodyBytes,
      metadataBytes: this.#input.metadataBytes,
      seconds,
      bytesPerSecond: seconds > 0 ? this.#bodyBytes / seconds : 0,
      firstBatchSeconds: this.#firstBatchMs === 0 ? null : (this.#firstBatchMs - this.#startedMs) / 1000,
      transports: [...this.#routes.transports],
      complete: this.#complete,
      ...routeOf(this.#routes),
      endpoints: this.#routes.endpoints.map((endpoint) => ({ ...endpoint })),
    };
  }

  /**
   * The next record batch; `done` once the stream was whole.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`, `unsupported`
   */
  next(): Promise<IteratorResult<OwnedRecordBatch, undefined>> {
    if (this.#busy && this.#error === null) return Promise.reject(busyError());
    try {
      if (!this.#enter()) return Promise.resolve({ done: true, value: undefined });
      while (this.#hasTurn()) {
        const message = this.#input.next();
        if (message === null || message instanceof Promise || !this.#decode().ready(message.header)) {
          return this.#nextLater(message);
        }
        this.#count(message);
        const batch = this.#decoder!.decode(message);
        if (batch === null) continue;
        this.#busy = false;
        return Promise.resolve({ done: false, value: batch });
      }
      return this.#nextLater(this.#yieldThenNext());
    } catch (error) {
      return this.#reject(error);
    }
  }

  /** Runs over the batches. Leaving the loop early cancels the stream. */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedRecordBatch, undefined> {
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
   * Runs over the raw messages: the schema, then dictionaries and batches. Whoever takes a message releases its body.
   * Works for every Arrow type. Leaving the loop early cancels the stream.
   */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
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
    return arrowReadableStream(this.messages(), (reason) => this.cancel(reason));
  }

  /**
   * Gives the stream up and releases everything but the batches handed out. Idempotent; does nothing after the end.
   *
   * @param reason Becomes the cause of the error that a pending read gets
   */
  cancel(reason?: unknown): Promise<void> {
    if (this.#error === null && !this.#complete) {
      const batches = this.#batches;
      this.#error = new DipcError(
        "cancelled",
        `the stream was cancelled after ${plural(batches, "batch", "batches")}`,
        {
          cause: reason,
          batches,
        },
      );
    }
    return this.#close(false);
  }

  /** The same as `cancel()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }

  #onAbort = (): void => void this.cancel(this.#signal!.reason);

  #decode(): BatchDecoder {
    return this.#decoder ??= new BatchDecoder(this.schemaHeader, this.#limits);
  }

  /** Begins a read. False after the end of the stream. */
  #enter(): boolean {
    if (this.#error !== null) throw this.#error;
    if (this.#complete) return false;
    return this.#busy = true;
  }

  #count({ header }: IpcMessage): void {
    this.#bodyBytes += header.bodyLength;
    this.#bytesUntilClock -= header.bodyLength;
    if (header.kind === "batch") {
      this.#rows += header.rows;
      this.#batches++;
      this.#firstBatchMs ||= performance.now();
    } else {
      this.#dictionaries++;
    }
  }

  /** False once this task has run for so long that others should have their turn. */
  #hasTurn(): boolean {
    if (--this.#messagesUntilClock > 0 && this.#bytesUntilClock > 0) return true;
    this.#messagesUntilClock = CLOCK_MESSAGES;
    this.#bytesUntilClock = CLOCK_BYTES;
    return performance.now() - this.#turnStartedMs < TURN_MS;
  }

  /** Goes on where the next message is not at hand, is the end, or needs a codec to be loaded. */
  async #nextLater(
    pending: IpcMessage | null | Promise<IpcMessage | null>,
  ): Promise<IteratorResult<OwnedRecordBatch, undefined>> {
    try {
      for (;;) {
        const message = await pending;
        if (message === null) {
          await this.#finish();
          return { done: true, value: undefined };
        }
        this.#count(message);
        const batch = await this.#decode().decodeAsync(message);
        if (batch !== null) {
          this.#busy = false;
          return { done: false, value: batch };
        }
        pending = this.#input.next();
      }
    } catch (error) {
      return this.#reject(error);
    }
  }

  async #yieldThenNext(): Promise<IpcMessage | null> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#turnStartedMs = performance.now();
    return await this.#input.next();
  }

  async #nextMessage(): Promise<IpcMessage | null> {
    if (this.#busy && this.#error === null) throw busyError();
    try {
      if (!this.#enter()) return null;
      const message = await (this.#hasTurn() ? this.#input.next() : this.#yieldThenNext());
      if (message === null) await this.#finish();
      else this.#count(message);
      this.#busy = false;
      return message;
    } catch (error) {
      return this.#reject(error);
    }
  }

  /** The stream was whole. */
  async #finish(): Promise<void> {
    this.#complete = true;
    this.#busy = false;
    await this.#close(true);
  }

  /** Makes `error` this stream's end: says how much had arrived, releases everything, and throws it. */
  async #reject(error: unknown): Promise<never> {
    this.#busy = false;
    if (this.#error === null) {
      this.#endedMs ||= performance.now();
      this.#error = error instanceof DipcError
        ? new DipcError(error.code, error.message, {
          cause: error.cause ?? error,
          foreign: error.foreign,
          batches: this.#batches,
        })
        : error;
    }
    await this.#close(false);
    throw this.#error;
  }

  #close(flush: boolean): Promise<void> {
    this.#endedMs ||= performance.now();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return this.#closing ??= this.#input.close({ flush });
  }
}

/** A second read at the same time fails; the first and the stream go on. */
function busyError(): DipcError {
  return new DipcError("invalid_argument", "an earlier read of this stream is not done: await it first");
}
