/**
 * Datasets that repeat another one: long streams out of little memory.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";

/**
 * A dataset that runs through another one several times in a row. Dictionaries are repeated only if the dataset sends
 * some of them after a batch.
 *
 * @param dataset What to repeat; closed with the result
 * @param times How often, 0 or more; may be `Infinity`
 * @throws {DipcError} `invalid_argument` if the dataset can be read only once, or `times` is not an integer
 */
export function repeat(dataset: Dataset, times: number): Dataset {
  if (dataset.readOnce) {
    throw new DipcError(
      "invalid_argument",
      "cannot repeat a dataset that can be read only once; load it with resident()",
    );
  }
  if (times !== Infinity && !(Number.isSafeInteger(times) && times >= 0)) {
    throw new DipcError("invalid_argument", `times must be an integer of 0 or more, but it is ${times}`);
  }
  const multiplied = (n: number | undefined): number | undefined =>
    n === undefined || times === Infinity ? undefined : n * times;
  return {
    schema: dataset.schema,
    memory: dataset.memory,
    rows: multiplied(dataset.rows),
    batches: multiplied(dataset.batches),
    readOnce: false,
    open: (options) => new RepeatedRun(dataset, times, options),
    close: () => dataset.close(),
  };
}

class RepeatedRun implements MessageStream {
  readonly #dataset: Dataset;
  readonly #options: { signal?: AbortSignal } | undefined;
  #left: number;
  #run: MessageStream | null = null;
  #first = true;
  #passIsEmpty = false;
  #sawBatch = false;
  /** A dictionary came after a batch, so that each pass has to start with its own. */
  #dictionariesChange = false;

  constructor(dataset: Dataset, times: number, options: { signal?: AbortSignal } | undefined) {
    this.#dataset = dataset;
    this.#left = times;
    this.#options = options;
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    for (;;) {
      const run = this.#run;
      if (run !== null) {
        const message = run.next();
        if (message instanceof Promise) return this.#continue(message);
        if (message !== null) {
          if (this.#passes(message)) return message;
          continue;
        }
      }
      const started = this.#nextPass();
      if (started instanceof Promise) return this.#continueAfter(started);
      if (!started) return null;
    }
  }

  async close(): Promise<void> {
    this.#left = 0;
    const run = this.#run;
    this.#run = null;
    await run?.close();
  }

  async #continue(pending: Promise<IpcMessage | null>): Promise<IpcMessage | null> {
    for (let message = await pending;; message = await this.#run!.next()) {
      if (message !== null) {
        if (this.#passes(message)) return message;
      } else if (!await this.#nextPass()) {
        return null;
      }
    }
  }

  async #continueAfter(started: Promise<boolean>): Promise<IpcMessage | null> {
    return await started ? await this.#continue(Promise.resolve(this.#run!.next())) : null;
  }

  /** Starts the next pass, without a promise if the dataset needs none. False after the last one. */
  #nextPass(): boolean | Promise<boolean> {
    const run = this.#run;
    if (run === null) return this.#startPass();
    this.#run = null;
    this.#first = false;
    // Going round without a message would never end.
    if (this.#passIsEmpty) this.#left = 0;
    const closed = run.close();
    return closed instanceof Promise ? closed.then(() => this.#startPass()) : this.#startPass();
  }

  #startPass(): boolean | Promise<boolean> {
    if (this.#left === 0) return false;
    this.#left--;
    this.#passIsEmpty = true;
    const run = this.#dataset.open(this.#options);
    if (!(run instanceof Promise)) {
      this.#run = run;
      return true;
    }
    return run.then((run) => {
      this.#run = run;
      return true;
    });
  }

  #passes(message: IpcMessage): boolean {
    this.#passIsEmpty = false;
    if (message.header.kind === "batch") {
      this.#sawBatch = true;
      return true;
    }
    if (this.#first && this.#sawBatch) this.#dictionariesChange = true;
    if (this.#first || this.#dictionariesChange) return true;
    message.body?.release();
    return false;
  }
}
