/**
 * Has DuckDB write the messages of a stream in a format, by its COPY: it encodes with several threads.
 *
 * @module
 */
import { Pipe } from "../../ffi/pipe.ts";
import { CallMemory } from "../../ffi/raw_memory.ts";
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { openDuckDb } from "./database.ts";

/** Takes the bytes; see `ByteSink` of the formats. */
export interface CopySink {
  write(pieces: readonly Uint8Array<ArrayBuffer>[]): void | Promise<void>;
  finish(): void | Promise<void>;
  abort(): void | Promise<void>;
}

/** Messages that wait for DuckDB, at most. */
const MAX_WAITING = 4;
const PIECE_BYTES = 2 ** 20;

/** Writes one stream. */
export class CopyWriter {
  readonly #sink: CopySink;
  readonly #pipe = new Pipe();
  readonly #queue = new Waiting();
  readonly #abort = new AbortController();
  /** Settles once DuckDB has written everything, and it has gone to the sink. */
  readonly #copying: Promise<void>;
  #failure: unknown = null;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param options What follows `COPY … TO FILE` in parentheses
   */
  constructor(schema: MessageHeader, sink: CopySink, options: string) {
    this.#sink = sink;
    this.#copying = this.#copy(schema, options);
    this.#copying.catch((error) => {
      this.#failure ??= error;
      this.#queue.drop();
    });
  }

  /** Writes one message and releases its body. @throws {DipcError} What DuckDB or the sink reports */
  async write(message: IpcMessage): Promise<void> {
    if (this.#failure === null) await this.#queue.add(message);
    else message.body?.release();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Ends the file and makes the output final. @throws {DipcError} What DuckDB or the sink reports */
  async finish(): Promise<void> {
    this.#queue.end();
    await this.#copying;
    await this.#sink.finish();
  }

  /** Aborts the output. Idempotent. */
  async abort(): Promise<void> {
    this.#failure ??= new DipcError("cancelled", "cannot go on writing: the output was aborted");
    this.#abort.abort();
    this.#queue.end();
    await this.#copying.catch(() => {});
    await this.#sink.abort();
  }

  async #copy(schema: MessageHeader, options: string): Promise<void> {
    const reading = this.#drain();
    try {
      await using database = await openDuckDb(undefined, { config: CONFIG });
      await using connection = await database.connect();
      const run = { next: () => this.#queue.next(), close: () => this.#queue.drop() };
      await using _ = await connection.registerStream("stream", { schema, open: () => run });
      const sql = `copy (from stream) to '${this.#pipe.path}' (${options}, use_tmp_file false)`;
      await connection.execute(sql, { signal: this.#abort.signal });
    } finally {
      this.#pipe.closeWriter();
      await reading.finally(() => this.#pipe.close());
    }
  }

  /** Hands what DuckDB writes to the sink. */
  async #drain(): Promise<void> {
    let error: unknown = null;
    using memory = new CallMemory(PIECE_BYTES);
    for (let count; (count = await this.#pipe.read(memory)) > 0;) {
      if (error !== null) continue;
      try {
        await this.#sink.write([memory.bytes.subarray(0, count)]);
      } catch (cause) {
        // DuckDB must not wait for a reader that is gone.
        error = cause;
        this.#abort.abort();
      }
    }
    if (error !== null) throw this.#failure = error;
  }
}

/** DuckDB's settings: nothing is fetched from a network, or written elsewhere. */
const CONFIG = { autoinstall_known_extensions: "false", autoload_known_extensions: "false" };

/** Messages on their way to DuckDB. */
class Waiting {
  readonly #messages: IpcMessage[] = [];
  #hasEnded = false;
  #wakeReader: (() => void) | null = null;
  #wakeWriter: (() => void) | null = null;

  /** Adds a message, and waits until there is room for the next one. */
  async add(message: IpcMessage): Promise<void> {
    if (this.#hasEnded) {
      message.body?.release();
      return;
    }
    this.#messages.push(message);
    this.#wakeReader?.();
    while (this.#messages.length >= MAX_WAITING && !this.#hasEnded) {
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
    }
  }

  /** The next message, `null` after the last one. */
  async next(): Promise<IpcMessage | null> {
    while (this.#messages.length === 0 && !this.#hasEnded) {
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
    const message = this.#messages.shift() ?? null;
    this.#wakeWriter?.();
    return message;
  }

  /** Nobody takes messages any more. Idempotent. */
  drop(): void {
    this.end();
    for (const { body } of this.#messages.splice(0)) body?.release();
  }

  /** No more messages come. Idempotent. */
  end(): void {
    this.#hasEnded = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }
}
