/**
 * The rows of a query as a stream of batches, fetched as they are read.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { integerIn } from "../options.ts";
import { ConvertingGatherer } from "./converting_gatherer.ts";
import type { BatchSize, Gatherer } from "./gatherer.ts";
import { cancelledError, checkAborted, closedError } from "./library.ts";
import type { NativeConnection } from "./native.ts";
import type { NativeResult } from "./result.ts";
import { rowColumns } from "./row_columns.ts";
import { RowGatherer } from "./row_gatherer.ts";

/** Options of a query. */
export interface DuckDbQueryOptions {
  /**
   * Most rows of a batch, rounded up to whole chunks of DuckDB, which have 2,048.
   *
   * @default {65536}
   */
  batchRows?: number;
  /**
   * Bytes after which a batch ends even if it has fewer rows.
   *
   * @default {4194304}
   */
  batchBytes?: number;
  /** Interrupts the query. */
  signal?: AbortSignal;
}

const ACTION = "execute the query";
const DEFAULT_ROWS = 65_536, DEFAULT_BYTES = 4 * 2 ** 20;

/** Checks the options. @throws {DipcError} `invalid_argument` */
export function batchSize({ batchRows, batchBytes }: DuckDbQueryOptions): BatchSize {
  return {
    rows: integerIn("batchRows", batchRows ?? DEFAULT_ROWS, 1),
    bytes: integerIn("batchBytes", batchBytes ?? DEFAULT_BYTES, 1),
  };
}

/** Reads the batches of one result, one of them ahead. Known to the finalizer, so it does not know the stream. */
class Reading {
  readonly result: NativeResult;
  readonly #connection: NativeConnection;
  readonly #gatherer: Gatherer;
  #isClosed = false;
  #ahead: Promise<IpcMessage[] | null> | null = null;
  #closing: Promise<void> | null = null;

  constructor(connection: NativeConnection, result: NativeResult, size: BatchSize) {
    this.#connection = connection;
    this.result = result;
    const columns = rowColumns(result);
    this.#gatherer = columns === null
      ? new ConvertingGatherer(connection.library, result, size)
      : new RowGatherer(result, columns, size);
  }

  /** The messages of the next batch, `null` at the end. @throws {DipcError} What DuckDB reports */
  async next(): Promise<IpcMessage[] | null> {
    if (this.#isClosed) throw closedError("read the rows", "connection");
    const read = this.#ahead ??= this.#read();
    const messages = await read;
    // Whoever closes releases what was read ahead.
    if (this.#ahead !== read) throw closedError("read the rows", "connection");
    this.#ahead = null;
    if (messages === null) {
      await this.close();
      return null;
    }
    this.#ahead = this.#read();
    this.#ahead.catch(() => {});
    return messages;
  }

  #read(): Promise<IpcMessage[] | null> {
    return this.#connection.runLate(() => this.#isClosed ? Promise.resolve(null) : this.#gatherer.read());
  }

  /** Interrupts what is under way, and destroys the result. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    // At the end nothing reads them any more.
    this.#connection.stopSources();
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead !== null) {
      this.#connection.interrupt();
      const left = await ahead.catch(() => null);
      for (const { body } of left ?? []) body?.release();
    }
    await this.#connection.runLate(async () => {
      await this.#gatherer.close();
      await this.result.destroy();
    });
    if (this.#connection.stream === this) this.#connection.stream = null;
  }
}

/** Closes what was dropped without being read to its end. */
const dropped = new FinalizationRegistry<Reading>((reading) => void reading.close());

/**
 * The rows of a query. DuckDB executes it as the stream is read, so that its memory stays bounded; one batch is fetched ahead.
 *
 * Use it in one way: as an async iterable of batches, by `messages()`, or by `next()`. Leaving a loop early interrupts the query.
 */
export class DuckDbStream implements AsyncIterable<OwnedRecordBatch>, AsyncDisposable {
  readonly #reading: Reading;
  readonly #signal: AbortSignal | undefined;
  readonly #ready: IpcMessage[] = [];
  /** The connection, kept: one that nobody refers to is closed. */
  #owner: object | null;
  #error: unknown = null;
  #hasEnded = false;
  #decoder: BatchDecoder | null = null;

  /** @ignore Use `query` of a connection. */
  constructor(reading: Reading, owner: object, signal: AbortSignal | undefined) {
    this.#reading = reading;
    this.#owner = owner;
    this.#signal = signal;
    dropped.register(this, reading, this);
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#onAbort();
  }

  /**
   * Executes a query, and opens the stream of its rows.
   *
   * @param execute Executes it, within a call of the connection
   * @ignore
   */
  static async open(
    connection: NativeConnection,
    owner: object,
    execute: () => Promise<NativeResult>,
    options: DuckDbQueryOptions,
  ): Promise<DuckDbStream> {
    const size = batchSize(options);
    const { signal } = options;
    const reading = await connection.run(ACTION, signal, async () => {
      const result = await execute().catch((error) => {
        checkAborted(ACTION, signal);
        throw error;
      });
      // Within the turn: what comes next must see it, be it a query or the end of the connection.
      try {
        return connection.stream = new Reading(connection, result, size);
      } catch (error) {
        await result.destroy();
        throw error;
      }
    });
    return new DuckDbStream(reading, owner, signal);
  }

  /** The schema message, for every Arrow type. */
  get schemaHeader(): MessageHeader {
    return this.#reading.result.schema;
  }

  /** The schema. @throws {DipcError} `unsupported` if apache-arrow has no such type */
  get schema(): Schema {
    return this.#decode().schema;
  }

  /**
   * The next message: a dictionary or a batch, `null` at the end. The caller releases its body.
   *
   * @throws {DipcError} What DuckDB reports; `cancelled`. After an error the stream is over
   */
  async next(): Promise<IpcMessage | null> {
    for (;;) {
      const message = this.#ready.shift();
      if (message !== undefined) return message;
      if (this.#error !== null) throw this.#error;
      if (this.#hasEnded) return null;
      let messages;
      try {
        messages = await this.#reading.next();
      } catch (error) {
        this.#error ??= error;
        await this.#end();
        throw this.#error;
      }
      if (this.#error !== null) {
        for (const { body } of messages ?? []) body?.release();
        throw this.#error;
      }
      if (messages !== null) {
        this.#ready.push(...messages);
        continue;
      }
      this.#hasEnded = true;
      await this.#end();
    }
  }

  /** Runs over the messages: the schema, then dictionaries and batches. The caller releases the body of each. */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    try {
      yield { header: this.schemaHeader, body: null };
      for (let message; (message = await this.next()) !== null;) yield message;
    } finally {
      await this.close();
    }
  }

  /** Runs over the batches as apache-arrow represents them. Each is valid until the next one, or until it is disposed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<OwnedRecordBatch, undefined> {
    const decoder = this.#decode();
    try {
      for (let message; (message = await this.next()) !== null;) {
        const batch = decoder.decode(message);
        if (batch === null) continue;
        try {
          yield batch;
        } finally {
          batch[Symbol.dispose]();
        }
      }
    } finally {
      await this.close();
    }
  }

  /** Interrupts the query and releases what belongs to it. Batches that were handed out stay. Idempotent. */
  async close(): Promise<void> {
    if (!this.#hasEnded) this.#error ??= new DipcError("cancelled", "cannot go on reading: the query was cancelled");
    await this.#end();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #decode(): BatchDecoder {
    return this.#decoder ??= new BatchDecoder(this.schemaHeader);
  }

  #onAbort = (): void => {
    this.#error ??= cancelledError(ACTION, this.#signal!);
    void this.#end();
  };

  async #end(): Promise<void> {
    dropped.unregister(this);
    this.#owner = null;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const { body } of this.#ready.splice(0)) body?.release();
    await this.#reading.close();
  }
}
