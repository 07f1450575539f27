/**
 * A Parquet file as a dataset. It is decoded by parquet-wasm, in a worker; batches come out of it as Arrow IPC and are
 * forwarded without being decoded again.
 *
 * @module
 */
import { equalBytes } from "../../bytes.ts";
import { LocalError } from "../../errors.ts";
import { describeSchema } from "../../ipc/describe.ts";
import { HeaderReader } from "../../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import { encodeBatchMetadata } from "../../ipc/metadata_writer.ts";
import { type ReaderLimits, readerLimits } from "../../limits.ts";
import { integerIn } from "../../options.ts";
import type { Dataset, MessageStream } from "../dataset.ts";
import { FileHandle } from "../file_handle.ts";
import type { SourceOptions } from "../options.ts";
import { OwnedBody } from "../owned_body.ts";
import { type DecodedStream, ParquetDecoder } from "./decoder.ts";
import { ListCounter } from "./fixed_lists.ts";
import { IntervalConverter } from "./intervals.ts";
import type { ParquetInfo } from "./messages.ts";
import { type RawMessage, splitStream } from "./split.ts";

/** Rows of each batch by default. */
const DEFAULT_BATCH_ROWS = 65_536;

/** Opens a Parquet file; {@linkcode parquetFile} documents what it does and throws. */
export async function openParquet(path: string, options: SourceOptions & { batchRows?: number }): Promise<Dataset> {
  const batchRows = integerIn("batchRows", options.batchRows ?? DEFAULT_BATCH_ROWS, 1);
  const hasFreeBatches = options.batchRows === undefined;
  const limits = readerLimits(options.limits);
  const file = FileHandle.open(path);
  const decoder = new ParquetDecoder(file, { batchRows, hasFreeBatches });
  try {
    return new ParquetDataset(file, decoder, await decoder.info(), { hasFreeBatches, limits });
  } catch (error) {
    decoder.close();
    file.close();
    throw error;
  }
}

class ParquetDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly rows: number;
  readonly batches?: number;
  readonly hasFreeBatches: boolean;
  readonly readOnce = false;
  readonly #file: FileHandle;
  readonly #decoder: ParquetDecoder;
  readonly #info: ParquetInfo;
  readonly #limits: ReaderLimits;

  constructor(
    file: FileHandle,
    decoder: ParquetDecoder,
    info: ParquetInfo,
    { hasFreeBatches, limits }: { hasFreeBatches: boolean; limits: ReaderLimits },
  ) {
    this.hasFreeBatches = hasFreeBatches;
    this.#file = file;
    this.#decoder = decoder;
    this.#info = info;
    this.#limits = limits;
    this.schema = new HeaderReader(limits).read(info.schema);
    this.rows = info.groups.reduce((sum, { rows }) => sum + rows, 0);
    if (info.followsPages) return;
    this.batches = info.groups.reduce((sum, { rows, batchRows }) => sum + Math.ceil(rows / batchRows), 0);
  }

  open({ signal }: { signal?: AbortSignal } = {}): MessageStream {
    this.#file.checkUnchanged();
    const headers = HeaderReader.continuing(this.schema, this.#limits);
    if (headers.layout!.fields.length === 0) return new EmptyColumns(headers, this.#info.groups);
    const converter = IntervalConverter.of(this.#file.path, this.#info.decoded, headers.layout!);
    const { path } = this.#file;
    const { rows } = this;
    return new ParquetRun({ decoded: this.#decoder.open(), headers, converter, path, rows, info: this.#info, signal });
  }

  close(): void {
    this.#decoder.close();
    this.#file.close();
  }
}

/** A run through a file that has rows and no columns. */
class EmptyColumns implements MessageStream {
  readonly #headers: HeaderReader;
  readonly #batches: Iterator<number>;

  constructor(headers: HeaderReader, groups: ParquetInfo["groups"]) {
    this.#headers = headers;
    this.#batches = batchesOf(groups);
  }

  next(): IpcMessage | null {
    const { done, value: rows } = this.#batches.next();
    if (done) return null;
    const metadata = encodeBatchMetadata({ rows, bodyLength: 0, nodes: [], buffers: [], variadicCounts: [] });
    return { header: this.#headers.read(metadata), body: new OwnedBody(new Uint8Array(0)) };
  }

  close(): void {}
}

/** Rows of each batch, one by one: without columns, a footer can declare more than fit into memory. */
function* batchesOf(groups: ParquetInfo["groups"]): Generator<number, void> {
  for (const { rows, batchRows } of groups) {
    for (let left = rows; left > 0; left -= batchRows) yield Math.min(batchRows, left);
  }
}

/** What a run through the columns of a file needs. */
interface RunParts {
  readonly decoded: DecodedStream;
  readonly headers: HeaderReader;
  readonly converter: IntervalConverter | null;
  readonly path: string;
  readonly rows: number;
  readonly info: ParquetInfo;
  readonly signal: AbortSignal | undefined;
}

/** One run through a Parquet file. */
class ParquetRun implements MessageStream {
  readonly #parts: RunParts;
  readonly #onAbort = (): void => this.close();
  /** Messages of the last batch that were not taken yet. */
  readonly #queue: IpcMessage[] = [];
  /** Bodies of the dictionaries sent last, to send them again only when they differ. */
  readonly #dictionaries = new Map<bigint, Uint8Array>();
  #lastSchema = new Uint8Array(0);
  readonly #lists: ListCounter;
  /** Rows that have not been decoded yet. */
  #missing: number;
  /** The error that ended the run: every later call fails with it. */
  #failure: unknown = null;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#missing = parts.rows;
    this.#lists = new ListCounter(parts.info.fixedLists);
    if (parts.signal?.aborted) this.close();
    else parts.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure;
    const message = this.#queue.shift();
    if (message !== undefined) return message;
    const { decoded } = this.#parts;
    if (!decoded.ready) return decoded.wait().then(() => this.next());
    try {
      const bytes = decoded.take();
      if (bytes === null) return this.#end();
      this.#enqueue(bytes);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    return this.next();
  }

  close(): void {
    this.#parts.signal?.removeEventListener("abort", this.#onAbort);
    for (const message of this.#queue.splice(0)) message.body?.release();
    this.#parts.decoded.stop();
  }

  /** Checks the number of rows, and of lists: if pages are missing, the decoder ends without an error. */
  #end(): null {
    const { path, rows } = this.#parts;
    if (this.#missing === 0) {
      this.#lists.check(path);
      return null;
    }
    throw new LocalError(
      "invalid_data",
      `cannot read "${path}": it is damaged, the footer declares ${rows} rows, ${rows - this.#missing} were decoded`,
    );
  }

  /** Splits the Arrow stream that one batch became: schema, dictionaries if there are any, the batch. */
  #enqueue(bytes: Uint8Array<ArrayBuffer>): void {
    const { path, converter } = this.#parts;
    const [schema, ...messages] = splitStream(bytes, path);
    this.#checkSchema(schema.metadata);
    for (const message of messages) this.#add(converter === null ? message : converter.convert(message));
  }

  #add({ metadata, body }: RawMessage): void {
    const header = this.#parts.headers.read(metadata);
    if (header.kind === "dictionary") {
      const last = this.#dictionaries.get(header.dictionaryId);
      if (last !== undefined && equalBytes(last, body)) return;
      this.#dictionaries.set(header.dictionaryId, body.slice());
      this.#queue.push({ header, body: new OwnedBody(body.slice()) });
    } else {
      this.#missing -= header.rows;
      this.#lists.add(header);
      this.#queue.push({ header, body: new OwnedBody(body) });
    }
  }

  /** A batch's schema lacks the metadata of the file's, but its columns must be the same. */
  #checkSchema(metadata: Uint8Array<ArrayBuffer>): void {
    if (equalBytes(metadata, this.#lastSchema)) return;
    const { path, info } = this.#parts;
    const found = columnTypes(metadata), expected = columnTypes(info.decoded);
    if (found !== expected) {
      throw new LocalError(
        "internal",
        `cannot read "${path}": it was decoded as ${found}, but its schema is ${expected}`,
      );
    }
    this.#lastSchema = metadata.slice();
  }
}

function columnTypes(schema: Uint8Array<ArrayBuffer>): string {
  const header = new HeaderReader({ maxMetadataBytes: schema.byteLength }).read(schema);
  return describeSchema(header).map(({ name, type }) => `${name}: ${type}`).join(", ");
}
