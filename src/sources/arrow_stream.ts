/**
 * Arrow IPC streams as datasets: from a file, from standard input or from any stream of bytes, without decoding columns.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { readerLimits } from "../limits.ts";
import { hostPool } from "../memory/host_pool.ts";
import { type ByteReader, FileInput, ReaderInput, StreamInput } from "./byte_input.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { FileHandle } from "./file_handle.ts";
import type { SourceOptions } from "./options.ts";
import { type RunParts, StreamRun } from "./stream_run.ts";

/** Options of {@linkcode arrowStream}. */
export interface ArrowStreamOptions extends SourceOptions {
  /** Name of the stream in messages; default: the path, or "the stream". */
  name?: string;
  /**
   * Whether the stream ends at its end-of-stream marker. By default the input is read to its end: a stream that follows the marker
   * is part of the data. `true` is for a socket whose peer sends one stream and then waits for an answer.
   *
   * @default {false}
   */
  stopAtMarker?: boolean;
}

/**
 * An Arrow IPC stream as a dataset. The path of a file can be served many times; anything else is read only once, as it
 * arrives, and rejects a second run.
 *
 * A stream ends with an end-of-stream marker or, as the format allows, with the end of the input between two messages, of which
 * `onWarning` is notified. Several streams one after the other, as `cat` makes them, are read as one if they have the same
 * columns; anything else after the marker is `invalid_data`.
 *
 * @example Usage
 * ```ts ignore
 * const response = await fetch("https://example.org/trips.arrows");
 * const trips = await arrowStream(response.body!);
 * ```
 *
 * @param source Path of a file, a stream of bytes, or a reader such as `Deno.stdin`
 * @param options Pool, limits, name, and what to do at the end
 * @returns the dataset, once its schema has been read
 * @throws {DipcError} `not_found`, `io`, `invalid_data`
 */
export async function arrowStream(
  source: string | ReadableStream<Uint8Array> | ByteReader,
  options: ArrowStreamOptions = {},
): Promise<Dataset> {
  const parts: RunParts = {
    pool: options.pool ?? hostPool(),
    limits: readerLimits(options.limits),
    stopAtMarker: options.stopAtMarker ?? false,
    warn: options.onWarning,
  };
  if (typeof source === "string") {
    const file = FileHandle.open(source);
    try {
      const run = new StreamRun(new FileInput(file), parts);
      await run.start();
      return new StreamFileDataset(file, run.schema, parts);
    } catch (error) {
      file.close();
      throw error;
    }
  }
  const name = options.name ?? "the stream";
  const input = source instanceof ReadableStream ? new StreamInput(source, name) : new ReaderInput(source, name);
  const run = new StreamRun(input, parts);
  try {
    await run.start();
  } catch (error) {
    await run.close();
    throw error;
  }
  return new OnceDataset(run, name);
}

/** A stream in a file: each run reads it from the start. */
class StreamFileDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = false;
  readonly #file: FileHandle;
  readonly #parts: RunParts;

  constructor(file: FileHandle, schema: MessageHeader, parts: RunParts) {
    this.#file = file;
    this.schema = schema;
    this.#parts = parts;
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const run = new StreamRun(new FileInput(this.#file), this.#parts);
    await run.start();
    run.closeOn(options.signal);
    return run;
  }

  close(): void {
    this.#file.close();
  }
}

/** A stream that can be read only once. */
class OnceDataset implements Dataset {
  readonly readOnce = true;
  readonly #run: StreamRun;
  readonly #name: string;
  #isTaken = false;

  constructor(run: StreamRun, name: string) {
    this.#run = run;
    this.#name = name;
  }

  get schema(): MessageHeader {
    return this.#run.schema;
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    if (this.#isTaken) {
      // Why the first run failed says more than that there was one.
      if (this.#run.failure !== null) throw this.#run.failure;
      throw new LocalError(
        "busy",
        `cannot read ${this.#name} again: it can be read only once; serve a file to have more than one client`,
      );
    }
    this.#isTaken = true;
    this.#run.closeOn(options.signal);
    return this.#run;
  }

  async close(): Promise<void> {
    await this.#run.close();
  }
}
