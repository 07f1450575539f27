/**
 * Writes Parquet, one row group after another.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { loadCodec } from "../ipc/compression.ts";
import { HeaderReader, verified, type VerifiedHeader } from "../ipc/header.ts";
import type { SchemaLayout } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { type ArrowColumn, ColumnReader } from "./parquet/arrow_columns.ts";
import { ARROW_SCHEMA, arrowHint } from "./parquet/arrow_hint.ts";
import { type ColumnTree, planColumns } from "./parquet/column_nodes.ts";
import { DictionaryStore } from "./parquet/dictionary_store.ts";
import { checkFooter, encodeFooter, MAGIC } from "./parquet/footer.ts";
import type { ChunkMetadata, RowGroupMetadata } from "./parquet/format.ts";
import { encodeRows } from "./parquet/row_encoder.ts";
import { checkDictionarySize, RowSizes } from "./parquet/row_sizes.ts";
import type { ByteSink } from "./sink.ts";
import type { MessageWriter } from "./writer.ts";

/** Options of {@linkcode ParquetWriter}. */
export interface ParquetWriterOptions {
  /** Most rows of a row group, which is held in memory, compressed, until it is written. Default 262,144. */
  rowGroupRows?: number;
  /** Size from which on a row group ends, before compression, in bytes. Default 128 MiB. */
  rowGroupBytes?: number;
}

/** Default number of rows of a row group. */
const ROW_GROUP_ROWS = 262_144;
/** Default size from which on a row group ends, in bytes. */
const ROW_GROUP_BYTES = 128 * 2 ** 20;
/** Rows are encoded in steps of about so many bytes for each column, up to a few columns, and of at most so many rows. */
const STEP_BYTES = 2 ** 20, MOST_STEP_COLUMNS = 8, STEP_ROWS = 65_536;
/** Longest time for which the encoder holds up the program, in milliseconds, but for one step. */
const PAUSE_MS = 50;
/** Most characters of names in the footer, which repeats those around each column for each row group. */
const MOST_NAMES = 2 ** 28;
/** Most bytes of all dictionaries, and of one batch or dictionary after decompression. */
const MOST_BYTES = 4 * 2 ** 30;

/** Writes a Parquet file, compressed with Zstandard. Memory holds one row group, not the file. */
export class ParquetWriter implements MessageWriter {
  readonly #layout: SchemaLayout;
  readonly #headers: HeaderReader;
  readonly #tree: ColumnTree;
  readonly #sink: ByteSink;
  readonly #options: Required<ParquetWriterOptions>;
  readonly #dictionaries = new DictionaryStore(MOST_BYTES);
  /** Size of the messages of dictionaries so far, decompressed, in bytes. */
  #dictionaryBytes = 0;
  readonly #groups: RowGroupMetadata[] = [];
  /** Rows of the row group that is being encoded. */
  #rows = 0;
  /** Bytes written so far. */
  #offset = 0;
  #lastPause = performance.now();

  private constructor(headers: HeaderReader, tree: ColumnTree, sink: ByteSink, options: ParquetWriterOptions) {
    this.#headers = headers;
    this.#layout = headers.layout!;
    this.#tree = tree;
    this.#sink = sink;
    this.#options = {
      rowGroupRows: options.rowGroupRows ?? ROW_GROUP_ROWS,
      rowGroupBytes: options.rowGroupBytes ?? ROW_GROUP_BYTES,
    };
  }

  /**
   * Starts a file.
   *
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param options Size of row groups
   * @throws {DipcError} `unsupported` if Parquet has nothing like a column's type
   */
  // deno-lint-ignore require-await -- as the registry opens every format
  static async create(
    schema: MessageHeader,
    sink: ByteSink,
    options: ParquetWriterOptions = {},
  ): Promise<ParquetWriter> {
    const headers = HeaderReader.continuing(schema);
    const { endianness, fields } = headers.layout!;
    if (endianness !== "little") {
      const what = "the data is big-endian, expected little-endian; write an Arrow file or stream instead";
      throw new DipcError("unsupported", `cannot write Parquet: ${what}`);
    }
    const writer = new ParquetWriter(headers, planColumns(fields), sink, options);
    writer.#checkNames();
    // Fails early if the schema cannot be embedded.
    arrowHint(writer.#layout, () => false);
    return writer;
  }

  /** Writes one message and releases its body. */
  async write({ header: raw, body }: IpcMessage): Promise<void> {
    try {
      const header = verified(raw, this.#headers);
      if ((body?.byteLength ?? 0) < header.bodyLength) {
        const what = `its body has ${body?.byteLength ?? 0} bytes, expected ${header.bodyLength}`;
        throw new DipcError("invalid_data", `cannot write a message to Parquet: ${what}`);
      }
      if (header.compression !== "none") await loadCodec(header.compression);
      const bytes = body?.bytes() ?? new Uint8Array(0);
      if (header.kind === "dictionary") this.#addDictionary(header, bytes);
      else if (header.kind === "batch") await this.#writeBatch(header, bytes);
    } finally {
      body?.release();
    }
  }

  /** Writes the last row group and the footer, reads the footer back, and makes the output final. */
  async finish(): Promise<void> {
    await this.#endGroup();
    if (this.#offset === 0) await this.#put([MAGIC]);
    const keyValues = new Map(this.#layout.metadata);
    keyValues.set(ARROW_SCHEMA, arrowHint(this.#layout, (id) => this.#dictionaries.hasChanged(id)));
    const metadata = { schema: this.#tree.schema, groups: this.#groups, keyValues, createdBy: "dipc" };
    const footer = encodeFooter(metadata);
    await checkFooter(footer, metadata);
    await this.#put([footer]);
    await this.#sink.finish();
  }

  /** Aborts the output. */
  async abort(): Promise<void> {
    await this.#sink.abort();
  }

  #addDictionary(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>): void {
    const { dictionaryId, isDelta } = header;
    const { field } = this.#layout.dictionaries.get(dictionaryId)!;
    const reader = new ColumnReader(header, bytes, MOST_BYTES);
    const column = reader.read(field, true);
    this.#dictionaryBytes += reader.byteLength;
    checkDictionarySize(column, this.#dictionaries.byteLength, this.#dictionaryBytes, this.#dictionaries);
    this.#dictionaries.add(dictionaryId, column, isDelta);
  }

  async #writeBatch(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { rows, bodyLength } = header;
    const reader = new ColumnReader(header, bytes, MOST_BYTES);
    const columns = this.#layout.fields.map((field) => reader.read(field));
    const { encoders } = this.#tree;
    const stepBytes = STEP_BYTES * Math.max(1, Math.min(MOST_STEP_COLUMNS, encoders.length));
    const step = Math.max(1, Math.min(STEP_ROWS, Math.floor(stepBytes * rows / Math.max(1, bodyLength))));
    const { rowGroupRows, rowGroupBytes } = this.#options;
    const sizes = new RowSizes(columns, reader.byteLength, this.#dictionaries);
    for (let from = 0; from < rows;) {
      // Without columns there is nothing to encode but the number of rows.
      const most = encoders.length === 0 ? rows : from + step;
      const to = sizes.stepEnd(from, Math.min(rows, most, from + rowGroupRows - this.#rows));
      this.#encode(columns, from, to);
      this.#rows += to - from;
      from = to;
      await this.#pause();
      const size = encoders.reduce((sum, { byteLength }) => sum + byteLength, 0);
      if (this.#rows === rowGroupRows || size >= rowGroupBytes) await this.#endGroup();
    }
  }

  /** Lets other work of the program run, such as that of its connections, at least every so often. */
  async #pause(): Promise<void> {
    if (performance.now() - this.#lastPause < PAUSE_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lastPause = performance.now();
  }

  #encode(columns: readonly ArrowColumn[], from: number, to: number): void {
    columns.forEach((column, i) => encodeRows(this.#tree.columns[i], column, from, to, this.#dictionaries));
  }

  /** Writes the row group if it has rows. */
  async #endGroup(): Promise<void> {
    if (this.#rows === 0) return;
    this.#checkNames();
    if (this.#offset === 0) await this.#put([MAGIC]);
    const offset = this.#offset;
    const chunks: ChunkMetadata[] = [];
    for (const encoder of this.#tree.encoders) {
      const { pieces, metadata, dictionaryBytes } = encoder.finish();
      chunks.push({ ...metadata, offset: this.#offset, dataOffset: this.#offset + dictionaryBytes });
      await this.#put(pieces);
    }
    this.#groups.push({ rows: this.#rows, offset, chunks });
    this.#rows = 0;
  }

  /** Checks the names of the next row group. A schema has each name once, however many columns it is around. */
  #checkNames(): void {
    const groups = this.#groups.length + 1, length = this.#tree.nameLength * groups;
    if (length <= MOST_NAMES) return;
    throw new DipcError(
      "limit_exceeded",
      `cannot write Parquet: the names of its columns would have ${length} characters in ${groups} row group${
        groups === 1 ? "" : "s"
      }, the most is ${MOST_NAMES}; shorten them, or write an Arrow file or stream instead`,
    );
  }

  async #put(pieces: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    await this.#sink.write(pieces);
    for (const { byteLength } of pieces) this.#offset += byteLength;
  }
}
