/**
 * The destination of what `dipc get` fetches: a file or standard output in some format, or the screen.
 *
 * @module
 */
import { AtomicFile } from "../formats/atomic_file.ts";
import type { OutputFormat } from "../formats/registry.ts";
import type { ByteSink, Piece } from "../formats/sink.ts";
import { pieceBytes } from "../formats/sink.ts";
import type { MessageWriter } from "../formats/writer.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { cutBatch } from "./cut_batch.ts";
import { writeAll } from "./output.ts";

/** Receives the messages of one stream. */
export interface Target extends MessageWriter {
  /** Writes the first `rows` rows of a batch that has more. Takes over the message. */
  writeFirst(message: IpcMessage, rows: number): void | Promise<void>;
}

/** Options of {@linkcode openTarget}. */
export interface TargetOptions {
  /** File, `-` for standard output, undefined to show the data. */
  readonly output: string | undefined;
  /** Format, if there is an output. */
  readonly format: OutputFormat | undefined;
  /** Rows that were requested; `Infinity` for all. */
  readonly limit: number;
  /** Print only the totals to standard output. */
  readonly json: boolean;
  /** Whether DuckDB writes a Parquet file. */
  readonly isByDuckDb?: boolean;
  /** Custom metadata of the source's footer. */
  readonly footerMetadata?: ReadonlyMap<string, string>;
  /** Ends a write to standard output that its reader does not take. */
  readonly signal: AbortSignal;
}

/** Standard output as a sink; if its reader has closed it, the command ends silently. */
class StandardOutput implements ByteSink {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async write(pieces: readonly Piece[]): Promise<void> {
    for (const piece of pieces) await this.#write(pieceBytes(piece));
  }

  /** A reader that takes nothing must not keep a command alive that was ended. */
  async #write(bytes: Uint8Array): Promise<void> {
    const signal = this.#signal;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    writeAll(Deno.stdout, bytes).then(resolve, reject);
    await promise.finally(() => signal.removeEventListener("abort", onAbort));
  }

  finish(): void {}
  abort(): void {}
}

/** Adds the cutting of batches to a writer. */
class WriterTarget implements Target {
  readonly #schema: MessageHeader;
  readonly #writer: MessageWriter;
  readonly warnings: readonly string[];

  constructor(schema: MessageHeader, writer: MessageWriter) {
    this.#schema = schema;
    this.#writer = writer;
    this.warnings = writer.warnings ?? [];
  }

  write(message: IpcMessage): void | Promise<void> {
    return this.#writer.write(message);
  }

  async writeFirst(message: IpcMessage, rows: number): Promise<void> {
    await this.#writer.write(await cutBatch(this.#schema, message, rows));
  }

  finish(): void | Promise<void> {
    return this.#writer.finish();
  }

  abort(): void | Promise<void> {
    return this.#writer.abort();
  }
}

/** Discards all messages. */
const discard: MessageWriter = {
  write: (message) => message.body?.release(),
  finish() {},
  abort() {},
};

/** Opens the target. @throws {DipcError} if the file cannot be created, or the format cannot hold the schema */
export async function openTarget(options: TargetOptions, schema: MessageHeader): Promise<Target> {
  const { output, format, json, footerMetadata, isByDuckDb, signal } = options;
  if (output === undefined || format === undefined) {
    if (json) return new WriterTarget(schema, discard);
    const { ScreenWriter } = await import("./screen.ts");
    const screen = new ScreenWriter(schema, options.limit);
    await screen.start();
    return new WriterTarget(schema, screen);
  }
  const sink: ByteSink = output === "-" ? new StandardOutput(signal) : AtomicFile.create(output);
  try {
    return new WriterTarget(schema, await format.open(schema, sink, { footerMetadata, isByDuckDb }));
  } catch (error) {
    await sink.abort();
    throw error;
  }
}
