/**
 * Parquet files as datasets. The decoder (parquet-wasm) is loaded on first use; batches come out of it as Arrow IPC and
 * are forwarded without being decoded again.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { DipcError } from "../errors.ts";
import { describeSchema } from "../ipc/describe.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { readPrefix } from "../ipc/split_stream.ts";
import { positiveInteger, type ReaderLimits, readerLimits } from "../limits.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { FileBlob } from "./file_blob.ts";
import { FileHandle } from "./file_handle.ts";
import type { SourceOptions } from "./options.ts";
import { OwnedBody } from "./owned_body.ts";

/** Options of {@linkcode parquetFile}. */
export interface ParquetFileOptions extends SourceOptions {
  /** Rows of each batch; the last one of each row group may have fewer. Default 65,536. */
  batchRows?: number;
}

/** Rows of each batch where nothing else is asked for. */
export const DEFAULT_BATCH_ROWS = 65_536;

let parquetWasm: Promise<typeof ParquetWasm> | null = null;

/**
 * The module parquet-wasm, loaded on first use.
 *
 * @throws {DipcError} `permission_denied`, `unsupported`
 */
export function loadParquetWasm(): Promise<typeof ParquetWasm> {
  return parquetWasm ??= import("parquet-wasm").catch((cause) => {
    parquetWasm = null;
    const text = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof Deno.errors.NotCapable ? "permission_denied" : "unsupported";
    throw new DipcError(
      code,
      `cannot load npm:parquet-wasm@0.8.0, which reads and writes Parquet: ${text}; it needs --allow-read, and network ` +
        `access where it is not cached yet (deno cache npm:parquet-wasm@0.8.0)`,
      { cause },
    );
  });
}

/**
 * A Parquet file as a dataset that can be served many times. Each run decodes the file again, one row group's pages at a
 * time, so that memory does not grow with the file; it does grow with the compressed size of a row group.
 *
 * @example Usage
 * ```ts ignore
 * const flights = await parquetFile("flights.parquet", { batchRows: 100_000 });
 * ```
 *
 * @param path Path of the file
 * @param options Rows per batch, and limits
 * @throws {DipcError} `not_found`, `permission_denied`, `io`, `invalid_data`, `invalid_argument`, `unsupported`
 */
export async function parquetFile(path: string, options: ParquetFileOptions = {}): Promise<Dataset> {
  const batchRows = positiveInteger("batchRows", options.batchRows ?? DEFAULT_BATCH_ROWS);
  const limits = readerLimits(options.limits);
  const parquet = await loadParquetWasm();
  const handle = FileHandle.open(path);
  const blob = new FileBlob(handle);
  let file: ParquetWasm.ParquetFile | null = null;
  try {
    checkMagic(handle);
    file = await parquet.ParquetFile.fromFile(blob);
    return new ParquetDataset(handle, blob, file, batchRows, limits);
  } catch (cause) {
    file?.free();
    handle.close();
    throw blob.takeFailure() ?? parquetError(path, cause);
  }
}

class ParquetDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly rows: number;
  readonly batches: number;
  readonly readOnce = false;
  readonly #handle: FileHandle;
  readonly #blob: FileBlob;
  readonly #file: ParquetWasm.ParquetFile;
  readonly #batchRows: number;
  readonly #limits: ReaderLimits;
  readonly #runs = new Set<ParquetRun>();
  #closed = false;

  constructor(
    handle: FileHandle,
    blob: FileBlob,
    file: ParquetWasm.ParquetFile,
    batchRows: number,
    limits: ReaderLimits,
  ) {
    this.#handle = handle;
    this.#blob = blob;
    this.#file = file;
    this.#batchRows = batchRows;
    this.#limits = limits;
    const schema = file.schema();
    const [message] = splitStream(schema.intoIPCStream() as Uint8Array<ArrayBuffer>, handle.path);
    this.schema = new HeaderReader(limits).read(message.metadata);
    let rows = 0, batches = 0;
    using metadata = file.metadata();
    for (let i = 0; i < metadata.numRowGroups(); i++) {
      using group = metadata.rowGroup(i);
      rows += group.numRows();
      batches += Math.ceil(group.numRows() / batchRows);
    }
    this.rows = rows;
    this.batches = batches;
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const path = this.#handle.path;
    if (this.#closed) throw new DipcError("closed", `"${path}" was closed`);
    this.#handle.checkUnchanged();
    let stream: ReadableStream<ParquetWasm.RecordBatch>;
    try {
      stream = await this.#file.stream({ batchSize: this.#batchRows });
    } catch (cause) {
      throw this.#blob.takeFailure() ?? parquetError(path, cause);
    }
    const headers = new HeaderReader(this.#limits);
    headers.read(this.schema.bytes);
    const run = new ParquetRun(stream, headers, this.#blob, path, () => this.#runs.delete(run), options.signal);
    this.#runs.add(run);
    return run;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#runs].map((run) => run.close()));
    this.#file.free();
    this.#handle.close();
  }
}

/** One run through a Parquet file. */
class ParquetRun implements MessageStream {
  readonly #reader: ReadableStreamDefaultReader<ParquetWasm.RecordBatch>;
  readonly #headers: HeaderReader;
  readonly #blob: FileBlob;
  readonly #path: string;
  readonly #onClose: () => void;
  readonly #signal: AbortSignal | undefined;
  /** Messages of the last batch that were not asked for yet. */
  readonly #queue: IpcMessage[] = [];
  /** Bodies of the dictionaries sent last, to send them again only when they differ. */
  readonly #dictionaries = new Map<bigint, Uint8Array>();
  #lastSchema = new Uint8Array(0);
  #pending: Promise<unknown> | null = null;
  #closing: Promise<void> | null = null;

  constructor(
    stream: ReadableStream<ParquetWasm.RecordBatch>,
    headers: HeaderReader,
    blob: FileBlob,
    path: string,
    onClose: () => void,
    signal: AbortSignal | undefined,
  ) {
    this.#reader = stream.getReader();
    this.#headers = headers;
    this.#blob = blob;
    this.#path = path;
    this.#onClose = onClose;
    this.#signal = signal;
  }

  next(): IpcMessage | Promise<IpcMessage | null> {
    return this.#queue.shift() ?? this.#decode();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #decode(): Promise<IpcMessage | null> {
    do {
      this.#checkOpen();
      const batch = await this.#readBatch();
      if (batch === null) return null;
      // Takes the batch out of the decoder's memory, whatever happens then.
      const bytes = batch.intoIPCStream() as Uint8Array<ArrayBuffer>;
      this.#checkOpen();
      this.#enqueue(bytes);
    } while (this.#queue.length === 0);
    return this.#queue.shift()!;
  }

  async #readBatch(): Promise<ParquetWasm.RecordBatch | null> {
    try {
      const read = this.#reader.read();
      this.#pending = read;
      const result = await read;
      return result.done ? null : result.value;
    } catch (cause) {
      throw this.#blob.takeFailure() ?? parquetError(this.#path, cause);
    } finally {
      this.#pending = null;
    }
  }

  /** Splits the Arrow stream that one batch became: schema, dictionaries where there are any, the batch. */
  #enqueue(bytes: Uint8Array<ArrayBuffer>): void {
    const [schema, ...messages] = splitStream(bytes, this.#path);
    this.#checkSchema(schema.metadata);
    for (const { metadata, body } of messages) {
      const header = this.#headers.read(metadata);
      if (header.kind === "dictionary") {
        const last = this.#dictionaries.get(header.dictionaryId);
        if (last !== undefined && equalBytes(last, body)) continue;
        this.#dictionaries.set(header.dictionaryId, body.slice());
        this.#queue.push({ header, body: new OwnedBody(body.slice()) });
      } else {
        this.#queue.push({ header, body: new OwnedBody(body) });
      }
    }
  }

  /** A batch's schema lacks the metadata of the file's, but its columns must be the same. */
  #checkSchema(metadata: Uint8Array<ArrayBuffer>): void {
    if (equalBytes(metadata, this.#lastSchema)) return;
    const found = columnTypes(new HeaderReader().read(metadata));
    const expected = columnTypes(this.#headers.schema!);
    if (found !== expected) {
      throw new DipcError("internal", `"${this.#path}" was decoded as ${found}, but its schema is ${expected}`);
    }
    this.#lastSchema = metadata.slice();
  }

  #checkOpen(): void {
    if (this.#closing !== null || this.#signal?.aborted) {
      throw new DipcError("closed", `the run through "${this.#path}" was closed`, { cause: this.#signal?.reason });
    }
  }

  async #close(): Promise<void> {
    for (const message of this.#queue.splice(0)) message.body?.release();
    // The decoder must not be cancelled in the middle of a batch: its memory would wait for the garbage collector.
    await this.#pending?.catch(() => {});
    await this.#reader.cancel().catch(() => {});
    this.#onClose();
  }
}

function columnTypes(schema: MessageHeader): string {
  return describeSchema(schema).map(({ name, type }) => `${name}: ${type}`).join(", ");
}

interface RawMessage {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Splits a whole Arrow stream in memory. */
function splitStream(bytes: Uint8Array<ArrayBuffer>, path: string): RawMessage[] {
  const messages: RawMessage[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.byteLength;) {
    const prefix = readPrefix(new DataView(view.buffer, view.byteOffset + at, 8), `the batch decoded from "${path}"`);
    if (prefix.metadataLength === 0) break;
    const start = at + prefix.byteLength;
    const metadata = bytes.subarray(start, start + prefix.metadataLength);
    const end = start + prefix.metadataLength + bodyLengthOf(metadata);
    messages.push({ metadata, body: bytes.subarray(start + prefix.metadataLength, end) });
    at = end;
  }
  return messages;
}

/** The field `bodyLength` (slot 3) of a `Message` that the decoder made; verified by the header reader afterwards. */
function bodyLengthOf(metadata: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  const field = view.getUint16(vtable, true) > 10 ? view.getUint16(vtable + 10, true) : 0;
  return field === 0 ? 0 : Number(view.getBigInt64(table + field, true));
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false;
  return true;
}

function checkMagic(file: FileHandle): void {
  const tail = file.size < 12 ? "" : new TextDecoder().decode(file.readBytes(file.size - 4, 4));
  if (tail === "PARE") {
    throw new DipcError("unsupported", `"${file.path}" has an encrypted footer, which is not supported`);
  }
  if (tail !== "PAR1") {
    throw new DipcError("invalid_data", `"${file.path}" does not end as a Parquet file does: it was cut short`);
  }
}

function parquetError(path: string, cause: unknown): DipcError {
  if (cause instanceof DipcError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return new DipcError("invalid_data", `cannot decode the Parquet file "${path}": ${text}`, { cause });
}
