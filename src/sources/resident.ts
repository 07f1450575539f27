/**
 * Datasets that lie in memory, encoded once and served any number of times, and datasets that repeat.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { UsedByCopies } from "../memory/cuda/device_block.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import type { Dataset, MessageStream } from "./dataset.ts";

/** Messages in memory as a dataset. Their bodies are shared by all runs and go back once it is closed and nobody reads. */
export class ResidentDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly rows: number;
  readonly batches: number;
  readonly bodyBytes: number;
  readonly readOnce = false;
  readonly memory: string = "host";
  /** @ignore */
  readonly _messages: readonly IpcMessage[];
  #users = 1;
  #closed = false;

  /**
   * @param schema The schema message
   * @param messages Dictionaries and batches in order; taken over
   */
  constructor(schema: MessageHeader, messages: readonly IpcMessage[]) {
    this.schema = schema;
    this._messages = messages;
    let rows = 0, batches = 0, bodyBytes = 0;
    for (const { header, body } of messages) {
      bodyBytes += body?.byteLength ?? 0;
      if (header.kind !== "batch") continue;
      rows += header.rows;
      batches++;
    }
    this.rows = rows;
    this.batches = batches;
    this.bodyBytes = bodyBytes;
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    this._check();
    return new ResidentRun(this, options.signal);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this._drop();
  }

  /** @ignore */
  _check(): void {
    if (this.#closed) throw new DipcError("closed", "the dataset in memory was closed");
  }

  /** @ignore */
  _hold(): void {
    this.#users++;
  }

  /** @ignore */
  _drop(): void {
    if (--this.#users === 0) { for (const message of this._messages) message.body?.release(); }
  }
}

class ResidentRun implements MessageStream {
  readonly #dataset: ResidentDataset;
  readonly #messages: readonly IpcMessage[];
  readonly #signal: AbortSignal | undefined;
  #index = 0;
  #closed = false;

  constructor(dataset: ResidentDataset, signal: AbortSignal | undefined) {
    this.#dataset = dataset;
    this.#messages = dataset._messages;
    this.#signal = signal;
  }

  next(): IpcMessage | null {
    this.#dataset._check();
    if (this.#closed || this.#signal?.aborted) {
      throw new DipcError("closed", "the run through the dataset was closed", { cause: this.#signal?.reason });
    }
    if (this.#index === this.#messages.length) return null;
    const { header, body } = this.#messages[this.#index++];
    return { header, body: body === null ? null : new SharedBody(this.#dataset, body) };
  }

  close(): void {
    this.#closed = true;
  }
}

/** One reader's hold on a body that others read, too. */
class SharedBody implements Body, UsedByCopies {
  readonly space: string;
  readonly byteLength: number;
  readonly address: bigint;
  #dataset: ResidentDataset | null;
  readonly #body: Body;

  constructor(dataset: ResidentDataset, body: Body) {
    this.#dataset = dataset;
    this.#body = body;
    this.space = body.space;
    this.byteLength = body.byteLength;
    this.address = body.address;
    dataset._hold();
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#dataset === null) throw new DipcError("closed", "this body was released and its bytes are gone");
    return this.#body.bytes();
  }

  usedBy(event: DeviceEvent): void {
    (this.#body as Partial<UsedByCopies>).usedBy?.(event);
  }

  release(): void {
    const dataset = this.#dataset;
    this.#dataset = null;
    dataset?._drop();
  }
}

/**
 * Loads a whole dataset into memory, to serve it many times without reading or decoding it again.
 *
 * @param dataset What to load; closed afterwards, also on failure
 * @returns the dataset in memory; `close()` frees it
 * @throws {DipcError} what reading the dataset throws; `out_of_memory`
 */
export async function resident(dataset: Dataset): Promise<Dataset> {
  const messages: IpcMessage[] = [];
  try {
    const run = await dataset.open();
    try {
      for (let message; (message = await run.next()) !== null;) messages.push(message);
    } finally {
      await run.close();
    }
    return new ResidentDataset(dataset.schema, messages);
  } catch (error) {
    for (const message of messages) message.body?.release();
    throw error;
  } finally {
    await dataset.close();
  }
}

/**
 * A dataset that runs through another one several times in a row. Dictionaries are repeated only where the dataset sends
 * some of them after a batch.
 *
 * @param dataset What to repeat; closed with the result
 * @param times How often, 0 or more; may be `Infinity`
 * @throws {DipcError} `invalid_argument` where the dataset can be read only once, or `times` is no whole number
 */
export function repeat(dataset: Dataset, times: number): Dataset {
  if (dataset.readOnce) {
    throw new DipcError(
      "invalid_argument",
      "cannot repeat a dataset that can be read only once; load it with resident()",
    );
  }
  if (times !== Infinity && !(Number.isSafeInteger(times) && times >= 0)) {
    throw new DipcError("invalid_argument", `times must be a whole number of 0 or more, but it is ${times}`);
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

  /** Starts the next pass, without a promise where the dataset needs none. False after the last one. */
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
