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
import { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import { hostPool } from "../memory/host_pool.ts";
import { checkErrorData, type DuckDbLibrary } from "./library.ts";
import { type ArrowOptions, swapChildren } from "./schema.ts";

/** Buffers of a message start at multiples of this many bytes. */
const ALIGNMENT = 64;

/** Converts the chunks of one result, and puts them together. */
export class Gatherer {
  readonly #library: DuckDbLibrary;
  readonly #schema: VerifiedHeader;
  readonly #options: ArrowOptions;
  /** Chunks that wait, converted. */
  #chunks: IpcMessage[] = [];
  /** Dictionaries that are to be sent first: DuckDB gives the same ones with each chunk. */
  #dictionaries: IpcMessage[] | null = null;
  #areDictionariesSent = false;
  #rows = 0;
  #bytes = 0;

  constructor(library: DuckDbLibrary, schema: VerifiedHeader, options: ArrowOptions) {
    this.#library = library;
    this.#schema = schema;
    this.#options = options;
  }

  /** Rows that wait. */
  get rows(): number {
    return this.#rows;
  }

  /** Size of those rows in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Converts a chunk.
   *
   * @param chunk A `duckdb_data_chunk`, which stays the caller's
   * @throws {DipcError} What DuckDB reports
   */
  add(chunk: bigint): void {
    using array = new CStruct("ArrowArray");
    this.#convert(chunk, this.#options.usual, array);
    using lossless = new CStruct("ArrowArray");
    if (this.#options.losslessColumns.length > 0) {
      this.#convert(chunk, this.#options.lossless, lossless);
      swapChildren("ArrowArray", array.address, lossless.address, this.#options.losslessColumns);
    }
    const messages = importRecordBatch(array.address, this.#schema).toMessages();
    const batch = messages.pop()!;
    if (this.#dictionaries === null) this.#dictionaries = messages;
    else release(messages);
    this.#chunks.push(batch);
    this.#rows += batch.header.rows;
    this.#bytes += batch.header.bodyLength;
  }

  /** The dictionaries, if they were not taken yet, and a batch of all rows that wait. */
  take(): IpcMessage[] {
    const messages = this.#areDictionariesSent ? [] : this.#dictionaries ?? [];
    this.#areDictionariesSent = true;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#rows = this.#bytes = 0;
    try {
      return [...messages, this.#batch(chunks)];
    } catch (error) {
      release(messages);
      throw error;
    } finally {
      release(chunks);
    }
  }

  /** Releases what waits. */
  close(): void {
    release(this.#chunks.splice(0));
    if (!this.#areDictionariesSent) release(this.#dictionaries ?? []);
    this.#areDictionariesSent = true;
    this.#rows = this.#bytes = 0;
  }

  #convert(chunk: bigint, options: bigint, out: CStruct): void {
    const error = this.#library.symbols.duckdb_data_chunk_to_arrow(options, chunk, out.address);
    checkErrorData(this.#library, error, "convert the rows to Arrow");
  }

  #batch(chunks: readonly IpcMessage[]): IpcMessage {
    const { layout } = this.#schema;
    const trees = chunks.map(({ body }): LocatedTree => {
      const numbers = placedNumbers(body as ForeignBody);
      const get = (index: number) => (body as ForeignBody).bufferInPlace(index);
      return { numbers, buffers: { length: numbers.at.length, get } };
    });
    const { rows, nodes, buffers, variadicCounts } = new ConcatenatedBatch(layout, trees);
    const places: number[] = [];
    let bodyLength = 0;
    for (const { byteLength } of buffers) {
      places.push(bodyLength, byteLength);
      bodyLength += Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
    }
    const block = hostPool().acquire(bodyLength);
    if (bodyLength > 0) {
      const bytes = block.bytes();
      buffers.forEach((buffer, i) => {
        bytes.set(buffer, places[2 * i]);
        const end = places[2 * i] + buffer.byteLength;
        bytes.fill(0, end, Math.ceil(end / ALIGNMENT) * ALIGNMENT);
      });
    }
    const body = block.toBody(bodyLength);
    const header = new VerifiedHeader({
      kind: "batch",
      bytes: () => encodeBatchMetadata({ rows, bodyLength, nodes, buffers: places, variadicCounts }),
      bodyLength,
      rows,
      dictionaryId: -1n,
      isDelta: false,
      nodes: Float64Array.from(nodes),
      buffers: Float64Array.from(places),
      variadicCounts: Float64Array.from(variadicCounts),
      compression: "none",
      layout,
      plan: layout.plan,
      version: 5,
    });
    return { header, body };
  }
}

function release(messages: readonly IpcMessage[]): void {
  for (const { body } of messages) body?.release();
}
