/**
 * Device batches as a dataset that can be served.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { equalBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { encodeSchema } from "../ipc/encode.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { parseSpace } from "../memory/cuda/space.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import type { DictionaryChunk } from "./dictionaries.ts";
import { type DeviceRecordBatch, lentBody } from "./record_batch.ts";

/** Sources of device batches. */
export type DeviceBatches =
  | readonly DeviceRecordBatch[]
  | Iterable<DeviceRecordBatch>
  | AsyncIterable<DeviceRecordBatch>;

/** Options of {@linkcode fromDeviceBatches}. */
export interface DeviceBatchesOptions {
  /** The schema of all batches. Default: that of the first batch of an array. */
  schema?: Schema | MessageHeader;
  /** The memory space of all batches, such as `"cuda:0"`. Default: that of the first batch of an array. */
  memory?: string;
}

/**
 * Device batches as a dataset. Nothing is copied; a batch is sent once its event is done.
 *
 * Batches in an array remain the caller's and can be served many times; one that is disposed keeps its memory until sends
 * in progress are over, and later ones fail. Batches from any other iterable are read once, and disposed when they are sent.
 *
 * @param batches The batches, of one stream's schema and one GPU
 * @param options Schema and memory space, required unless the first batch of an array provides them
 * @throws {DipcError} `invalid_argument` if schema or memory space are not known
 */
export function fromDeviceBatches(batches: DeviceBatches, options: DeviceBatchesOptions = {}): Dataset {
  const first = Array.isArray(batches) ? (batches as readonly DeviceRecordBatch[])[0] : undefined;
  const schema = options.schema ?? first?.schemaHeader;
  const memory = options.memory ?? first?.space;
  if (schema === undefined || memory === undefined) {
    throw new DipcError(
      "invalid_argument",
      "cannot make a dataset of device batches: iterables and empty arrays need a schema and a memory space; give { schema, memory }",
    );
  }
  parseSpace(memory);
  return new DeviceBatchDataset(batches, "bytes" in schema ? schema : encodeSchema(schema), memory);
}

class DeviceBatchDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce: boolean;
  readonly memory: string;
  readonly rows: number | undefined;
  readonly batches: number | undefined;
  readonly #batches: DeviceBatches;
  #isTaken = false;
  #isClosed = false;

  constructor(batches: DeviceBatches, schema: MessageHeader, memory: string) {
    this.#batches = batches;
    this.schema = schema;
    this.readOnce = !Array.isArray(batches);
    this.memory = memory;
    if (Array.isArray(batches)) {
      this.batches = batches.length;
      this.rows = (batches as readonly DeviceRecordBatch[]).reduce((sum, { numRows }) => sum + numRows, 0);
    }
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    if (this.#isClosed) throw new DipcError("closed", "cannot read the dataset of device batches: it was closed");
    if (this.readOnce && this.#isTaken) {
      throw new DipcError(
        "busy",
        "cannot read the dataset of device batches: batches from an iterable can be read only once; give an array to serve them again",
      );
    }
    this.#isTaken = true;
    return new DeviceBatchRun(this.#batches, this, options.signal);
  }

  close(): void {
    this.#isClosed = true;
  }
}

class DeviceBatchRun implements MessageStream {
  readonly #iterator: Iterator<DeviceRecordBatch> | AsyncIterator<DeviceRecordBatch>;
  readonly #dataset: DeviceBatchDataset;
  readonly #signal: AbortSignal | undefined;
  /** Messages of the current batch that are not read yet, its dictionaries first. */
  #messages: IpcMessage[] = [];
  #sent: readonly DictionaryChunk[] = [];
  #isClosed = false;

  constructor(batches: DeviceBatches, dataset: DeviceBatchDataset, signal: AbortSignal | undefined) {
    this.#iterator = Symbol.asyncIterator in batches
      ? batches[Symbol.asyncIterator]()
      : (batches as Iterable<DeviceRecordBatch>)[Symbol.iterator]();
    this.#dataset = dataset;
    this.#signal = signal;
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    return this.#messages.shift() ?? this.#nextBatch();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { body } of this.#messages.splice(0)) body?.release();
    await this.#iterator.return?.();
  }

  async #nextBatch(): Promise<IpcMessage | null> {
    const result = await this.#iterator.next();
    if (result.done) return null;
    const batch = result.value;
    try {
      await batch.ready({ signal: this.#signal });
      this.#check(batch);
      this.#messages = this.#messagesOf(batch);
    } finally {
      if (this.#dataset.readOnce) batch[Symbol.dispose]();
    }
    if (this.#isClosed) {
      for (const { body } of this.#messages.splice(0)) body?.release();
      throw new DipcError("closed", "cannot read the device batches: the stream of them was closed");
    }
    return this.#messages.shift()!;
  }

  #check(batch: DeviceRecordBatch): void {
    const { memory, schema } = this.#dataset;
    if (batch.space !== memory) {
      throw new DipcError(
        "invalid_argument",
        `cannot send a device batch: it is in ${batch.space}, but its dataset is in ${memory}; use copyTo()`,
      );
    }
    if (!equalBytes(batch.schemaHeader.bytes, schema.bytes)) {
      throw new DipcError(
        "invalid_argument",
        "cannot send a device batch: it has another schema than its stream; make it with the schema of the stream",
      );
    }
  }

  /** The batch, and before it the dictionaries that the peer does not have yet. */
  #messagesOf(batch: DeviceRecordBatch): IpcMessage[] {
    const dictionaries = batch._dictionaries;
    const messages: IpcMessage[] = [];
    const body = batch.byteLength === 0 ? EMPTY_BODY : batch._lend();
    for (const chunk of missing(this.#sent, dictionaries.chunks)) {
      const isEmpty = chunk.body.byteLength === 0;
      const lent = isEmpty ? EMPTY_BODY : lentBody(chunk.body, dictionaries.hold().drop.bind(dictionaries));
      messages.push({ header: chunk.header, body: lent });
    }
    this.#sent = dictionaries.chunks;
    messages.push({ header: batch.header, body });
    return messages;
  }
}

/** The chunks of `after` that a holder of `before` lacks: appended ones, or all chunks of a replaced dictionary. */
function missing(before: readonly DictionaryChunk[], after: readonly DictionaryChunk[]): DictionaryChunk[] {
  const of = (chunks: readonly DictionaryChunk[], id: bigint) =>
    chunks.filter((each) => each.header.dictionaryId === id);
  const kept = new Map<bigint, number>();
  for (const id of new Set(after.map(({ header }) => header.dictionaryId))) {
    const [old, now] = [of(before, id), of(after, id)];
    kept.set(id, old.every((chunk, i) => chunk === now[i]) ? old.length : 0);
  }
  return after.filter(({ header: { dictionaryId } }) => {
    const left = kept.get(dictionaryId)!;
    if (left > 0) kept.set(dictionaryId, left - 1);
    return left === 0;
  });
}
