/**
 * Exports streams through `ArrowAsyncDeviceStreamHandler`: calls the consumer when there is data.
 *
 * @module
 */
import { asDipcError, DipcError } from "../errors.ts";
import { checkOptionNames } from "../options.ts";
import { AsyncHandler } from "./async_handler.ts";
import { AsyncProducer, BURST } from "./async_producer.ts";
import { bellChange, bellVersion, ringBell } from "./bell.ts";
import { refuseWorker } from "./cells.ts";
import { type Exportable, exportArrays } from "./export.ts";
import { type ExportSource, openSource, type StreamSource } from "./export_source.ts";
import { errnoOf, type ExportStreamOptions } from "./stream_out.ts";
import { fillSlot, isFull, reclaimSlot, taskName, type TaskSlot } from "./task_slots.ts";

/** Options of {@linkcode exportAsyncStream}. */
export interface ExportAsyncStreamOptions extends ExportStreamOptions {
  /** Keys and values for the whole stream, which the consumer gets with the schema. */
  metadata?: ReadonlyMap<string, string>;
  /** Ends the stream with the error `ECANCELED`. */
  signal?: AbortSignal;
}

const EXPORT_ASYNC_KEYS: Record<keyof ExportAsyncStreamOptions, true> = { metadata: true, schema: true, signal: true };

/** How a stream of {@linkcode exportAsyncStream} ended. */
export interface AsyncExportResult {
  /**
   * `"complete"` after the last batch; `"cancelled"` if the consumer cancelled; `"refused"` if it returned an error from `on_schema` or
   * `on_next_task`; `"failed"` if it was given an error.
   */
  readonly end: "complete" | "cancelled" | "refused" | "failed";
  /** Batches that the consumer was given and has not refused. */
  readonly batches: number;
  /** What it was given as an error. */
  readonly error?: DipcError;
  /** What it returned when it refused. */
  readonly status?: number;
}

/** How long data that a consumer has not extracted stay after an error, in milliseconds: Arrow C++ drops what it has queued. */
const RECLAIM_MS = 30_000;
/** Key of the metadata that a consumer gets with an error. */
const CODE_KEY = "dipc.code";

/** A task that the consumer was given. */
interface Task {
  readonly slot: TaskSlot;
  readonly name: bigint;
}

/**
 * Exports a stream to a consumer that has made a handler, without copying its batches. The consumer is called when there is data and it
 * has requested some, one call after the other, each on a thread of Deno's. It requests and cancels on any thread, at any time, also
 * within a call.
 *
 * The handler is taken over, also if the source cannot be opened: the consumer gets every error, and is released in the end. Data that
 * it was given stay in place until it releases them.
 *
 * @example Usage
 * ```ts ignore
 * const { end, batches } = await exportAsyncStream(table, handler);
 * ```
 *
 * @param source What is exported. Batches of what can be iterated once are taken over
 * @param handler Address of an `ArrowAsyncDeviceStreamHandler`, which must stay valid until it is released
 * @returns how it ended, after the consumer was released
 * @throws {DipcError} `invalid_argument` if there is no such handler; `unsupported` in a web worker. The handler is not called then
 */
export async function exportAsyncStream(
  source: StreamSource,
  handler: bigint,
  options: ExportAsyncStreamOptions = {},
): Promise<AsyncExportResult> {
  checkOptionNames("exportAsyncStream", options, EXPORT_ASYNC_KEYS);
  refuseWorker();
  return await new AsyncExport(new AsyncHandler(handler), handler, options).run(source, options);
}

class AsyncExport {
  readonly #handler: AsyncHandler;
  readonly #producer: AsyncProducer;
  readonly #signal: AbortSignal | undefined;
  readonly #ready: Exportable[] = [];
  /** Tasks that the consumer may not have extracted. */
  #tasks: Task[] = [];
  #source: ExportSource | null = null;
  #isWaiting = false;
  #isDone = false;
  #isClosed = false;
  #error: unknown = null;
  #given = 0;

  constructor(handler: AsyncHandler, address: bigint, { metadata = new Map(), signal }: ExportAsyncStreamOptions) {
    this.#handler = handler;
    this.#producer = new AsyncProducer(address, metadata);
    this.#signal = signal;
  }

  async run(source: StreamSource, { schema }: ExportAsyncStreamOptions): Promise<AsyncExportResult> {
    this.#signal?.addEventListener("abort", ringBell);
    let result: AsyncExportResult;
    try {
      this.#source = await openSource(source, schema);
      result = await this.#produce(this.#source);
    } catch (error) {
      result = { end: "failed", batches: this.#given, error: asDipcError(error) };
    }
    this.#signal?.removeEventListener("abort", ringBell);
    this.#producer.close();
    this.#isClosed = true;
    this.#releaseReady();
    void this.#closeSource();
    const { error } = result;
    if (error !== undefined) {
      await this.#handler.onError(errnoOf(error.code), error.message, new Map([[CODE_KEY, error.code]]));
    }
    await this.#handler.release();
    this.#producer.retire();
    if (error !== undefined) this.#abandon();
    return result;
  }

  async #produce(source: ExportSource): Promise<AsyncExportResult> {
    this.#checkSignal();
    const status = await this.#handler.onSchema(source.schema.layout);
    if (status !== 0) return { end: "refused", batches: 0, status };
    for (;;) {
      const seen = bellVersion();
      this.#checkSignal();
      if (this.#producer.isCancelled) return { end: "cancelled", batches: this.#given };
      if (this.#producer.isFaulty) {
        throw new DipcError(
          "invalid_argument",
          "cannot go on with an exported stream: the consumer requested 0 batches or fewer; request 1 or more",
        );
      }
      const credit = Number(this.#producer.requested) - this.#given;
      // One more than was requested: the end is not requested, and the consumer is to learn it all the same.
      this.#pull(source, Math.min(credit, BURST - 1) + 1);
      const count = Math.min(credit, BURST, this.#ready.length);
      if (count > 0) {
        const status = await this.#deliver(count);
        if (status !== 0) return { end: "refused", batches: this.#given, status };
      } else if (this.#ready.length === 0 && this.#error !== null) {
        throw this.#error;
      } else if (this.#ready.length === 0 && this.#isDone) {
        await this.#handler.onEnd();
        return { end: "complete", batches: this.#given };
      } else {
        await bellChange(seen);
      }
    }
  }

  #checkSignal(): void {
    if (!this.#signal?.aborted) return;
    throw new DipcError("cancelled", "cannot go on with an exported stream: it was cancelled", {
      cause: this.#signal.reason,
    });
  }

  /** Takes batches from the source until there are `count`, or the next one has to be waited for. */
  #pull(source: ExportSource, count: number): void {
    while (!this.#isWaiting && !this.#isDone && this.#error === null && this.#ready.length < count) {
      try {
        const next = source.next();
        if (next instanceof Promise) this.#wait(next);
        else this.#add(next);
      } catch (error) {
        this.#error = error ?? new Error("the source threw nothing");
      }
    }
  }

  #wait(next: Promise<Exportable | null>): void {
    this.#isWaiting = true;
    next.then((batch) => this.#add(batch), (error) => this.#error = error ?? new Error("the source threw nothing"))
      .then(() => {
        this.#isWaiting = false;
        ringBell();
      });
  }

  #add(batch: Exportable | null): void {
    if (batch === null) this.#isDone = true;
    else if (this.#isClosed) batch.release();
    else this.#ready.push(batch);
  }

  /** Gives the consumer batches. @returns what it returned for the last one */
  async #deliver(count: number): Promise<number> {
    const tasks = this.#fill(this.#ready.splice(0, count));
    const given = tasks.length === 0 ? 0 : await this.#producer.deliver(tasks.map(({ name }) => name));
    const { status } = this.#producer;
    const accepted = status === 0 ? given : given - 1;
    // What it refused is not the consumer's, nor what it was not given.
    for (const { slot, name } of tasks.splice(accepted)) reclaimSlot(slot, name, this.#producer);
    this.#given += accepted;
    this.#tasks = [...this.#tasks, ...tasks].filter(({ slot, name }) => isFull(slot, name));
    return status;
  }

  /** Makes tasks of batches, up to one that cannot be exported. */
  #fill(batches: readonly Exportable[]): Task[] {
    const tasks: Task[] = [];
    for (const batch of batches) {
      if (this.#error !== null) {
        batch.release();
        continue;
      }
      try {
        const slot = fillSlot((target) => exportArrays(batch, target), this.#producer);
        tasks.push({ slot, name: taskName(slot) });
      } catch (error) {
        this.#error = error;
        this.#releaseReady();
      }
    }
    return tasks;
  }

  #releaseReady(): void {
    for (const batch of this.#ready.splice(0)) batch.release();
  }

  /** An error of a source whose end nobody waits for has nobody to go to. */
  async #closeSource(): Promise<void> {
    try {
      await this.#source?.close();
    } catch {
      // See above.
    }
  }

  #abandon(): void {
    if (this.#tasks.length === 0) return;
    const reclaim = (): void => {
      abandoned.delete(reclaim);
      for (const { slot, name } of this.#tasks) reclaimSlot(slot, name, this.#producer);
    };
    abandoned.add(reclaim);
    Deno.unrefTimer(setTimeout(reclaim, RECLAIM_MS) as unknown as number);
  }
}

/** Take back what consumers have not extracted from streams that have failed. */
const abandoned = new Set<() => void>();

/** Takes it back now. */
export function reclaimAbandoned(): void {
  for (const reclaim of abandoned) reclaim();
}
