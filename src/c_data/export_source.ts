/**
 * What can be exported as a stream: tables, iterables of record batches, and everything that gives messages.
 *
 * @module
 */
import { type RecordBatch, type Schema, Table } from "apache-arrow";
import { equalBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { type Exportable, exportableOf } from "./export.ts";
import { MessageArrays } from "./message_source.ts";
import { schemaHeaderOf } from "./schema_out.ts";

/** A stream that is read as messages, such as the reader of `connect`, a `FlightReader` or a `ForeignStream`. */
export interface MessageReader {
  /** The schema message. */
  readonly schemaHeader: MessageHeader;
  /** The schema, dictionaries and batches; the taker releases the bodies. */
  messages(): AsyncIterable<IpcMessage>;
}

/** A `Dataset`, as `fromTable`, `openPath` and others make it. */
export interface MessageDataset {
  /** The schema message. */
  readonly schema: MessageHeader;
  /** Starts a run. */
  open(): MessageRun | Promise<MessageRun>;
}

/** One run through a {@linkcode MessageDataset}. */
export interface MessageRun {
  /** The schema message of this run, if it is not that of the dataset. */
  readonly schema?: MessageHeader;
  /** The next dictionary or batch, `null` at the end. */
  next(): IpcMessage | null | Promise<IpcMessage | null>;
  /** Ends the run. */
  close(): void | Promise<void>;
}

/** What `exportStream` takes. */
export type StreamSource =
  | Table
  | Iterable<RecordBatch>
  | AsyncIterable<RecordBatch>
  | MessageReader
  | MessageDataset;

/** A source that is ready to be exported. */
export interface ExportSource {
  readonly schema: VerifiedHeader;
  /** The next batch, `null` at the end. Returns no promise if it is at hand. */
  next(): Exportable | null | Promise<Exportable | null>;
  /** Ends the use of the source. Idempotent. */
  close(): void | Promise<void>;
}

/**
 * Opens a source.
 *
 * @param source What is to be exported
 * @param schema Schema of an iterable, for one that may be empty
 * @throws {DipcError} `invalid_argument` if it is nothing that can be exported, or an iterable without a schema and without a batch;
 * what the source throws
 */
export async function openSource(source: StreamSource, schema?: Schema): Promise<ExportSource> {
  if (source instanceof Table) return batchSource(source.batches[Symbol.iterator](), false, source.schema);
  const any = source as Partial<MessageReader & MessageDataset & AsyncIterable<RecordBatch> & Iterable<RecordBatch>>;
  if (typeof any.messages === "function") return readerSource(source as MessageReader);
  if (typeof any.open === "function") return await datasetSource(source as MessageDataset);
  const isAsync = typeof any[Symbol.asyncIterator] === "function";
  if ((!isAsync && typeof any[Symbol.iterator] !== "function") || typeof source === "string") {
    throw new DipcError(
      "invalid_argument",
      `cannot export ${typeof source} as a stream: give a table, batches, a reader or a dataset`,
    );
  }
  // What can be iterated once hands its batches over.
  const iterator = isAsync
    ? (source as AsyncIterable<RecordBatch>)[Symbol.asyncIterator]()
    : (source as Iterable<RecordBatch>)[Symbol.iterator]();
  return await batchSource(iterator, isAsync || iterator as unknown === source, schema);
}

async function batchSource(
  iterator: Iterator<RecordBatch> | AsyncIterator<RecordBatch>,
  isOwned: boolean,
  schema: Schema | undefined,
): Promise<ExportSource> {
  const batches = new BatchIterator(iterator, isOwned);
  const header = schema ?? await batches.schema();
  if (header === null) {
    throw new DipcError(
      "invalid_argument",
      "cannot export a stream: there is no batch to take the schema from; give the schema, too",
    );
  }
  return batches.source(schemaHeaderOf(header));
}

/** Batches in order, of which the first one may have been looked at. */
class BatchIterator {
  readonly #iterator: Iterator<RecordBatch> | AsyncIterator<RecordBatch>;
  readonly #isOwned: boolean;
  #first: IteratorResult<RecordBatch> | null = null;
  #isClosed = false;

  constructor(iterator: Iterator<RecordBatch> | AsyncIterator<RecordBatch>, isOwned: boolean) {
    this.#iterator = iterator;
    this.#isOwned = isOwned;
  }

  /** Schema of the first batch, `null` if there is none. */
  async schema(): Promise<Schema | null> {
    this.#first = await this.#iterator.next();
    return this.#first.done ? null : this.#first.value.schema;
  }

  source(schema: VerifiedHeader): ExportSource {
    return { schema, next: () => this.#next(schema), close: () => this.#close() };
  }

  #next(schema: VerifiedHeader): Exportable | null | Promise<Exportable | null> {
    const result = this.#first ?? this.#iterator.next();
    this.#first = null;
    return result instanceof Promise ? result.then((result) => this.#take(result, schema)) : this.#take(result, schema);
  }

  #take(result: IteratorResult<RecordBatch>, schema: VerifiedHeader): Exportable | null {
    if (result.done) {
      this.#isClosed = true;
      return null;
    }
    const batch = result.value;
    try {
      checkSchema(batch, schema);
      return exportableOf(batch);
    } finally {
      if (this.#isOwned) disposeBatch(batch);
    }
  }

  async #close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isOwned && this.#first?.done === false) disposeBatch(this.#first.value);
    await this.#iterator.return?.();
  }
}

function checkSchema(batch: RecordBatch, schema: VerifiedHeader): void {
  const own = schemaHeaderOf(batch.schema);
  if (own === schema || equalBytes(own.bytes, schema.bytes)) return;
  throw new DipcError(
    "invalid_argument",
    `cannot export a batch of ${batch.schema}: the stream has another schema; give batches of one schema`,
  );
}

function disposeBatch(batch: RecordBatch): void {
  (batch as Partial<Disposable>)[Symbol.dispose]?.();
}

function readerSource(reader: MessageReader): ExportSource {
  const schema = schemaHeaderOf(reader.schemaHeader);
  const arrays = new MessageArrays(schema);
  const iterator = reader.messages()[Symbol.asyncIterator]();
  return {
    schema,
    next: async () => {
      for (;;) {
        const { done, value } = await iterator.next();
        if (done) return null;
        const taken = await arrays.take(value);
        if (taken !== null) return taken;
      }
    },
    close: async () => {
      arrays.close();
      await iterator.return?.();
    },
  };
}

async function datasetSource(dataset: MessageDataset): Promise<ExportSource> {
  const run = await dataset.open();
  const schema = schemaHeaderOf(run.schema ?? dataset.schema);
  const arrays = new MessageArrays(schema);
  const next = (): Exportable | null | Promise<Exportable | null> => {
    for (;;) {
      const message = run.next();
      if (message === null) return null;
      if (message instanceof Promise) {
        return message.then(async (message) => message === null ? null : await arrays.take(message) ?? await next());
      }
      const taken = arrays.take(message);
      if (taken instanceof Promise) return taken.then(async (taken) => taken ?? await next());
      if (taken !== null) return taken;
    }
  };
  return {
    schema,
    next,
    close: async () => {
      arrays.close();
      await run.close();
    },
  };
}
