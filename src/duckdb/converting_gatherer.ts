/**
 * Gathers DuckDB's chunks of 2,048 rows into the messages of larger batches, for every type.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";
import { convertChunk, joinChunks } from "./conversion.ts";
import { type BatchSize, type Gatherer, MAX_BATCH_BYTES, MAX_TEXT_BYTES } from "./gatherer.ts";
import { destroyBy, type DuckDbLibrary } from "./library.ts";
import type { NativeResult } from "./result.ts";

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
      const batch = joinChunks(this.#result.schema, chunks);
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
    const messages = convertChunk(this.#result, this.#result.schema, chunk);
    const batch = messages.pop()!;
    if (this.#dictionaries === null) this.#dictionaries = messages;
    else release(messages);
    return batch;
  }
}

function release(messages: readonly IpcMessage[]): void {
  for (const { body } of messages) body?.release();
}
