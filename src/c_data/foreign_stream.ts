/**
 * Imports what another library of this process exports as `ArrowArrayStream`.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { checkOptionNames } from "../options.ts";
import type { OwnedRecordBatch } from "../ipc/lazy_batch.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ForeignBatch } from "./foreign_batch.ts";
import { StreamCalls, type StreamName } from "./foreign_calls.ts";
import { ForeignMemory } from "./foreign_memory.ts";
import { type ForeignSchema, foreignSchema } from "./foreign_schema.ts";
import { readSchema } from "./schema_in.ts";
import { SentDictionaries } from "./sent_dictionaries.ts";
import { CStruct } from "./structs.ts";

/** Options of {@linkcode importStream}. */
export interface ImportStreamOptions {
  /**
   * Calls the stream on this thread. Faster for small batches of a library that never waits; while one that does wait is called,
   * nothing else of this program runs.
   *
   * @default {false}
   */
  blocking?: boolean;
  /** Cancels the stream. A call of the library that is under way is not interrupted, but its result is dropped. */
  signal?: AbortSignal;
}

const IMPORT_STREAM_KEYS: Record<keyof ImportStreamOptions, true> = { blocking: true, signal: true };

/** What a stream does with each structure that it got. */
export interface StreamKind {
  readonly stream: StreamName;
  readonly item: "ArrowArray" | "ArrowDeviceArray";
  /** Takes one over. */
  take(item: bigint, schema: ForeignSchema): ForeignBatch | Promise<ForeignBatch>;
}

/** Reads the structures of one stream. */
interface StreamInput {
  /** Has the next structure written to an address; nothing at the end. */
  next(out: bigint): void | Promise<void>;
}

/** Releases streams that were dropped. */
const dropped = new FinalizationRegistry<{ memory: Pick<ForeignMemory, "drop">; item: CStruct }>(({ memory, item }) => {
  item[Symbol.dispose]();
  memory.drop();
});

/**
 * A stream of record batches of another library of this process. Nothing is copied.
 *
 * Use it in one way: as an async iterable of batches, by `batches()` or by `messages()`. Leaving a loop early cancels the stream. It
 * is released at its end, after an error, and when it is cancelled or disposed.
 */
export class ForeignStream implements AsyncIterable<OwnedRecordBatch>, AsyncDisposable {
  readonly #kind: Pick<StreamKind, "item" | "take">;
  readonly #memory: Pick<ForeignMemory, "drop">;
  readonly #calls: StreamInput;
  readonly #item: CStruct;
  readonly #schema: ForeignSchema;
  readonly #signal: AbortSignal | undefined;
  /** The call that is under way. Never rejects. */
  #pending: Promise<unknown> | null = null;
  #error: unknown = null;
  #hasEnded = false;
  #closing: Promise<void> | null = null;
  /** Rejects when the stream is cancelled, so that nobody waits for a library that does not answer. */
  readonly #stop = Promise.withResolvers<never>();

  /** @ignore Use {@linkcode importStream}. */
  constructor(
    kind: Pick<StreamKind, "item" | "take">,
    memory: Pick<ForeignMemory, "drop">,
    calls: StreamInput,
    schema: ForeignSchema,
    signal: AbortSignal | undefined,
  ) {
    this.#kind = kind;
    this.#memory = memory;
    this.#calls = calls;
    this.#schema = schema;
    this.#item = new CStruct(kind.item);
    this.#signal = signal;
    this.#stop.promise.catch(() => {});
    dropped.register(this, { memory, item: this.#item }, this);
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** The schema message, for every Arrow type. */
  get schemaHeader(): MessageHeader {
    return this.#schema.header;
  }

  /** The schema. @throws {DipcError} `unsupported` if apache-arrow has no such type */
  get schema(): Schema {
    return this.#schema.decoded.batch.schema;
  }

  /**
   * The next batch, in place, or `null` at the end.
   *
   * @throws {DipcError} what the library reports, with its text; `invalid_data` if a structure contradicts the schema or itself;
   * `cancelled`; `invalid_argument` while an earlier call is pending. After an error the stream is over
   */
  next(): Promise<ForeignBatch | null> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#pending !== null) {
      return Promise.reject(
        new DipcError("invalid_argument", "cannot read the stream: an earlier read of it is not done; await it first"),
      );
    }
    if (this.#hasEnded) return Promise.resolve(null);
    return this.#read();
  }

  /** Runs over the batches as apache-arrow represents them, in place. */
  async *[Symbol.asyncIterator](): AsyncGenerator<OwnedRecordBatch, undefined> {
    for await (const batch of this.batches()) {
      try {
        yield batch.toRecordBatch();
      } finally {
        batch[Symbol.dispose]();
      }
    }
  }

  /** Runs over the batches in place, for every type and device. */
  async *batches(): AsyncGenerator<ForeignBatch, undefined> {
    try {
      for (let batch; (batch = await this.next()) !== null;) yield batch;
    } finally {
      this.#leave();
    }
  }

  /**
   * Runs over the messages, for every type: the schema, then dictionaries that are new or have changed, and batches. Their bodies are
   * in place for a reader in this process. The caller releases the body of each message.
   */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    const sent = new SentDictionaries(this.#schema.header.layout);
    let left: IpcMessage[] = [];
    try {
      yield { header: this.schemaHeader, body: null };
      for await (const batch of this.batches()) {
        left = sent.select(batch.toMessages());
        for (let message; (message = left.shift()) !== undefined;) yield message;
      }
    } finally {
      for (const { body } of left) body?.release();
      sent.close();
      this.#leave();
    }
  }

  /**
   * Cancels the stream and releases it, once a call that is under way has returned. Batches that were handed out stay. Idempotent;
   * does nothing after the end.
   *
   * @param reason Becomes the cause of the error that a pending read gets
   */
  cancel(reason?: unknown): Promise<void> {
    if (!this.#hasEnded) {
      this.#error ??= new DipcError("cancelled", "cannot go on reading: the imported stream was cancelled", {
        cause: reason,
      });
      this.#stop.reject(this.#error);
    }
    return this.#close();
  }

  /** As {@linkcode cancel}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }

  async #read(): Promise<ForeignBatch | null> {
    const call = this.#call();
    this.#pending = call.then((batch) => {
      this.#pending = null;
      if (this.#error !== null) batch?.[Symbol.dispose]();
    }, () => this.#pending = null);
    try {
      const batch = await Promise.race([call, this.#stop.promise]);
      if (batch === null) {
        this.#hasEnded = true;
        await this.#close();
      }
      return batch;
    } catch (error) {
      this.#error ??= error;
      void this.#close();
      throw this.#error;
    }
  }

  async #call(): Promise<ForeignBatch | null> {
    const { address } = this.#item;
    await this.#calls.next(address);
    return this.#item.isReleased ? null : await this.#kind.take(address, this.#schema);
  }

  /** Cancels, without waiting for a call that is under way. */
  #leave(): void {
    void this.cancel();
  }

  #onAbort = (): void => void this.cancel(this.#signal!.reason);

  #close(): Promise<void> {
    return this.#closing ??= this.#release();
  }

  async #release(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    await this.#pending;
    dropped.unregister(this);
    this.#item[Symbol.dispose]();
    this.#memory.drop();
  }
}

/** Takes a stream over and reads its schema. */
export async function openStream(
  kind: StreamKind,
  address: bigint,
  options: ImportStreamOptions,
): Promise<ForeignStream> {
  checkOptionNames("importStream", options, IMPORT_STREAM_KEYS);
  const { blocking = false, signal } = options;
  const memory = new ForeignMemory(kind.stream, address);
  try {
    const calls = new StreamCalls(kind.stream, memory.address, blocking);
    using schema = new CStruct("ArrowSchema");
    await calls.schema(schema.address);
    return new ForeignStream(kind, memory, calls, foreignSchema(readSchema(schema.address)), signal);
  } catch (error) {
    memory.drop();
    throw error;
  }
}
