/**
 * Writes Parquet with parquet-wasm, one row group after another.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { concatBytes } from "../bytes.ts";
import { DipcError, LocalError } from "../errors.ts";
import { BatchDecoder } from "../ipc/decode.ts";
import { BatchEncoder } from "../ipc/encode.ts";
import { typeText } from "../ipc/describe.ts";
import { END_OF_STREAM, frameMetadata } from "../ipc/frame.ts";
import { HeaderReader } from "../ipc/header.ts";
import { slicesOf } from "../ipc/slice_batch.ts";
import type { ArrowType, FieldLayout } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { permittedPool } from "../memory/plain_pool.ts";
import { loadParquetWasm } from "../sources/parquet_wasm.ts";
import { textOf } from "../text.ts";
import type { ByteSink } from "./sink.ts";
import type { MessageWriter } from "./writer.ts";

/** Options of {@linkcode ParquetWriter}. */
export interface ParquetWriterOptions {
  /**
   * Most rows of a row group, which is held in memory, encoded, until it is written. Default 262,144, and fewer if those of the
   * first batch are so long that a group would have more than 512 MiB.
   */
  rowGroupRows?: number;
  /**
   * Batches over this size are cut, in bytes: the encoder holds a few copies of one in its memory of 4 GiB. One that cannot be cut
   * may have four times as much, its dictionaries included. Default 256 MiB.
   */
  maxBatchBytes?: number;
}

/** Default number of rows of a row group. */
const ROW_GROUP_ROWS = 262_144;
/** Size of a row group that fewer rows are chosen for by default, in bytes. */
const ROW_GROUP_BYTES = 512 * 2 ** 20;
/** Default size over which a batch is cut, in bytes. */
const MAX_BATCH_BYTES = 256 * 2 ** 20;

/** Writes a Parquet file, compressed with Zstandard. Memory holds one row group, not the file. */
export class ParquetWriter implements MessageWriter {
  readonly #parquet: typeof ParquetWasm;
  readonly #schema: MessageHeader;
  readonly #sink: ByteSink;
  readonly #batches: ReadableStream<ParquetWasm.RecordBatch>;
  #controller!: ReadableStreamDefaultController<ParquetWasm.RecordBatch>;
  #wake: (() => void) | null = null;
  /** The task that moves encoded bytes to the sink, once there is a batch. */
  #output: Promise<void> | null = null;
  #failure: unknown = null;
  #hasEnded = false;
  readonly #rowGroupRows: number | undefined;
  readonly #maxBatchBytes: number;
  /** Batches so far, to name the one that fails. */
  #count = 0;
  /** Dictionary messages that the next batch needs, by id: the first one and its deltas. */
  readonly #dictionaries = new Map<bigint, Uint8Array<ArrayBuffer>[]>();
  readonly #recoder: Recoder;

  private constructor(
    parquet: typeof ParquetWasm,
    schema: MessageHeader,
    sink: ByteSink,
    options: ParquetWriterOptions,
  ) {
    this.#parquet = parquet;
    this.#recoder = recoderOf(schema);
    this.#schema = this.#recoder.encoder.schemaHeader;
    this.#sink = sink;
    this.#rowGroupRows = options.rowGroupRows;
    this.#maxBatchBytes = options.maxBatchBytes ?? MAX_BATCH_BYTES;
    this.#batches = new ReadableStream<ParquetWasm.RecordBatch>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#wake?.(),
    }, { highWaterMark: 0 });
  }

  /**
   * Starts a file; loads parquet-wasm on first use.
   *
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param options Size of row groups
   * @throws {DipcError} `unsupported` if parquet-wasm cannot be loaded or cannot write a column's type
   */
  static async create(
    schema: MessageHeader,
    sink: ByteSink,
    options: ParquetWriterOptions = {},
  ): Promise<ParquetWriter> {
    const { layout } = HeaderReader.continuing(schema);
    if (layout!.endianness !== "little") {
      const what = "the data is big-endian, expected little-endian; write an Arrow file or stream instead";
      throw new DipcError("unsupported", `cannot write Parquet: ${what}`);
    }
    for (const field of layout!.fields) checkField(field);
    const parquet = await loadParquetWasm();
    const writer = new ParquetWriter(parquet, schema, sink, options);
    try {
      // Fails early if parquet-wasm does not support all the types.
      writer.#emptyFile();
    } catch (cause) {
      throw parquetWriteError(cause);
    }
    return writer;
  }

  /** Writes one message and releases its body. */
  async write(message: IpcMessage): Promise<void> {
    if (this.#failure !== null) {
      message.body?.release();
      throw this.#failure;
    }
    if (message.header.kind === "batch") this.#count++;
    const maxBytes = this.#maxBatchBytes;
    for (const part of await this.#recode(message)) {
      if (part.header.kind !== "batch" || part.header.bodyLength <= maxBytes) {
        await this.#writePlain(part);
        continue;
      }
      for (const slice of slicesOf(this.#schema, part, maxBytes / 4, permittedPool())) await this.#writePlain(slice);
    }
  }

  /** Writes the last row group and the footer, and makes the output final. */
  async finish(): Promise<void> {
    if (this.#output === null) {
      await this.#sink.write([this.#emptyFile()]);
    } else {
      this.#hasEnded = true;
      this.#controller.close();
      await this.#output;
      if (this.#failure !== null) throw this.#failure;
    }
    await this.#sink.finish();
  }

  /** Aborts the output. */
  async abort(): Promise<void> {
    if (!this.#hasEnded && this.#output !== null) {
      this.#hasEnded = true;
      this.#controller.error(new Error("the output was aborted"));
      await this.#output;
    }
    await this.#sink.abort();
  }

  async #writePlain({ header, body }: IpcMessage): Promise<void> {
    let batch: ParquetWasm.RecordBatch | null;
    try {
      const pieces = [frameMetadata(header), body === null ? new Uint8Array(0) : body.bytes()];
      if (header.kind === "dictionary") {
        const parts = header.isDelta ? this.#dictionaries.get(header.dictionaryId) ?? [] : [];
        this.#dictionaries.set(header.dictionaryId, [...parts, concatBytes(pieces)]);
        return;
      }
      batch = this.#import(pieces);
    } catch (cause) {
      throw parquetWriteError(cause, this.#count);
    } finally {
      body?.release();
    }
    if (batch !== null) await this.#put(batch, header);
  }

  /** Rows of all groups, from the first batch. */
  #propertiesFor({ rows, bodyLength }: MessageHeader): ParquetWasm.WriterProperties {
    const fitting = Math.floor(ROW_GROUP_BYTES / Math.max(1, bodyLength / Math.max(1, rows)));
    return new this.#parquet.WriterPropertiesBuilder()
      .setCompression(this.#parquet.Compression.ZSTD)
      .setMaxRowGroupSize(this.#rowGroupRows ?? Math.max(1, Math.min(ROW_GROUP_ROWS, fitting)))
      .setCreatedBy("dipc")
      .build();
  }

  /** Hands a batch to the encoder, and waits until it requests the next one or has failed. */
  async #put(batch: ParquetWasm.RecordBatch, header: MessageHeader): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#wake = resolve);
    this.#controller.enqueue(batch);
    this.#output ??= this.#pump(header);
    await taken;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Moves the output of the encoder to the sink until it ends. Never rejects. */
  async #pump(first: MessageHeader): Promise<void> {
    try {
      const encoded: ReadableStream<Uint8Array<ArrayBuffer>> = await this.#parquet.transformParquetStream(
        this.#batches,
        this.#propertiesFor(first),
      );
      for await (const chunk of encoded) await this.#toSink(chunk);
      if (!this.#hasEnded) throw new Error("the encoder stopped before the last batch");
    } catch (cause) {
      this.#failure ??= parquetWriteError(cause, this.#count);
    } finally {
      this.#wake?.();
    }
  }

  /** What the sink throws is the caller's to understand, such as a pipe that its reader has closed. */
  async #toSink(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#sink.write([chunk]);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** One batch in the encoder's memory, or `null` if it has no rows. */
  #import(pieces: readonly Uint8Array<ArrayBuffer>[]): ParquetWasm.RecordBatch | null {
    const parts = [
      frameMetadata(this.#schema),
      ...[...this.#dictionaries.values()].flat(),
      ...pieces,
      END_OF_STREAM,
    ];
    const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (bytes > 4 * this.#maxBatchBytes) {
      throw new DipcError(
        "limit_exceeded",
        `cannot write batch ${this.#count} to Parquet: with its dictionaries it has ${bytes} bytes and cannot be cut, the ` +
          `encoder takes ${4 * this.#maxBatchBytes} at most; use smaller batches, or write Arrow instead`,
      );
    }
    const stream = concatBytes(parts);
    using table = this.#parquet.Table.fromIPCStream(stream);
    return table.recordBatch(0) ?? null;
  }

  #emptyFile(): Uint8Array<ArrayBuffer> {
    const stream = concatBytes([frameMetadata(this.#schema), END_OF_STREAM]);
    const table = this.#parquet.Table.fromIPCStream(stream);
    return this.#parquet.writeParquet(table) as Uint8Array<ArrayBuffer>;
  }

  /** Encodes a message again, checked and without compression. */
  async #recode(message: IpcMessage): Promise<IpcMessage[]> {
    const { decoder, encoder } = this.#recoder;
    using batch = await decoder.decodeAsync(message);
    return batch === null || batch.numRows === 0 ? [] : encoder.encode(batch);
  }
}

/** Encodes the messages of a stream again. */
interface Recoder {
  readonly decoder: BatchDecoder;
  readonly encoder: BatchEncoder;
}

/**
 * What encodes the messages of a schema again, because parquet-wasm crashes at much that a peer may send, such as offsets
 * out of bounds or buffers with odd lengths, and can end the process with it.
 */
function recoderOf(schema: MessageHeader): Recoder {
  const decoder = new BatchDecoder(schema);
  return { decoder, encoder: new BatchEncoder(decoder.schema, permittedPool()) };
}

/** Whether Parquet can hold each type. The encoder would crash on some others, so they are rejected up front. */
const IS_IN_PARQUET: Readonly<Record<ArrowType["id"], boolean>> = {
  null: true,
  bool: true,
  int: true,
  float: true,
  decimal: true,
  date: true,
  time: true,
  timestamp: true,
  duration: true,
  interval: true,
  binary: true,
  utf8: true,
  large_binary: true,
  large_utf8: true,
  binary_view: true,
  utf8_view: true,
  fixed_size_binary: true,
  fixed_size_list: true,
  list: true,
  large_list: true,
  list_view: false,
  large_list_view: false,
  struct: true,
  map: true,
  union: false,
  run_end_encoded: false,
};

/** Parquet has scales from 0 to the precision; parquet-wasm crashes at some others, and hangs at 32 bits with one digit. */
function isDecimalInParquet({ bitWidth, precision, scale }: Extract<ArrowType, { id: "decimal" }>): boolean {
  return scale >= 0 && scale <= precision && (bitWidth !== 32 || precision > 1);
}

function checkField(field: FieldLayout): void {
  const { type, children, dictionary } = field;
  const why = !IS_IN_PARQUET[type.id]
    ? `its type is ${typeText(field)}`
    : type.id === "interval" && type.unit === "month_day_nano"
    ? "its intervals have months, days and nanoseconds"
    : type.id === "fixed_size_binary" && type.byteWidth === 0
    ? "its values have no bytes"
    : type.id === "struct" && children.length === 0
    ? "it is a struct without fields"
    : type.id === "decimal" && !isDecimalInParquet(type)
    ? `its type is ${typeText(field)}`
    : dictionary !== null && children.length > 0
    ? "it is a dictionary of nested values"
    : null;
  if (why !== null) {
    throw new DipcError(
      "unsupported",
      `cannot write column "${field.path}" to Parquet: ${why}; write an Arrow file or stream instead`,
    );
  }
  for (const child of children) checkField(child);
}

function parquetWriteError(cause: unknown, batch = 0): DipcError {
  if (cause instanceof DipcError) return cause;
  const text = textOf(cause);
  // What WebAssembly does without memory, and when it has none it can do nothing else.
  if (cause instanceof WebAssembly.RuntimeError || cause instanceof RangeError) {
    return new LocalError(
      "out_of_memory",
      `cannot write batch ${batch} to Parquet: the encoder, which has 4 GiB of memory, has failed (${text}); use smaller batches, or ` +
        "write Arrow instead",
      { cause },
    );
  }
  return new LocalError("unsupported", `cannot write Parquet: ${text}; write Arrow instead`, { cause });
}
