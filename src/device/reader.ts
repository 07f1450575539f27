/**
 * The reader of one stream whose bodies are received into the memory of a GPU.
 *
 * @module
 */
import { type RecordBatch, type Schema, Table } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { type ReaderStats, ReadState } from "../read_state.ts";
import type { StreamSpan } from "../telemetry/stream_span.ts";
import type { StreamRoutes } from "../routes/stats.ts";
import { busyError, type EndOptions } from "../stream/message_input.ts";
import { type CudaDevice, publicDevice } from "./cuda_device.ts";
import { DictionaryChunk, DictionarySet } from "./dictionaries.ts";
import type { DeviceInput, DeviceMessage } from "./input.ts";
import { DeviceRecordBatch, DeviceStreamShape } from "./record_batch.ts";
import { giveBack } from "./release.ts";
import type { StagingDecision } from "./staging.ts";

/** Longest time of work without yielding to timers, signals and other tasks, in milliseconds. */
const TURN_MS = 5;

/** Counters of a {@linkcode DeviceStreamReader}. */
export interface DeviceReaderStats extends ReaderStats {
  /** Memory space of the batches, such as `"cuda:0"`. */
  memory: string;
  /** Whether bodies were staged through pinned host memory; otherwise they came directly from the wire. */
  staged: boolean;
  /** Reason for staging, or for its absence. */
  stagingReason: string;
  /** Messages that arrived compressed and were decompressed by the CPU, because a GPU reads columns in place. */
  decompressedOnHost: number;
}

/** Parts of a {@linkcode DeviceStreamReader}. */
export interface DeviceReaderParts {
  readonly input: DeviceInput;
  readonly device: Gpu;
  /** The schema message. */
  readonly schema: VerifiedHeader;
  readonly staging: StagingDecision;
  /** The routes that the parts of the stream take. */
  readonly routes: StreamRoutes;
  readonly limits: ReaderLimits;
  /** Cancels the stream. */
  readonly signal?: AbortSignal;
  /** `performance.now()` when `connect` was called. */
  readonly startedMs: number;
  /** The stream in a trace. */
  readonly span: StreamSpan;
}

/**
 * Reads one stream into the memory of a GPU. Made by `connectCuda`.
 *
 * Use it in one way: as an async iterable of batches, by `messages()` or by `toTable()`. An incomplete stream throws; it never
 * just ends.
 */
export class DeviceStreamReader implements AsyncIterable<DeviceRecordBatch>, AsyncDisposable {
  /** The schema message as it arrived; available for every Arrow type. */
  readonly schemaHeader: MessageHeader;
  readonly #parts: DeviceReaderParts;
  readonly #shape: DeviceStreamShape;
  #dictionaries = DictionarySet.empty();
  #turnStartedMs: number;
  readonly #state: ReadState;

  /** @ignore Use `connect` */
  constructor(parts: DeviceReaderParts) {
    this.#parts = parts;
    this.schemaHeader = parts.schema;
    const { maxDecompressedBytes } = parts.limits;
    this.#shape = new DeviceStreamShape(parts.schema, { maxDecompressedBytes });
    this.#turnStartedMs = performance.now();
    const { routes, signal, startedMs, span } = parts;
    const close = (how: EndOptions): Promise<void> => parts.input.close(how).finally(() => this.#dictionaries.drop());
    this.#state = new ReadState({ routes, signal, startedMs, span, close });
    if (signal?.aborted) this.cancel(signal.reason).catch(() => {});
  }

  /**
   * The schema.
   *
   * @throws {DipcError} `unsupported` if apache-arrow lacks a type; the message names column and type
   */
  get schema(): Schema {
    return this.#shape.decoder.schema;
  }

  /** The GPU. */
  get device(): CudaDevice {
    return publicDevice(this.#parts.device);
  }

  /** @ignore The GPU, for copies. */
  get _gpu(): Gpu {
    return this.#parts.device;
  }

  /** Counters so far. */
  get stats(): DeviceReaderStats {
    const { input, staging } = this.#parts;
    return {
      ...this.#state.stats(input.metadataBytes),
      memory: this.#parts.device.space,
      staged: staging.isStaged,
      stagingReason: staging.reason,
      decompressedOnHost: input.decompressed,
    };
  }

  /**
   * The next record batch; `done` at the end of a complete stream. Its values may still be copied: see
   * {@linkcode DeviceRecordBatch.event}.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`,
   * `out_of_memory`; what the driver reports
   */
  async next(): Promise<IteratorResult<DeviceRecordBatch, undefined>> {
    for (;;) {
      const message = await this.#nextMessage();
      if (message === null) return { done: true, value: undefined };
      if (message.header.kind === "dictionary") {
        await this.#keep(message);
        continue;
      }
      const { device } = this.#parts;
      const batch = new DeviceRecordBatch({
        device,
        shape: this.#shape,
        ...message,
        dictionaries: this.#dictionaries.hold(),
      });
      return { done: false, value: batch };
    }
  }

  /** Iterates over the batches. Leaving the loop early cancels the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<DeviceRecordBatch, undefined> {
    this.#state.begin();
    try {
      for (let result; !(result = await this.next()).done;) yield result.value;
    } finally {
      await this.cancel();
    }
  }

  /**
   * Iterates over the raw messages: the schema, then dictionaries and batches, whose bodies are filled and in device memory.
   * The caller releases the body of each message. Works for every Arrow type. Leaving the loop early cancels the stream.
   */
  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    this.#state.begin(true);
    try {
      yield { header: this.schemaHeader, body: null };
      for (;;) {
        const message = await this.#nextMessage();
        if (message === null) return;
        try {
          await message.event?.done({ signal: this.#parts.signal });
        } catch (error) {
          giveBack(message.body, message.event);
          await this.#state.reject(error);
        }
        yield { header: message.header, body: message.body };
      }
    } finally {
      await this.cancel();
    }
  }

  /** Collects the rest of the stream in host memory. The table's batches own their memory. */
  async toTable(): Promise<Table> {
    const batches: RecordBatch[] = [];
    for await (using batch of this) batches.push(await batch.toHost({ pinned: false }));
    return batches.length === 0 ? new Table(this.schema) : new Table(this.schema, batches);
  }

  /**
   * Cancels the stream and releases everything but the batches handed out. Idempotent; does nothing after the end.
   *
   * @param reason Becomes the cause of the error that a pending read gets
   */
  cancel(reason?: unknown): Promise<void> {
    return this.#state.cancel(reason);
  }

  /** As `cancel()`; what reads afterwards gets `closed`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#state.dispose();
  }

  /** Takes a dictionary over, for the batches that follow. */
  async #keep(message: DeviceMessage): Promise<void> {
    const before = this.#dictionaries;
    const next = before.with(new DictionaryChunk(message.header, message.body, message.event));
    this.#dictionaries = next;
    before.drop();
    const { maxDictionaryBytes } = this.#parts.limits;
    if (next.byteLength <= maxDictionaryBytes) return;
    await this.#state.reject(
      new DipcError(
        "limit_exceeded",
        `cannot keep ${next.byteLength} bytes of dictionaries: the limit maxDictionaryBytes is ${maxDictionaryBytes}; raise it`,
      ),
    );
  }

  async #nextMessage(): Promise<DeviceMessage | null> {
    const state = this.#state;
    if (state.isTaken) throw busyError();
    try {
      if (!state.enter()) return null;
      if (performance.now() - this.#turnStartedMs >= TURN_MS) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        this.#turnStartedMs = performance.now();
      }
      const next = this.#parts.input.next();
      const message = next instanceof Promise ? await next : next;
      if (state.error !== null) {
        if (message !== null) giveBack(message.body, message.event);
        throw state.error;
      }
      state.isBusy = false;
      if (message === null) await state.finish();
      else state.count(message.header);
      return message;
    } catch (error) {
      return await this.#state.reject(error);
    }
  }
}
