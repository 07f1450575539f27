/**
 * Imports what another library of this process produces through `ArrowAsyncDeviceStreamHandler`.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { checkOptionNames, integerIn } from "../options.ts";
import { AsyncInput } from "./async_input.ts";
import { AsyncReader } from "./async_reader.ts";
import { takeDeviceBatch } from "./device_in.ts";
import type { ForeignSchema } from "./foreign_schema.ts";
import { ForeignStream, type ImportStreamOptions } from "./foreign_stream.ts";

/** Options of {@linkcode importAsyncStream}. */
export interface ImportAsyncStreamOptions extends ImportStreamOptions {
  /**
   * Batches that are requested ahead of the reader, 1 to 1024.
   *
   * @default {4}
   */
  window?: number;
}

const IMPORT_ASYNC_KEYS: Record<keyof ImportAsyncStreamOptions, true> = { blocking: true, signal: true, window: true };
const DEFAULT_WINDOW = 4, MAX_WINDOW = 1024;

/**
 * A stream of record batches that another library of this process produces asynchronously. Nothing is copied.
 *
 * Use it as a `ForeignStream`. Leaving a loop early cancels the producer.
 */
export class AsyncForeignStream extends ForeignStream {
  readonly #input: AsyncInput;
  /** Keys and values that the producer gave for the whole stream. */
  readonly metadata: ReadonlyMap<string, string>;

  /** @ignore Use {@linkcode importAsyncStream}. */
  constructor(input: AsyncInput, reader: AsyncReader, schema: ForeignSchema, signal: AbortSignal | undefined) {
    const take = (array: bigint, schema: ForeignSchema) => takeDeviceBatch(array, schema, reader.taskMetadata);
    super({ item: "ArrowDeviceArray", take }, input, input, schema, signal, null);
    this.#input = input;
    this.metadata = reader.metadata;
  }

  /** Cancels the producer, at once if that is possible. @param reason Becomes the cause of the error that a pending read gets */
  override cancel(reason?: unknown): Promise<void> {
    this.#input.stop();
    return super.cancel(reason);
  }
}

/**
 * Imports a stream whose producer calls when it has data. `start` gives the producer the handler: a structure that belongs to it until
 * it has called `release`. At most `window` batches are requested and not read, so that a producer that is faster than the reader
 * waits for it.
 *
 * The producer may call back on any thread, within `start` and later; it never waits for this program. A function that returns only
 * when the stream has ended has to be `nonblocking`. The data of a batch are extracted when it is read, on a thread of Deno's.
 *
 * @example Usage
 * ```ts ignore
 * const stream = await importAsyncStream((handler) => library.symbols.produce(handler));
 * for await (using batch of stream) console.log(batch.numRows);
 * ```
 *
 * @param start Starts the producer with the address of an `ArrowAsyncDeviceStreamHandler`; what it throws ends the stream
 * @throws {DipcError} What the library reports, with its metadata in `foreign`; `protocol` if it breaks the rules of the interface;
 * `cancelled`; `invalid_argument`; what `start` throws
 */
export async function importAsyncStream(
  start: (handler: bigint) => unknown,
  options: ImportAsyncStreamOptions = {},
): Promise<AsyncForeignStream> {
  checkOptionNames("importAsyncStream", options, IMPORT_ASYNC_KEYS);
  const { window = DEFAULT_WINDOW, blocking = false, signal } = options;
  integerIn("window", window, 1, MAX_WINDOW);
  const reader = new AsyncReader(window);
  const input = new AsyncInput(reader, blocking);
  const onAbort = (): void =>
    input.stop(
      new DipcError("cancelled", "cannot open an imported stream: it was cancelled", { cause: signal!.reason }),
    );
  try {
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort);
    Promise.resolve(start(reader.handler)).catch((error) => input.stop(error));
    const schema = await input.schema();
    return new AsyncForeignStream(input, reader, schema, signal);
  } catch (error) {
    input.drop();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
