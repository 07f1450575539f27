/**
 * Arrow IPC streams as datasets: from a file, from standard input or from any stream of bytes, without decoding columns.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { readPrefix } from "../ipc/split_stream.ts";
import { type ReaderLimits, readerLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { BufferedInput, type ByteReader, FileInput, type RawInput, ReaderInput, StreamInput } from "./byte_input.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { FileHandle } from "./file_handle.ts";
import { type Eventually, runSteps, type SourceOptions, type Steps } from "./options.ts";

/** Options of {@linkcode arrowStream}. */
export interface ArrowStreamOptions extends SourceOptions {
  /** Name of the stream in messages; default: the path, or "the stream". */
  name?: string;
}

/**
 * An Arrow IPC stream as a dataset. The path of a file can be served many times; anything else is read only once, as it
 * arrives, and rejects a second run.
 *
 * A stream ends with an end-of-stream marker or, as the format allows, with the end of the input between two messages.
 *
 * @example Usage
 * ```ts ignore
 * const response = await fetch("https://example.org/trips.arrows");
 * const trips = await arrowStream(response.body!);
 * ```
 *
 * @param source Path of a file, a stream of bytes, or a reader such as `Deno.stdin`
 * @param options Pool, limits and name
 * @returns the dataset, once its schema has been read
 * @throws {DipcError} `not_found`, `io`, `invalid_data`
 */
export async function arrowStream(
  source: string | ReadableStream<Uint8Array> | ByteReader,
  options: ArrowStreamOptions = {},
): Promise<Dataset> {
  const pool = options.pool ?? hostPool();
  const limits = readerLimits(options.limits);
  if (typeof source === "string") {
    const file = FileHandle.open(source);
    try {
      const run = new StreamRun(new FileInput(file), pool, limits);
      await run.start();
      return new StreamFileDataset(file, run.schema, pool, limits);
    } catch (error) {
      file.close();
      throw error;
    }
  }
  const name = options.name ?? "the stream";
  const input = source instanceof ReadableStream ? new StreamInput(source, name) : new ReaderInput(source, name);
  const run = new StreamRun(input, pool, limits);
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
  readonly #pool: Pool;
  readonly #limits: ReaderLimits;

  constructor(file: FileHandle, schema: MessageHeader, pool: Pool, limits: ReaderLimits) {
    this.#file = file;
    this.schema = schema;
    this.#pool = pool;
    this.#limits = limits;
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const run = new StreamRun(new FileInput(this.#file), this.#pool, this.#limits);
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

/** One run through a stream. */
class StreamRun implements MessageStream {
  readonly #input: BufferedInput;
  readonly #pool: Pool;
  readonly #limits: ReaderLimits;
  readonly #headers: HeaderReader;
  #schema: MessageHeader | null = null;
  #messages = 0;
  #hasEnded = false;
  #isClosed = false;
  #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.close();

  constructor(input: RawInput, pool: Pool, limits: ReaderLimits) {
    this.#input = new BufferedInput(input);
    this.#pool = pool;
    this.#limits = limits;
    this.#headers = new HeaderReader(limits);
  }

  /** The schema; only after {@linkcode start}. */
  get schema(): MessageHeader {
    if (this.#schema === null) {
      throw new LocalError("internal", "cannot return the schema of a stream: it was not read yet");
    }
    return this.#schema;
  }

  /** Reads the schema. */
  async start(): Promise<void> {
    const message = await runSteps(this.#read());
    const name = this.#input.raw.name;
    if (message === null) {
      throw new LocalError("invalid_data", `cannot read ${name}: it is empty, expected an Arrow stream`);
    }
    this.#schema = message.header;
  }

  /** Closes the run when `signal` fires. */
  closeOn(signal: AbortSignal | undefined): void {
    this.#signal = signal;
    if (signal?.aborted) void this.close();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  next(): Eventually<IpcMessage | null> {
    if (this.#hasEnded) return null;
    return runSteps(this.#read());
  }

  close(): Eventually<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return this.#input.raw.close();
  }

  *#read(): Steps<IpcMessage | null> {
    const input = this.#input, name = input.raw.name;
    this.#checkOpen();
    let have = yield* input.need(8);
    if (have === 0) return this.#end();
    let bytes = input.peek(8);
    const where = `message ${this.#messages} of ${name}`;
    const isComplete = have >= 8 || (have >= 4 && !startsWithContinuation(bytes));
    if (!isComplete) throw this.#cutShort(where, `in the length of its metadata`);
    if (this.#messages === 0) checkFormat(bytes, name);
    const prefix = readPrefix(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), where);
    if (this.#messages === 0 && prefix.byteLength === 4 && prefix.metadataLength >= IMPLAUSIBLE_BYTES) {
      throw new LocalError(
        "invalid_data",
        `cannot read ${name}: it does not start as an Arrow stream; pipe one in, for example \`dipc get URI -o -\``,
      );
    }
    input.skip(prefix.byteLength);
    if (prefix.metadataLength === 0) return this.#end();
    this.#checkLimit(where, "metadata", prefix.metadataLength, this.#limits.maxMetadataBytes);
    this.#checkRemaining(where, "metadata", prefix.metadataLength);
    have = yield* input.need(prefix.metadataLength);
    if (have < prefix.metadataLength) throw this.#cutShort(where, `in its metadata`);
    bytes = input.peek(prefix.metadataLength);
    const header = this.#headers.read(bytes);
    input.skip(prefix.metadataLength);
    if (header.kind === "schema") {
      if (this.#messages++ > 0) {
        throw new LocalError("invalid_data", `cannot read ${where}: it is a second schema, a stream has one`);
      }
      return { header, body: null };
    }
    this.#checkLimit(where, "body", header.bodyLength, this.#limits.maxBodyBytes);
    this.#checkRemaining(where, "body", header.bodyLength);
    this.#messages++;
    const block = this.#pool.acquire(header.bodyLength);
    try {
      const got = yield* input.take(() => block.bytes(), block.address, header.bodyLength);
      if (got < header.bodyLength) {
        throw this.#cutShort(where, `${header.bodyLength - got} bytes before the end of its body`);
      }
      this.#checkOpen();
    } catch (error) {
      const underWay = input.raw.underWay ?? null;
      if (underWay === null) block.release();
      else underWay.catch(() => {}).finally(() => block.release());
      throw error;
    }
    return { header, body: block.toBody(header.bodyLength) };
  }

  #end(): null {
    this.#hasEnded = true;
    return null;
  }

  #checkOpen(): void {
    if (this.#isClosed) {
      throw new LocalError("closed", `cannot read ${this.#input.raw.name}: it was closed while it was being read`);
    }
  }

  #checkLimit(where: string, what: string, bytes: number, limit: number): void {
    if (bytes > limit) {
      throw new LocalError(
        "limit_exceeded",
        `cannot read ${where}: it has ${bytes} bytes of ${what}, the limit is ${limit}`,
      );
    }
  }

  /** Fails before allocating when the input is too short. */
  #checkRemaining(where: string, what: string, bytes: number): void {
    const left = this.#input.remaining;
    if (left !== undefined && bytes > left) {
      throw this.#cutShort(where, `in its ${what}: ${bytes} bytes expected, ${left} left`);
    }
  }

  #cutShort(where: string, at: string): DipcError {
    this.#hasEnded = true;
    return new LocalError(
      "invalid_data",
      `cannot read ${where}: it is cut short ${at}; the writer did not finish, or the copy is incomplete`,
    );
  }
}

/** Schemas are smaller than this; four letters read as a length are larger. */
const IMPLAUSIBLE_BYTES = 2 ** 28;

function startsWithContinuation(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xff && bytes[2] === 0xff && bytes[3] === 0xff;
}

/** Rejects a file whose format has to be read from its end. */
function checkFormat(head: Uint8Array, name: string): void {
  const text = String.fromCharCode(...head);
  const format = text.startsWith("ARROW1") ? "an Arrow file" : text.startsWith("PAR1") ? "a Parquet file" : null;
  if (format === null) return;
  throw new LocalError(
    "unsupported",
    `cannot read ${name} as a stream: it is ${format}, whose end has to be read first; give its path to openPath()`,
  );
}
