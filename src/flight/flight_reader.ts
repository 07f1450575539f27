/**
 * The reader of a Flight stream: batches with their application metadata.
 *
 * @module
 */
import { type RecordBatch, type Schema, Table } from "apache-arrow";
import { DipcError, withBatches } from "../errors.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import { busyError, readTwice } from "../stream/message_input.ts";
import { plural } from "../text.ts";
import type { FlightStream } from "./flight_stream.ts";

/** A batch, application metadata, or both. */
export interface FlightChunk {
  /** The batch; `null` if the frame had only application metadata. It owns its memory. */
  readonly batch: OwnedRecordBatch | null;
  /** Application metadata; `null` if there is none. */
  readonly appMetadata: Uint8Array<ArrayBuffer> | null;
}

/**
 * Reads one stream of Flight. Made by `doGet` and `doExchange`.
 *
 * Use it in one way, once: as an async iterable of chunks, by `messages()` or by `toTable()`. An incomplete stream always throws;
 * it never just ends. Reading it again after its end throws `closed`. Leaving a loop early cancels the call; that of an exchange continues until it is cancelled.
 */
export class FlightReader implements AsyncIterable<FlightChunk>, AsyncDisposable {
  readonly #stream: FlightStream;
  readonly #limits: ReaderLimits;
  readonly #isExchange: boolean;
  #decoder: BatchDecoder | null = null;
  #batches = 0;
  #isBusy = false;
  #isOver = false;
  /** What reading gets after the stream has ended early. */
  #error: unknown = null;

  /** @ignore Use `doGet` or `doExchange`. */
  constructor(stream: FlightStream, limits: ReaderLimits, isExchange = false) {
    this.#stream = stream;
    this.#limits = limits;
    this.#isExchange = isExchange;
  }

  /**
   * The schema message as it arrived; available for every Arrow type.
   *
   * @throws {DipcError} `invalid_argument` in an exchange until the server has begun its stream, and if the stream has none
   */
  get schemaHeader(): MessageHeader {
    const { schema } = this.#stream;
    if (schema === null) {
      throw new DipcError(
        "invalid_argument",
        this.#isOver || !this.#isExchange
          ? "cannot return the schema: the stream has none; the schema of its FlightInfo says what its columns would be"
          : "cannot return the schema: it has not arrived yet; read from the stream first",
      );
    }
    return schema;
  }

  /**
   * The schema.
   *
   * @throws {DipcError} `unsupported` if apache-arrow has no such type; the message names column and type
   */
  get schema(): Schema {
    return this.#decode().schema;
  }

  /**
   * The next chunk; `done` after the end of a complete stream.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`, `unsupported`, and
   * the server's status
   */
  async next(): Promise<IteratorResult<FlightChunk, undefined>> {
    this.#enter();
    try {
      while (!this.#isOver) {
        const item = await this.#stream.nextItem();
        if (item === null) {
          this.#isOver = true;
          break;
        }
        const { message, appMetadata } = item;
        if (message === null) {
          if (appMetadata !== null) return { done: false, value: { batch: null, appMetadata } };
          continue;
        }
        const batch = await this.#batchOf(message);
        if (batch !== null) {
          this.#batches++;
          return { done: false, value: { batch, appMetadata } };
        }
        if (appMetadata !== null) return { done: false, value: { batch: null, appMetadata } };
      }
      return { done: true, value: undefined };
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isBusy = false;
    }
  }

  /** Iterates over the chunks. Leaving the loop early cancels the stream, but not an exchange. */
  [Symbol.asyncIterator](): AsyncIterableIterator<FlightChunk, undefined> {
    this.#begin();
    return {
      next: () => this.next(),
      return: async () => {
        if (!this.#isExchange) await this.cancel();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Iterates over the raw messages: the schema, then dictionaries and batches, each with its `appMetadata`. The caller must
   * release the body of each. Leaving the loop early cancels the stream.
   */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    this.#begin();
    this.#enter();
    let isWhole = false;
    try {
      if (this.#stream.schema !== null) yield { header: this.#stream.schema, body: null };
      for (;;) {
        const item = await this.#stream.nextItem();
        if (item === null) {
          isWhole = this.#isOver = true;
          return;
        }
        if (item.message !== null) yield item.message;
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isBusy = false;
      if (!isWhole && !this.#isExchange) await this.cancel();
      else if (!this.#isExchange) await this.#stream.close();
    }
  }

  /** Collects the rest of the stream; application metadata is dropped. The table's batches own their memory. */
  async toTable(): Promise<Table> {
    const batches: RecordBatch[] = [];
    for await (const { batch } of this) if (batch !== null) batches.push(batch);
    // A stream without a schema is an empty one.
    if (this.#stream.schema === null) return new Table();
    return batches.length === 0 ? new Table(this.schema) : new Table(this.schema, batches);
  }

  /** Cancels the call and releases everything but the batches that were returned. Idempotent; does nothing after the end. */
  async cancel(): Promise<void> {
    if (!this.#isOver) this.#end("cancelled", "cancelled");
    await this.#stream.close();
  }

  /** As `cancel()`; what reads afterwards gets `closed`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#error === null) this.#end("closed", "disposed");
    await this.#stream.close();
  }

  #end(code: "cancelled" | "closed", how: string): void {
    this.#isOver = true;
    const count = plural(this.#batches, "batch", "batches");
    this.#error = new DipcError(code, `cannot go on reading: the stream was ${how} after ${count}`, {
      batches: this.#batches,
    });
  }

  #begin(): void {
    if (this.#error !== null) throw this.#error;
    if (this.#isOver) throw readTwice();
  }

  #enter(): void {
    if (this.#isBusy) throw busyError();
    if (this.#error !== null) throw this.#error;
    this.#isBusy = true;
  }

  async #batchOf(message: IpcMessage): Promise<OwnedRecordBatch | null> {
    if (message.header.kind === "schema") return null;
    let decoder: BatchDecoder;
    try {
      decoder = this.#decode();
    } catch (error) {
      message.body?.release();
      throw error;
    }
    return await decoder.decodeAsync(message);
  }

  #decode(): BatchDecoder {
    return this.#decoder ??= new BatchDecoder(this.schemaHeader, this.#limits);
  }

  #fail(error: unknown): unknown {
    this.#isOver = true;
    void this.#stream.close();
    // A read that was pending when the stream was cancelled does not replace that error.
    return this.#error ??= withBatches(error, this.#batches);
  }
}
