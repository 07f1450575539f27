/**
 * Sends device bodies over a wire that supports host memory only: they are copied into pinned memory ahead of the wire, so
 * that one body is copied while those before it are sent.
 *
 * @module
 */
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { type DeviceEvent, PENDING } from "../memory/cuda/device_event.ts";
import { DipcError } from "../errors.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import type { SendableMessage } from "../stream/sendable.ts";
import { canWait, releaseAfter } from "./release.ts";

/** Most bodies that are copied ahead of the wire. */
const AHEAD_MESSAGES = 64;
/** How often an event is polled before awaiting it: small copies are done within microseconds. */
const SPINS = 64;

/** A dataset of device memory as one of pinned host memory, copied while it is read. */
export class StagedDataset implements Dataset {
  readonly readOnce: boolean;
  /** Always host memory, which the wire sends. */
  readonly memory = "host";
  readonly #dataset: Dataset;
  readonly #device: Gpu;
  readonly #aheadBytes: number;

  /**
   * @param dataset Dataset in the memory of `device`; closed with this one
   * @param device GPU that copies into its pinned memory
   * @param aheadBytes Size of bodies that are copied ahead of the wire, in bytes; two bodies always are
   */
  constructor(dataset: Dataset, device: Gpu, aheadBytes: number) {
    this.#dataset = dataset;
    this.#device = device;
    this.#aheadBytes = aheadBytes;
    this.readOnce = dataset.readOnce;
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

  async open(options: StagedRunOptions = {}): Promise<MessageStream> {
    return new StagedRun(await this.#dataset.open(options), this.#device, this.#aheadBytes, options);
  }

  close(): void | Promise<void> {
    return this.#dataset.close();
  }
}

interface StagedRunOptions {
  readonly signal?: AbortSignal;
  /** Which bodies the client may read in place: they are not copied. */
  readonly mayShare?: (message: SendableMessage) => boolean;
}

interface Copied {
  readonly message: IpcMessage;
  /** The end of its copy; `null` if it needed none. */
  readonly event: DeviceEvent | null;
}

class StagedRun implements MessageStream {
  readonly #run: MessageStream;
  readonly #device: Gpu;
  readonly #aheadBytes: number;
  readonly #options: StagedRunOptions;
  readonly #queue: Copied[] = [];
  #queuedBytes = 0;
  #pending: Promise<void> | null = null;
  #failure: { error: unknown } | null = null;
  #hasEnded = false;
  #isClosed = false;
  readonly #stop = new AbortController();

  constructor(run: MessageStream, device: Gpu, aheadBytes: number, options: StagedRunOptions) {
    this.#run = run;
    this.#device = device;
    this.#aheadBytes = aheadBytes;
    this.#options = options;
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    const { signal } = this.#options;
    if (this.#isClosed || signal?.aborted) {
      throw new DipcError("closed", "cannot read the dataset: its stream was closed", { cause: signal?.reason });
    }
    this.#copyAhead();
    const head = this.#queue[0];
    if (head === undefined) return this.#pending === null ? this.#end() : this.#nextLater();
    return isOver(head.event) ? this.#take() : this.#nextLater();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stop.abort(new DipcError("closed", "cannot read the dataset: its stream was closed"));
    try {
      await this.#run.close();
    } finally {
      await this.#pending;
      // Copies in progress keep the memory that they use until they are done.
      for (const { message, event } of this.#queue.splice(0)) {
        if (event === null) message.body?.release();
        else releaseAfter(message.body!, event);
      }
    }
  }

  async #nextLater(): Promise<IpcMessage | null> {
    while (this.#queue.length === 0 && this.#pending !== null) await this.#pending;
    const head = this.#queue[0];
    if (head === undefined) return this.#end();
    await head.event?.done({ signal: this.#stop.signal });
    return this.#take();
  }

  #end(): null {
    if (this.#failure !== null) throw this.#failure.error;
    return null;
  }

  #take(): IpcMessage {
    const { message, event } = this.#queue[0];
    if (event?.error) throw event.error;
    this.#queue.shift();
    this.#queuedBytes -= message.body?.byteLength ?? 0;
    this.#copyAhead();
    return message;
  }

  #copyAhead(): void {
    while (this.#pending === null && !this.#hasEnded && !this.#isClosed && this.#failure === null && this.#hasRoom()) {
      try {
        const next = this.#run.next();
        const work = next instanceof Promise ? next.then((message) => this.#stage(message)) : this.#stage(next);
        if (work !== undefined) this.#await(work);
      } catch (error) {
        this.#failure = { error };
      }
    }
  }

  #hasRoom(): boolean {
    const { length } = this.#queue;
    return length < 2 || (length < AHEAD_MESSAGES && this.#queuedBytes < this.#aheadBytes);
  }

  #await(work: Promise<void>): void {
    this.#pending = work.catch((error) => {
      this.#failure ??= { error };
    }).then(() => {
      this.#pending = null;
      this.#copyAhead(); // the awaited message may have been read in the meantime
    });
  }

  #stage(message: IpcMessage | null): void | Promise<void> {
    if (message === null) {
      this.#hasEnded = true;
      return;
    }
    const { body } = message;
    const isSent = body !== null && body.space !== "host" && body.byteLength > 0;
    if (!isSent || this.#options.mayShare?.(message)) {
      this.#push(message, null);
      return;
    }
    let block;
    try {
      block = this.#device.pinned.acquire(body.byteLength);
    } catch (error) {
      if (error instanceof DipcError && error.code === "out_of_memory") return this.#stageLater(message);
      body.release();
      throw error;
    }
    this.#copy(message, block);
  }

  /** Waits for pinned memory that copies in progress are about to free. */
  async #stageLater(message: IpcMessage): Promise<void> {
    let block;
    try {
      block = await this.#device.pinned.acquireWaiting(message.body!.byteLength, { signal: this.#stop.signal });
    } catch (error) {
      message.body!.release();
      throw error;
    }
    this.#copy(message, block);
  }

  #copy({ header, body }: IpcMessage, block: ReturnType<Gpu["pinned"]["acquire"]>): void {
    const { byteLength } = body!;
    let event: DeviceEvent;
    try {
      event = this.#device.copies.copyToHost(block.address, body!.address, byteLength, {
        uses: canWait(body!) ? [block, body!] : [block],
      });
    } catch (error) {
      block.release();
      body!.release();
      throw error;
    }
    releaseAfter(body!, event);
    this.#push({ header, body: block.toBody(byteLength) }, event);
  }

  #push(message: IpcMessage, event: DeviceEvent | null): void {
    this.#queue.push({ message, event });
    this.#queuedBytes += message.body?.byteLength ?? 0;
  }
}

function isOver(event: DeviceEvent | null): boolean {
  if (event === null) return true;
  for (let i = 0; i < SPINS; i++) if (event.poll() !== PENDING) break;
  return event.poll() !== PENDING;
}
