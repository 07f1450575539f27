/**
 * Gathers the chunks of a query whose columns are all of flat types, by machine code.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";
import type { BatchSize, Gatherer } from "./gatherer.ts";
import type { NativeResult } from "./result.ts";
import { type RowColumn, RowReader } from "./rows.ts";

/** Most chunks of a batch. */
const MAX_CHUNKS = 8192;

/** Copies the chunks of one result. */
export class RowGatherer implements Gatherer {
  readonly #rows: RowReader;
  readonly #size: BatchSize;

  constructor(result: NativeResult, columns: readonly RowColumn[], size: BatchSize) {
    // Each chunk has a row or more.
    this.#rows = new RowReader(result, result.schema, columns, Math.min(MAX_CHUNKS, size.rows));
    this.#size = size;
  }

  async read(): Promise<IpcMessage[] | null> {
    const batch = await this.#rows.nextChunks(this.#size);
    return batch === null ? null : [batch];
  }

  close(): Promise<void> {
    return this.#rows.destroy();
  }
}
