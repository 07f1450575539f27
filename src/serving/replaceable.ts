/**
 * Datasets that may be replaced while streams of them are running.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import { DipcError } from "../errors.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";

/** A dataset whose `close()` takes effect once the last run through it has ended. */
export class ReplaceableDataset implements Dataset {
  readonly #dataset: Dataset;
  #runs = 0;
  #isClosed = false;

  /** @param dataset The dataset; closed with this one */
  constructor(dataset: Dataset) {
    this.#dataset = dataset;
  }

  get schema(): MessageHeader {
    return this.#dataset.schema;
  }

  get rows(): number | undefined {
    return this.#dataset.rows;
  }

  get batches(): number | undefined {
    return this.#dataset.batches;
  }

  get bodyBytes(): number | undefined {
    return this.#dataset.bodyBytes;
  }

  get largestBodyBytes(): number | undefined {
    return this.#dataset.largestBodyBytes;
  }

  get hasFreeBatches(): boolean | undefined {
    return this.#dataset.hasFreeBatches;
  }

  get readOnce(): boolean {
    return this.#dataset.readOnce;
  }

  refresh(): void | Promise<void> {
    return this.#dataset.refresh?.();
  }

  /** Starts a run. */
  async open(options: Parameters<Dataset["open"]>[0] = {}): Promise<MessageStream> {
    if (this.#isClosed) throw new DipcError("closed", "cannot read the dataset: a later upload replaced it");
    this.#runs++;
    let run: MessageStream;
    try {
      run = await this.#dataset.open(options);
    } catch (error) {
      await this.#end();
      throw error;
    }
    let isOver = false;
    return {
      schema: run.schema,
      next: () => run.next(),
      close: async () => {
        if (isOver) return;
        isOver = true;
        await run.close();
        await this.#end();
      },
    };
  }

  /** Rejects further runs, and releases everything once the running ones have ended. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#runs === 0) await this.#dataset.close();
  }

  async #end(): Promise<void> {
    this.#runs--;
    if (this.#isClosed && this.#runs === 0) await this.#dataset.close();
  }
}
