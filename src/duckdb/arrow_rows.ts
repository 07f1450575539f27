/**
 * Reads the rows of a result by DuckDB's own conversion to Arrow, for every type, in batches of given numbers of rows.
 *
 * @module
 */
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { convertChunk, joinChunks } from "./conversion.ts";
import { destroyBy } from "./library.ts";
import type { NativeResult } from "./result.ts";

/** A chunk, of which the rows before `from` were converted. */
interface Chunk {
  readonly address: bigint;
  readonly from: number;
}

/** The rows of one result. Its calls come one after another, within calls of the connection. */
export class ArrowRowReader {
  readonly #result: NativeResult;
  readonly #schema: VerifiedHeader;
  /** Converted rows of the batch that is being put together. */
  readonly #parts: IpcMessage[] = [];
  #rest: Chunk | null = null;

  /**
   * @param result The result, of which nothing was fetched
   * @param schema The schema message of the batches, whose types have the layout that DuckDB gives; without dictionaries
   */
  constructor(result: NativeResult, schema: VerifiedHeader) {
    this.#result = result;
    this.#schema = schema;
  }

  /**
   * The next rows.
   *
   * @param rows Their number, 1 or more
   * @returns The batch; `null` if there are fewer
   * @throws {DipcError} What DuckDB reports; `invalid_data` if the rows are not as the schema says
   */
  async next(rows: number): Promise<IpcMessage | null> {
    for (let left = rows; left > 0;) {
      const chunk = this.#rest ?? { address: await this.#result.fetch(), from: 0 };
      this.#rest = null;
      if (chunk.address === 0n) return null;
      left -= this.#convert(chunk, left);
    }
    const batch = joinChunks(this.#schema, this.#parts);
    this.#release();
    return batch;
  }

  /** Releases what was fetched. Called once, before the result is destroyed. */
  destroy(): void {
    this.#release();
    if (this.#rest !== null) this.#drop(this.#rest);
    this.#rest = null;
  }

  /** Converts up to `most` rows of a chunk. @returns how many */
  #convert(chunk: Chunk, most: number): number {
    const { address, from } = chunk;
    const { symbols } = this.#result.connection.library;
    const left = Number(symbols.duckdb_data_chunk_get_size(address)) - from;
    const count = Math.min(left, most);
    try {
      if (count > 0) this.#parts.push(...convertChunk(this.#result, this.#schema, address, { from, count }));
    } catch (error) {
      this.#drop(chunk);
      throw error;
    }
    if (count < left) this.#rest = { address, from: from + count };
    else this.#drop(chunk);
    return count;
  }

  #release(): void {
    for (const { body } of this.#parts.splice(0)) body?.release();
  }

  #drop({ address }: Chunk): void {
    destroyBy(this.#result.connection.library.symbols.duckdb_destroy_data_chunk, address);
  }
}
