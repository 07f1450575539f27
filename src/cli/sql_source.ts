/**
 * The result of a query that DuckDB executes over a stream, as a source of messages.
 *
 * @module
 */
import type { DuckDbConnection, DuckDbDatabase, DuckDbStream } from "../../duckdb.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { MessageSource, SourceStats } from "./device.ts";
import { requestDuckDbVariables } from "./duckdb_source.ts";

/** Name of the view of the stream. */
const VIEW = "t";

/**
 * Executes a query over a source, which it takes over.
 *
 * @param source What the query reads as `t`
 * @param sql The query
 * @throws {DipcError} What DuckDB reports; what the source throws
 */
export async function openSqlSource(source: MessageSource, sql: string, signal: AbortSignal): Promise<MessageSource> {
  requestDuckDbVariables();
  const startedMs = performance.now();
  let database: DuckDbDatabase | null = null;
  try {
    const { openDuckDb } = await import("../../duckdb.ts");
    database = await openDuckDb();
    const connection: DuckDbConnection = await database.connect();
    await connection.registerStream(VIEW, source);
    return new SqlSource(source, database, await connection.query(sql, { signal }), startedMs);
  } catch (error) {
    await database?.close();
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

class SqlSource implements MessageSource {
  readonly #source: MessageSource;
  readonly #database: DuckDbDatabase;
  readonly #stream: DuckDbStream;
  /** When the query began: most of the time may pass before its first rows. */
  readonly #startedMs: number;
  #endedMs = 0;
  #firstBatchMs = 0;
  readonly #counts = { rows: 0, batches: 0, dictionaries: 0, bodyBytes: 0, metadataBytes: 0 };
  #isComplete = false;

  constructor(source: MessageSource, database: DuckDbDatabase, stream: DuckDbStream, startedMs: number) {
    this.#source = source;
    this.#database = database;
    this.#stream = stream;
    this.#startedMs = startedMs;
  }

  get schemaHeader(): MessageHeader {
    return this.#stream.schemaHeader;
  }

  /** Counts of the result, and how the stream that it reads came. */
  get stats(): SourceStats {
    const seconds = ((this.#endedMs || performance.now()) - this.#startedMs) / 1000;
    return {
      ...this.#source.stats,
      ...this.#counts,
      seconds,
      bytesPerSecond: seconds > 0 ? this.#counts.bodyBytes / seconds : 0,
      firstBatchSeconds: this.#firstBatchMs === 0 ? null : (this.#firstBatchMs - this.#startedMs) / 1000,
      complete: this.#isComplete,
    };
  }

  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    try {
      for await (const message of this.#stream.messages()) {
        this.#count(message.header);
        yield message;
      }
      this.#isComplete = true;
    } finally {
      this.#endedMs ||= performance.now();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#endedMs ||= performance.now();
    await this.#stream.close();
    await this.#database.close();
    await this.#source[Symbol.asyncDispose]();
  }

  #count({ kind, rows, bodyLength, bytes }: MessageHeader): void {
    if (kind === "schema") return;
    this.#counts.bodyBytes += bodyLength;
    this.#counts.metadataBytes += bytes.byteLength;
    if (kind === "dictionary") {
      this.#counts.dictionaries++;
      return;
    }
    this.#counts.rows += rows;
    this.#counts.batches++;
    this.#firstBatchMs ||= performance.now();
  }
}
