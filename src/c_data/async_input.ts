/**
 * Waits for what a foreign producer sends to a handler.
 *
 * @module
 */
import type { AsyncReader } from "./async_reader.ts";
import { bellChange, bellVersion, ringBell } from "./bell.ts";
import { foreignError } from "./foreign_calls.ts";
import { type ForeignSchema, foreignSchema } from "./foreign_schema.ts";
import { readSchema } from "./schema_in.ts";

/** How long a producer may take to explain, by `on_error`, why `extract_data` has failed, in milliseconds. */
const EXPLANATION_MS = 200;

/** What a stream reads: waits for the producer, and takes its tasks. */
export class AsyncInput {
  readonly #reader: AsyncReader;
  readonly #isBlocking: boolean;
  #error: unknown = null;
  #isStopped = false;
  #isDropped = false;

  /**
   * @param reader The handler
   * @param isBlocking Extracts data on this thread
   */
  constructor(reader: AsyncReader, isBlocking: boolean) {
    this.#reader = reader;
    this.#isBlocking = isBlocking;
  }

  /** Waits for the schema. @throws {DipcError} what the producer reports instead; what {@linkcode stop} was given */
  async schema(): Promise<ForeignSchema> {
    for (;;) {
      const seen = bellVersion();
      if (this.#isStopped) throw this.#error;
      // First the end, and then what came before it: both may come at any moment.
      const { failure } = this.#reader;
      const address = this.#reader.schema;
      if (address !== null) return foreignSchema(readSchema(address));
      if (failure !== null) throw failure;
      await bellChange(seen);
    }
  }

  /**
   * Waits for a task, and has its data written to an address; writes nothing at the end.
   *
   * @param out Address of memory for an `ArrowDeviceArray`
   * @throws {DipcError} what the producer reports; what {@linkcode stop} was given
   */
  async next(out: bigint): Promise<void> {
    for (;;) {
      const seen = bellVersion();
      if (this.#isStopped) {
        if (this.#error !== null) throw this.#error;
        return;
      }
      // First the end, and then what came before it: both may come at any moment.
      const { failure, hasEnded } = this.#reader;
      if (this.#reader.hasTask) return await this.#take(out);
      if (failure !== null) throw failure;
      if (hasEnded) return;
      await bellChange(seen);
    }
  }

  async #take(out: bigint): Promise<void> {
    const status = await this.#reader.take(out, this.#isBlocking);
    if (status === 0) return;
    const untilMs = performance.now() + EXPLANATION_MS;
    for (;;) {
      const seen = bellVersion();
      const leftMs = untilMs - performance.now();
      const failure = this.#reader.failure ?? (leftMs > 0 ? null : foreignError("extract a batch", status, null));
      if (failure !== null) throw failure;
      await bellChange(seen, leftMs);
    }
  }

  /**
   * Ends every wait.
   *
   * @param error Thrown by what waits
   */
  stop(error: unknown = null): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#error = error;
    ringBell();
  }

  /** Lets the producer go. Idempotent. */
  drop(): void {
    if (this.#isDropped) return;
    this.#isDropped = true;
    void this.#reader.close();
  }
}
