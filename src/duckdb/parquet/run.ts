/**
 * One run of DuckDB through a Parquet file.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import type { IpcMessage } from "../../ipc/message.ts";
import type { MessageStream } from "../../sources/dataset.ts";
import type { NativeFile } from "../../sources/parquet/engine.ts";
import { textOf } from "../../text.ts";
import type { NativeConnection } from "../native.ts";
import { ArrowRowReader } from "../arrow_rows.ts";
import { NativeResult } from "../result.ts";
import { type RowColumn, RowReader } from "../rows.ts";
import type { SharedDatabase } from "./shared_database.ts";

/** What a run reads. */
export interface RunParts {
  readonly file: NativeFile;
  readonly sql: string;
  /** How each column is read; `null`: by DuckDB's own conversion. */
  readonly columns: readonly RowColumn[] | null;
}

/** What a run holds while it is open. */
interface Reading {
  readonly connection: NativeConnection;
  readonly result: NativeResult;
  readonly rows: RowReader | ArrowRowReader;
}

/** The run. One batch is read ahead. */
export class FileRun implements MessageStream {
  readonly #parts: RunParts;
  readonly #onEnd: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #opening: Promise<Reading>;
  /** Rows of the batches that come. */
  readonly #sizes: Iterator<number>;
  #connection: NativeConnection | null = null;
  #ahead: Promise<IpcMessage | null> | null = null;
  #failure: unknown = null;
  #closing: Promise<void> | null = null;

  /** @param onEnd Called once, when nothing is held any more */
  constructor(database: SharedDatabase, parts: RunParts, signal: AbortSignal | undefined, onEnd: () => void) {
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.#signal = signal;
    this.#sizes = sizesOf(parts.file.groups);
    this.#opening = this.#open(database);
    this.#opening.catch(() => {});
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted) this.#onAbort();
    else this.#ahead = this.#readAhead();
  }

  async next(): Promise<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure;
    const read = this.#ahead ?? this.#readAhead();
    try {
      const message = await read;
      if (this.#failure !== null) {
        message?.body?.release();
        throw this.#failure;
      }
      this.#ahead = message === null ? read : this.#readAhead();
      return message;
    } catch (error) {
      this.#ahead = null;
      this.#failure ??= this.#explained(error);
      throw this.#failure;
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  #onAbort = (): void => {
    void this.close();
  };

  #readAhead(): Promise<IpcMessage | null> {
    const reading = this.#read();
    // Reported when it is awaited.
    reading.catch(() => {});
    return reading;
  }

  async #open(database: SharedDatabase): Promise<Reading> {
    const connection = this.#connection = await database.connect();
    try {
      return await connection.run("read the file", this.#signal, async () => {
        this.#checkOpen();
        const { file, sql, columns } = this.#parts;
        const result = await NativeResult.execute(connection, sql);
        try {
          return { connection, result, rows: reader(result, file, columns) };
        } catch (error) {
          await result.destroy();
          throw error;
        }
      });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async #read(): Promise<IpcMessage | null> {
    const { connection, rows } = await this.#opening;
    return await connection.runLate(async () => {
      this.#checkOpen();
      const { file } = this.#parts;
      const size = this.#sizes.next();
      file.checkUnchanged();
      if (size.done) return null;
      const message = await rows.next(size.value);
      if (message !== null) return message;
      file.checkUnchanged();
      throw new LocalError(
        "invalid_data",
        `cannot read "${file.path}": it is damaged, it has fewer rows than its footer declares`,
      );
    });
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw this.#closed();
  }

  #closed(): LocalError {
    return new LocalError("closed", `cannot read "${this.#parts.file.path}": the run through it was closed`);
  }

  #explained(error: unknown): unknown {
    return this.#closing === null ? errorOf(this.#parts.file, error) : this.#closed();
  }

  async #close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#failure ??= this.#closed();
    this.#connection?.interrupt();
    const ahead = this.#ahead;
    this.#ahead = null;
    (await ahead?.catch(() => null))?.body?.release();
    const reading = await this.#opening.catch(() => null);
    if (reading !== null) {
      const { connection, result, rows } = reading;
      await connection.runLate(async () => {
        await rows.destroy();
        await result.destroy();
      });
      await connection.close();
    }
    this.#onEnd();
  }
}

function reader(
  result: NativeResult,
  { schema, groups }: NativeFile,
  columns: RunParts["columns"],
): Reading["rows"] {
  if (columns === null) return new ArrowRowReader(result, schema);
  const maxRows = groups.reduce((most, { batchRows, rows }) => Math.max(most, Math.min(batchRows, rows)), 1);
  // Each chunk has a row or more, and the first one may have been read in part.
  return new RowReader(result, schema, columns, maxRows + 1);
}

/** Codes of errors that are not about what is in the file. */
const KEPT: ReadonlySet<string> = new Set([
  ...["out_of_memory", "permission_denied", "library_not_found", "unsupported", "limit_exceeded", "internal", "closed"],
]);

/**
 * What DuckDB says of a file, by the path that its user knows.
 *
 * @param error What was thrown; it is returned if it names the file
 */
export function errorOf(file: NativeFile, error: unknown): unknown {
  try {
    file.checkUnchanged();
  } catch (changed) {
    return changed;
  }
  if (!(error instanceof DipcError) || error.message.startsWith(`cannot read "${file.path}"`)) return error;
  const text = textOf(error).replaceAll(file.source, file.path);
  const code = KEPT.has(error.code) ? error.code : "invalid_data";
  return new LocalError(code, `cannot read "${file.path}" by DuckDB: ${text}`, {
    cause: error,
    foreign: error.foreign,
  });
}

/** Rows of each batch. */
function* sizesOf(groups: NativeFile["groups"]): Generator<number> {
  for (const { rows, batchRows } of groups) {
    for (let at = 0; at < rows; at += batchRows) yield Math.min(batchRows, rows - at);
  }
}
