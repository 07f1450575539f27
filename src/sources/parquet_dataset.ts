/**
 * A Parquet file as a dataset. It is decoded by parquet-wasm, in a worker; batches come out of it as Arrow IPC and are
 * forwarded without being decoded again.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { LocalError } from "../errors.ts";
import { describeSchema } from "../ipc/describe.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { readPrefix } from "../ipc/split_stream.ts";
import { type ReaderLimits, readerLimits } from "../limits.ts";
import { integerIn } from "../options.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { FileHandle } from "./file_handle.ts";
import type { SourceOptions } from "./options.ts";
import { OwnedBody } from "./owned_body.ts";
import { type DecodedStream, ParquetDecoder, type ParquetInfo } from "./parquet_decoder.ts";
import { replaceViews } from "./parquet_schema.ts";

/** Rows of each batch by default. */
const DEFAULT_BATCH_ROWS = 65_536;

/** Opens a Parquet file; {@linkcode parquetFile} documents what it does and throws. */
export async function openParquet(path: string, options: SourceOptions & { batchRows?: number }): Promise<Dataset> {
  const batchRows = integerIn("batchRows", options.batchRows ?? DEFAULT_BATCH_ROWS, 1);
  const limits = readerLimits(options.limits);
  const file = FileHandle.open(path);
  const decoder = new ParquetDecoder(file);
  try {
    checkMagic(file);
    const hasFreeBatches = options.batchRows === undefined;
    return new ParquetDataset(file, decoder, await decoder.info(), { batchRows, hasFreeBatches, limits });
  } catch (error) {
    decoder.close();
    file.close();
    throw error;
  }
}

class ParquetDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly rows: number;
  readonly batches: number;
  readonly hasFreeBatches: boolean;
  readonly readOnce = false;
  readonly #file: FileHandle;
  readonly #decoder: ParquetDecoder;
  readonly #batchRows: number;
  readonly #limits: ReaderLimits;

  constructor(
    file: FileHandle,
    decoder: ParquetDecoder,
    info: ParquetInfo,
    { batchRows, hasFreeBatches, limits }: { batchRows: number; hasFreeBatches: boolean; limits: ReaderLimits },
  ) {
    this.hasFreeBatches = hasFreeBatches;
    this.#file = file;
    this.#decoder = decoder;
    this.#batchRows = batchRows;
    this.#limits = limits;
    const [message] = splitStream(info.schema, file.path);
    replaceViews(message.metadata);
    this.schema = new HeaderReader(limits).read(message.metadata);
    this.rows = info.groupRows.reduce((sum, rows) => sum + rows, 0);
    this.batches = info.groupRows.reduce((sum, rows) => sum + Math.ceil(rows / batchRows), 0);
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    this.#file.checkUnchanged();
    const headers = new HeaderReader(this.#limits);
    headers.read(this.schema.bytes);
    return new ParquetRun(this.#decoder.open(this.#batchRows), headers, this.#file.path, this.rows, options.signal);
  }

  close(): void {
    this.#decoder.close();
    this.#file.close();
  }
}

/** One run through a Parquet file. */
class ParquetRun implements MessageStream {
  readonly #decoded: DecodedStream;
  readonly #headers: HeaderReader;
  readonly #path: string;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.close();
  /** Messages of the last batch that were not taken yet. */
  readonly #queue: IpcMessage[] = [];
  /** Bodies of the dictionaries sent last, to send them again only when they differ. */
  readonly #dictionaries = new Map<bigint, Uint8Array>();
  #lastSchema = new Uint8Array(0);
  readonly #rows: number;
  #missing: number;

  constructor(
    decoded: DecodedStream,
    headers: HeaderReader,
    path: string,
    rows: number,
    signal: AbortSignal | undefined,
  ) {
    this.#decoded = decoded;
    this.#headers = headers;
    this.#path = path;
    this.#rows = this.#missing = rows;
    this.#signal = signal;
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    const message = this.#queue.shift();
    if (message !== undefined) return message;
    if (!this.#decoded.ready) return this.#decoded.wait().then(() => this.next());
    const bytes = this.#decoded.take();
    if (bytes === null) return this.#end();
    this.#enqueue(bytes);
    return this.next();
  }

  close(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const message of this.#queue.splice(0)) message.body?.release();
    this.#decoded.stop();
  }

  /** Checks the number of rows: if pages are missing, the decoder ends without an error. */
  #end(): null {
    if (this.#missing === 0) return null;
    throw new LocalError(
      "invalid_data",
      `cannot read "${this.#path}": it is damaged, the footer declares ${this.#rows} rows, ${
        this.#rows - this.#missing
      } were decoded`,
    );
  }

  /** Splits the Arrow stream that one batch became: schema, dictionaries if there are any, the batch. */
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
        this.#missing -= header.rows;
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
      throw new LocalError(
        "internal",
        `cannot read "${this.#path}": it was decoded as ${found}, but its schema is ${expected}`,
      );
    }
    this.#lastSchema = metadata.slice();
  }
}

function columnTypes(schema: MessageHeader): string {
  return describeSchema(schema).map(({ name, type }) => `${name}: ${type}`).join(", ");
}

interface RawMessage {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Splits a complete Arrow stream in memory. */
function splitStream(bytes: Uint8Array<ArrayBuffer>, path: string): RawMessage[] {
  const messages: RawMessage[] = [];
  for (let at = 0; at + 8 <= bytes.byteLength;) {
    const prefix = readPrefix(new DataView(bytes.buffer, bytes.byteOffset + at, 8), `the batch decoded from "${path}"`);
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

function checkMagic(file: FileHandle): void {
  const tail = file.size < 12 ? "" : new TextDecoder().decode(file.readBytes(file.size - 4, 4));
  if (tail === "PARE") {
    throw new LocalError("unsupported", `cannot read "${file.path}": its footer is encrypted, which is not supported`);
  }
  if (tail !== "PAR1") {
    throw new LocalError(
      "invalid_data",
      `cannot read "${file.path}": it does not end as a Parquet file does, so it was cut short`,
    );
  }
}
