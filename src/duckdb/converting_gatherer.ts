/**
 * Gathers DuckDB's chunks of 2,048 rows into the messages of larger batches, for every type.
 *
 * @module
 */
import { ConcatenatedBatch } from "../c_data/concatenate.ts";
import { placedNumbers } from "../c_data/export.ts";
import type { ForeignBody } from "../c_data/foreign_body.ts";
import { importRecordBatch } from "../c_data/import.ts";
import type { LocatedTree } from "../c_data/located_tree.ts";
import { CStruct } from "../c_data/structs.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { hostPool } from "../memory/host_pool.ts";
import { batchHeader, type BatchSize, BodyPlaces, type Gatherer, MAX_BATCH_BYTES, MAX_TEXT_BYTES } from "./gatherer.ts";
import { checkErrorData, destroyBy, type DuckDbLibrary } from "./library.ts";
import type { NativeResult } from "./result.ts";
import { swapChildren } from "./schema.ts";

/** Has DuckDB convert the chunks of one result, and puts them together. */
export class ConvertingGatherer implements Gatherer {
  readonly #library: DuckDbLibrary;
  readonly #result: NativeResult;
  readonly #size: BatchSize;
  /** Chunks that wait, converted. */
  #chunks: IpcMessage[] = [];
  /** One that did not fit into the last batch. */
  #carry: IpcMessage | null = null;
  /** Dictionaries that are to be sent first: DuckDB gives the same ones with each chunk. */
  #dictionaries: IpcMessage[] | null = null;
  #areDictionariesSent = false;
  #hasEnded = false;

  constructor(library: DuckDbLibrary, result: NativeResult, size: BatchSize) {
    this.#library = library;
    this.#result = result;
    this.#size = { rows: size.rows, bytes: Math.min(size.bytes, MAX_BATCH_BYTES) };
  }

  async read(): Promise<IpcMessage[] | null> {
    const chunks = this.#chunks;
    for (let rows = 0, bytes = 0; rows < this.#size.rows && bytes < this.#size.bytes;) {
      const next = await this.#next();
      if (next === null) break;
      if (chunks.length > 0 && bytes + next.header.bodyLength > MAX_TEXT_BYTES) {
        this.#carry = next;
        break;
      }
      chunks.push(next);
      rows += next.header.rows;
      bytes += next.header.bodyLength;
    }
    if (chunks.length === 0) return null;
    this.#chunks = [];
    try {
      const batch = this.#batch(chunks);
      const dictionaries = this.#areDictionariesSent ? [] : this.#dictionaries ?? [];
      this.#areDictionariesSent = true;
      return [...dictionaries, batch];
    } finally {
      release(chunks);
    }
  }

  close(): void {
    release(this.#chunks.splice(0));
    if (this.#carry !== null) release([this.#carry]);
    this.#carry = null;
    if (!this.#areDictionariesSent) release(this.#dictionaries ?? []);
    this.#areDictionariesSent = true;
  }

  /** The next chunk that has rows, converted. */
  async #next(): Promise<IpcMessage | null> {
    const carried = this.#carry;
    this.#carry = null;
    if (carried !== null) return carried;
    while (!this.#hasEnded) {
      const chunk = await this.#result.fetch();
      if (chunk === 0n) {
        this.#hasEnded = true;
        break;
      }
      try {
        const batch = this.#add(chunk);
        if (batch.header.rows > 0) return batch;
        release([batch]);
      } finally {
        destroyBy(this.#library.symbols.duckdb_destroy_data_chunk, chunk);
      }
    }
    return null;
  }

  #add(chunk: bigint): IpcMessage {
    const { options, schema } = this.#result;
    using array = new CStruct("ArrowArray");
    this.#convert(chunk, options.usual, array);
    using lossless = new CStruct("ArrowArray");
    if (options.losslessColumns.length > 0) {
      this.#convert(chunk, options.lossless, lossless);
      swapChildren("ArrowArray", array.address, lossless.address, options.losslessColumns);
    }
    const messages = importRecordBatch(array.address, schema).toMessages();
    const batch = messages.pop()!;
    if (this.#dictionaries === null) this.#dictionaries = messages;
    else release(messages);
    return batch;
  }

  #convert(chunk: bigint, options: bigint, out: CStruct): void {
    const error = this.#library.symbols.duckdb_data_chunk_to_arrow(options, chunk, out.address);
    checkErrorData(this.#library, error, "convert the rows to Arrow");
  }

  #batch(chunks: readonly IpcMessage[]): IpcMessage {
    const { layout } = this.#result.schema;
    const trees = chunks.map(({ body }): LocatedTree => {
      const numbers = placedNumbers(body as ForeignBody);
      const get = (index: number) => (body as ForeignBody).bufferInPlace(index);
      return { numbers, buffers: { length: numbers.at.length, get } };
    });
    const { rows, nodes, buffers, variadicCounts } = new ConcatenatedBatch(layout, trees);
    const places = new BodyPlaces();
    for (const { byteLength } of buffers) places.add(byteLength);
    const block = hostPool().acquire(places.byteLength);
    if (places.byteLength > 0) {
      const bytes = block.bytes();
      buffers.forEach((buffer, i) => bytes.set(buffer, places.buffers[2 * i]));
      places.pad(bytes);
    }
    return {
      header: batchHeader(layout, rows, nodes, places, variadicCounts),
      body: block.toBody(places.byteLength),
    };
  }
}

function release(messages: readonly IpcMessage[]): void {
  for (const { body } of messages) body?.release();
}
