/**
 * apache-arrow tables and record batches as datasets.
 *
 * @module
 */
import type { RecordBatch, Schema, Table } from "apache-arrow";
import { DipcError, LocalError } from "../errors.ts";
import { BatchEncoder, encodeSchema } from "../ipc/encode.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { integerIn } from "../options.ts";
import type { Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { textOf } from "../text.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { ResidentDataset } from "./resident.ts";

/** Options of {@linkcode fromTable} and {@linkcode fromBatches}. */
export interface TableOptions {
  /** Pool of the bodies. Default: the isolate's shared host pool. */
  pool?: Pool;
  /** Most rows of a batch. Default: batches stay as they are, but one of more than 64 MiB is cut into parts of about 16 MiB. */
  batchRows?: number;
}

/** Batches above this are cut if no size was requested, in bytes. */
const LARGE_BATCH_BYTES = 64 * 2 ** 20;
/** Approximate size of their parts, in bytes. */
const PART_BYTES = 16 * 2 ** 20;

/**
 * A table as a dataset. It is encoded once, into native memory, and can then be served many times; the table itself is
 * no longer needed.
 *
 * @example Usage
 * ```ts ignore
 * const numbers = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
 * await using server = await serve({ datasets: { numbers } });
 * ```
 *
 * @param table The table
 * @param options Pool and batch size
 * @returns the dataset; `close()` frees its memory
 * @throws {DipcError} `unsupported`, `out_of_memory`, `invalid_argument`
 */
// deno-lint-ignore require-await -- all sources return promises, and failures are rejections
export async function fromTable(table: Table, options: TableOptions = {}): Promise<Dataset> {
  if (!Array.isArray((table as Partial<Table> | undefined)?.batches)) {
    throw new LocalError("invalid_argument", `cannot take ${typeof table} as a table: give a Table of apache-arrow`);
  }
  const batchRows = checkedBatchRows(options);
  const encoder = new BatchEncoder(table.schema, options.pool ?? hostPool());
  const messages: IpcMessage[] = [];
  try {
    for (const batch of table.batches) {
      for (const part of cut(batch, batchRows)) messages.push(...encoder.encode(part));
    }
  } catch (error) {
    for (const message of messages) message.body?.release();
    throw error;
  }
  return new ResidentDataset(encoder.schemaHeader, messages);
}

/** Record batches in any form: an array, a generator, a stream, or a function that starts one of these anew. */
export type BatchSource =
  | Iterable<RecordBatch>
  | AsyncIterable<RecordBatch>
  | (() => Iterable<RecordBatch> | AsyncIterable<RecordBatch>);

/**
 * Record batches as a dataset, encoded on request.
 *
 * An array (or another iterable that starts anew each time) and a function can be served many times. A generator, a stream
 * or a reader can be served once; its batches are taken over, that is, disposed after they have been encoded.
 *
 * @example Usage
 * ```ts ignore
 * async function* measurements() {
 *   while (true) yield await nextBatch();
 * }
 * const live = await fromBatches(measurements(), schema);
 * ```
 *
 * @param source The batches
 * @param schema Their schema; without it the first batch is fetched to learn it
 * @param options Pool and batch size
 * @throws {DipcError} `invalid_argument` if there is neither a schema nor a batch; what the source throws as `io`
 */
export async function fromBatches(
  source: BatchSource,
  schema?: Schema,
  options: TableOptions = {},
): Promise<Dataset> {
  const batchRows = checkedBatchRows(options);
  const pool = options.pool ?? hostPool();
  const again = restart(source);
  let held: HeldBatches | null = again === null
    ? new HeldBatches(iterate(source as AsyncIterable<RecordBatch>), true)
    : null;
  if (schema === undefined) {
    const batches = held ?? new HeldBatches(again!(), false);
    const first = await batches.peek();
    schema = first?.schema;
    if (held === null) await batches.close();
    if (schema === undefined) {
      throw new LocalError(
        "invalid_argument",
        "cannot learn the schema: there is no batch to take it from; pass the schema, too",
      );
    }
  }
  const known = schema;
  let taken: HeldBatches | null = null;
  return {
    schema: encodeSchema(known),
    readOnce: again === null,
    open({ signal } = {}): MessageStream {
      let batches: HeldBatches;
      if (again !== null) {
        batches = new HeldBatches(again(), false);
      } else if (held !== null) {
        taken = batches = held;
        held = null;
      } else {
        // Why the first run failed says more than that there was one.
        if (taken!.failure !== null) throw taken!.failure;
        throw new LocalError(
          "busy",
          "cannot read the batches again: they can be read only once; pass an array, or a function that starts anew",
        );
      }
      return new BatchRun(batches, new BatchEncoder(known, pool), batchRows, signal);
    },
    async close(): Promise<void> {
      await held?.close();
    },
  };
}

type BatchIterator = Iterator<RecordBatch> | AsyncIterator<RecordBatch>;

/** How to start anew, or null if the source can be read only once. */
function restart(source: BatchSource): (() => BatchIterator) | null {
  if (typeof source === "function") return () => iterate(source());
  if (Array.isArray(source)) return () => source[Symbol.iterator]();
  if (Symbol.asyncIterator in source) return null;
  if (!(Symbol.iterator in source)) {
    throw new LocalError(
      "invalid_argument",
      `cannot read the batches: expected an iterable or a function, found ${typeof source}`,
    );
  }
  // An iterator returns itself when it is iterated, a collection returns a new iterator each time.
  const one = source[Symbol.iterator]();
  return one === source as unknown ? null : () => source[Symbol.iterator]();
}

function iterate(source: Iterable<RecordBatch> | AsyncIterable<RecordBatch>): BatchIterator {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
}

/** An iterator of batches whose first one may have been peeked at. */
class HeldBatches {
  readonly #iterator: BatchIterator;
  /** Whether each batch belongs to its taker, which disposes of it. */
  readonly owned: boolean;
  #first: RecordBatch | null = null;
  #hasEnded = false;
  #failure: DipcError | null = null;

  constructor(iterator: BatchIterator, owned: boolean) {
    this.#iterator = iterator;
    this.owned = owned;
  }

  /** What the source has failed with, if it did. */
  get failure(): DipcError | null {
    return this.#failure;
  }

  async peek(): Promise<RecordBatch | null> {
    return this.#first ??= await this.next();
  }

  next(): RecordBatch | null | Promise<RecordBatch | null> {
    const first = this.#first;
    if (first !== null) {
      this.#first = null;
      return first;
    }
    if (this.#hasEnded) return null;
    let result;
    try {
      result = this.#iterator.next();
    } catch (cause) {
      throw this.#failed(cause);
    }
    return result instanceof Promise
      ? result.then((result) => this.#take(result), (cause) => Promise.reject(this.#failed(cause)))
      : this.#take(result);
  }

  async close(): Promise<void> {
    if (this.owned) dispose(this.#first);
    this.#first = null;
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // An error of the source no longer matters: its batches are not needed.
    try {
      await this.#iterator.return?.();
    } catch { /* see above */ }
  }

  #take(result: IteratorResult<RecordBatch>): RecordBatch | null {
    if (!result.done) return result.value;
    this.#hasEnded = true;
    return null;
  }

  #failed(cause: unknown): DipcError {
    this.#hasEnded = true;
    return this.#failure = cause instanceof DipcError
      ? cause
      : new LocalError("io", `cannot read the batches: their source failed: ${textOf(cause)}`, { cause });
  }
}

class BatchRun implements MessageStream {
  readonly #batches: HeldBatches;
  readonly #encoder: BatchEncoder;
  readonly #batchRows: number | null;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.close();
  #parts: Iterator<RecordBatch> | null = null;
  #current: RecordBatch | null = null;
  #queue: IpcMessage[] = [];
  #isClosed = false;

  constructor(batches: HeldBatches, encoder: BatchEncoder, batchRows: number | null, signal: AbortSignal | undefined) {
    this.#batches = batches;
    this.#encoder = encoder;
    this.#batchRows = batchRows;
    this.#signal = signal;
    if (signal?.aborted) void this.close();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    for (;;) {
      if (this.#isClosed) {
        throw new LocalError("closed", "cannot read the batches: the run through them was closed", {
          cause: this.#signal?.reason,
        });
      }
      const message = this.#queue.shift() ?? this.#encodePart();
      if (message !== null) return message;
      const batch = this.#batches.next();
      if (batch === null) return null;
      if (batch instanceof Promise) return this.#wait(batch);
      this.#start(batch);
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const message of this.#queue.splice(0)) message.body?.release();
    this.#endBatch();
    await this.#batches.close();
  }

  async #wait(pending: Promise<RecordBatch | null>): Promise<IpcMessage | null> {
    const batch = await pending;
    if (batch === null) return null;
    if (this.#isClosed && this.#batches.owned) dispose(batch);
    else this.#start(batch);
    return await this.next();
  }

  #start(batch: RecordBatch): void {
    this.#current = batch;
    this.#parts = cut(batch, this.#batchRows);
  }

  /** The first message of the next part of the batch under way, the others queued; null once it is used up. */
  #encodePart(): IpcMessage | null {
    const part = this.#parts?.next();
    if (part === undefined || part.done) {
      this.#endBatch();
      return null;
    }
    this.#queue = this.#encoder.encode(part.value);
    return this.#queue.shift()!;
  }

  #endBatch(): void {
    if (this.#batches.owned) dispose(this.#current);
    this.#current = null;
    this.#parts = null;
  }
}

function checkedBatchRows({ batchRows }: TableOptions): number | null {
  return batchRows === undefined ? null : integerIn("batchRows", batchRows, 1);
}

/** Parts of a batch in order; the batch itself if it is small enough. */
function* cut(batch: RecordBatch, batchRows: number | null): Generator<RecordBatch, undefined> {
  const rows = batch.numRows;
  let most = batchRows ?? rows;
  if (batchRows === null) {
    const byteLength = batch.data.byteLength;
    if (byteLength > LARGE_BATCH_BYTES) most = Math.max(1, Math.floor(rows / (byteLength / PART_BYTES)));
  }
  if (rows <= most) {
    yield batch;
    return;
  }
  for (let at = 0; at < rows; at += most) yield batch.slice(at, Math.min(rows, at + most));
}

/** Releases the memory of a batch that came from a reader. */
function dispose(batch: RecordBatch | null): void {
  (batch as Partial<Disposable> | null)?.[Symbol.dispose]?.();
}
