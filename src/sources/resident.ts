/**
 * Datasets that lie in memory, encoded once and served any number of times.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { UsedByCopies } from "../memory/cuda/device_block.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import type { Dataset, MessageStream } from "./dataset.ts";

/** Messages in memory as a dataset. Their bodies are shared by all runs, and released once it is closed and no run uses them. */
export class ResidentDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly rows: number;
  readonly batches: number;
  readonly bodyBytes: number;
  readonly largestBodyBytes: number;
  readonly readOnce = false;
  readonly memory: string = "host";
  /** @ignore */
  readonly _messages: readonly IpcMessage[];
  #users = 1;
  #isClosed = false;

  /**
   * @param schema The schema message
   * @param messages Dictionaries and batches in order; taken over
   */
  constructor(schema: MessageHeader, messages: readonly IpcMessage[]) {
    this.schema = schema;
    this._messages = messages;
    let rows = 0, batches = 0, bodyBytes = 0, largestBodyBytes = 0;
    for (const { header, body } of messages) {
      bodyBytes += body?.byteLength ?? 0;
      largestBodyBytes = Math.max(largestBodyBytes, body?.byteLength ?? 0);
      if (header.kind !== "batch") continue;
      rows += header.rows;
      batches++;
    }
    this.rows = rows;
    this.batches = batches;
    this.bodyBytes = bodyBytes;
    this.largestBodyBytes = largestBodyBytes;
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    this._check();
    return new ResidentRun(this, options.signal);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this._drop();
  }

  /** @ignore */
  _check(): void {
    if (this.#isClosed) throw new LocalError("closed", "cannot read the dataset in memory: it was closed");
  }

  /** @ignore */
  _hold(): void {
    this.#users++;
  }

  /** @ignore */
  _drop(): void {
    if (--this.#users > 0) return;
    for (const message of this._messages) message.body?.release();
    this._released();
  }

  /** @ignore Called once its bodies are released. */
  protected _released(): void {}
}

class ResidentRun implements MessageStream {
  readonly #dataset: ResidentDataset;
  readonly #messages: readonly IpcMessage[];
  readonly #signal: AbortSignal | undefined;
  #index = 0;
  #isClosed = false;

  constructor(dataset: ResidentDataset, signal: AbortSignal | undefined) {
    this.#dataset = dataset;
    this.#messages = dataset._messages;
    this.#signal = signal;
  }

  next(): IpcMessage | null {
    this.#dataset._check();
    if (this.#isClosed || this.#signal?.aborted) {
      throw new LocalError("closed", "cannot read the dataset in memory: the run through it was closed", {
        cause: this.#signal?.reason,
      });
    }
    if (this.#index === this.#messages.length) return null;
    const { header, body } = this.#messages[this.#index++];
    return { header, body: body === null ? null : new SharedBody(this.#dataset, body) };
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** One reader's reference to a body that others read, too. */
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
    if (this.#dataset === null) throw new LocalError("closed", "cannot read this body: it was released");
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
 * @param dataset The dataset to load; closed afterwards, even on failure
 * @returns the dataset in memory; `close()` frees it
 * @throws {DipcError} what reading the dataset throws; `out_of_memory`
 */
export async function resident(dataset: Dataset): Promise<Dataset> {
  const messages: IpcMessage[] = [];
  try {
    const run = await dataset.open();
    const schema = run.schema ?? dataset.schema;
    try {
      for (let message; (message = await run.next()) !== null;) messages.push(message);
    } finally {
      await run.close();
    }
    return new ResidentDataset(schema, messages);
  } catch (error) {
    for (const message of messages) message.body?.release();
    throw error;
  } finally {
    await dataset.close();
  }
}
