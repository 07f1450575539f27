/**
 * One run through a Parquet file in the worker: batches of one piece of a row group after another.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import type { DipcError } from "../../errors.ts";
import type { DecoderFile, OpenParquet } from "./open_file.ts";
import { type GroupPlan, type Piece, piecesOf, piecesOfPages } from "./run_plan.ts";

/** A run. Its methods are called one after another. */
export class DecoderRun {
  readonly #open: OpenParquet;
  readonly #pieces: AsyncGenerator<ReadableStreamDefaultReader<ParquetWasm.RecordBatch>>;
  #reader: ReadableStreamDefaultReader<ParquetWasm.RecordBatch> | null = null;
  /** What the current piece is read from. */
  #file: DecoderFile;
  #group = 0;

  /** @param open The file */
  constructor(open: OpenParquet) {
    this.#open = open;
    this.#file = open.whole;
    this.#pieces = this.#readers();
  }

  /** The next batch as an Arrow stream of its own, or null at the end. */
  async next(): Promise<Uint8Array<ArrayBuffer> | null> {
    while (true) {
      if (this.#reader === null) {
        const piece = await this.#pieces.next();
        if (piece.done) return null;
        this.#reader = piece.value;
      }
      const result = await this.#reader.read();
      // Takes the batch out of the decoder's memory.
      if (!result.done) return result.value.intoIPCStream() as Uint8Array<ArrayBuffer>;
      this.#reader = null;
    }
  }

  /** Ends the run. */
  async stop(): Promise<void> {
    await this.#reader?.cancel();
    this.#reader = null;
    await this.#pieces.return(undefined);
  }

  /** Index of the row group that is decoded. */
  get group(): number {
    return this.#group;
  }

  /** Why reading the file failed, if that is what made the decoder fail. */
  takeFailure(): DipcError | null {
    return this.#file.blob.takeFailure();
  }

  async *#readers(): AsyncGenerator<ReadableStreamDefaultReader<ParquetWasm.RecordBatch>> {
    for (const plan of this.#open.plans) {
      this.#group = plan.group;
      if (plan.pieceRows > 0) {
        yield* this.#readersOf(plan, plan.group, piecesOf(plan));
        continue;
      }
      const indexed = await this.#open.indexed(plan.group);
      this.#file = indexed;
      try {
        yield* this.#readersOf(plan, 0, piecesOfPages(plan, indexed));
      } finally {
        this.#file.file.free();
        this.#file = this.#open.whole;
      }
    }
  }

  async *#readersOf(
    { rows, batchRows }: GroupPlan,
    group: number,
    pieces: Iterable<Piece>,
  ): AsyncGenerator<ReadableStreamDefaultReader<ParquetWasm.RecordBatch>> {
    for (const { offset, rows: limit } of pieces) {
      const range = limit < rows ? { offset, limit } : {};
      const options = { rowGroups: [group], batchSize: batchRows, ...range };
      const stream: ReadableStream<ParquetWasm.RecordBatch> = await this.#file.file.stream(options);
      yield stream.getReader();
    }
  }
}
