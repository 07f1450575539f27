/**
 * One run through an Arrow stream, or through several that follow each other in one input.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { readPrefix } from "../ipc/split_stream.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import { BufferedInput, type RawInput } from "./byte_input.ts";
import type { MessageStream } from "./dataset.ts";
import { named } from "./named.ts";
import { type Eventually, runSteps, type Steps } from "./options.ts";
import { StreamSequel } from "./stream_sequel.ts";

/** What the runs through a stream have in common. */
export interface RunParts {
  /** Allocates the bodies. */
  readonly pool: Pool;
  /** Limits on each message. */
  readonly limits: ReaderLimits;
  /** Whether an end-of-stream marker ends the run. */
  readonly stopAtMarker: boolean;
  /** Called with what looks wrong with the data. */
  readonly warn: ((warning: string) => void) | undefined;
}

/** One run through a stream, or several that follow each other. */
export class StreamRun implements MessageStream {
  readonly #input: BufferedInput;
  readonly #parts: RunParts;
  readonly #headers: HeaderReader;
  readonly #sequel: StreamSequel;
  #schema: MessageHeader | null = null;
  #messages = 0;
  /** Whether the next message is the schema of a stream. */
  #isAtStart = true;
  #hasEnded = false;
  #isClosed = false;
  #failure: unknown = null;
  #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.close();

  /**
   * @param input Bytes of the stream; closed with the run
   * @param parts Pool, limits, and what to do at the end
   */
  constructor(input: RawInput, parts: RunParts) {
    this.#input = new BufferedInput(input);
    this.#parts = parts;
    this.#headers = new HeaderReader(parts.limits);
    this.#sequel = new StreamSequel(input.name, parts.limits);
  }

  /** The schema; only after {@linkcode start}. */
  get schema(): MessageHeader {
    if (this.#schema === null) {
      throw new LocalError("internal", "cannot return the schema of a stream: it was not read yet");
    }
    return this.#schema;
  }

  /** What a read has failed with, if one did; being closed is not a failure. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Reads the schema. @throws {DipcError} `invalid_data` if there is none, `io` */
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

  /** The next message after the schema, or `null` at the end. @throws {DipcError} `io`, `invalid_data`, `closed` */
  next(): Eventually<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#hasEnded) return null;
    return runSteps(this.#readOrFail());
  }

  /** Ends the run and its input. Idempotent. */
  close(): Eventually<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return this.#input.raw.close();
  }

  /** The next message; an error is kept. */
  *#readOrFail(): Steps<IpcMessage | null> {
    try {
      let message: IpcMessage | null;
      // The schema of a stream that follows another one is that of the first.
      do message = yield* this.#read(); while (message?.header.kind === "schema");
      return message;
    } catch (error) {
      if (!this.#isClosed) this.#failure = error;
      throw error;
    }
  }

  *#read(): Steps<IpcMessage | null> {
    const input = this.#input, name = input.raw.name;
    this.#checkOpen();
    const have = yield* input.need(8);
    if (have === 0) return this.#endOfInput();
    const bytes = input.peek(8);
    const where = `message ${this.#messages} of ${name}`;
    if (this.#isAtStart) this.#checkStart(bytes);
    const isComplete = have >= 8 || (have >= 4 && !startsWithContinuation(bytes));
    if (!isComplete) throw this.#cutShort(where, `in the length of its metadata`);
    const prefix = readPrefix(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), where);
    input.skip(prefix.byteLength);
    if (prefix.metadataLength === 0) return yield* this.#endOfStream();
    const header = yield* this.#readHeader(where, prefix.metadataLength);
    if (this.#isAtStart) {
      this.#isAtStart = false;
      this.#messages++;
      return { header, body: null };
    }
    this.#sequel.check(header, where);
    this.#checkLimit(where, "body", header.bodyLength, "maxBodyBytes");
    this.#checkRemaining(where, "body", header.bodyLength);
    this.#messages++;
    return { header, body: yield* this.#readBody(where, header.bodyLength) };
  }

  *#readHeader(where: string, metadataLength: number): Steps<MessageHeader> {
    const input = this.#input;
    this.#checkLimit(where, "metadata", metadataLength, "maxMetadataBytes");
    this.#checkRemaining(where, "metadata", metadataLength);
    const have = yield* input.need(metadataLength);
    if (have < metadataLength) throw this.#cutShort(where, `in its metadata`);
    const metadata = input.peek(metadataLength);
    const header = this.#isAtStart && this.#schema !== null
      ? this.#sequel.readSchema(metadata, this.#schema)
      : named(where, () => this.#headers.read(metadata));
    input.skip(metadataLength);
    return header;
  }

  *#readBody(where: string, byteLength: number): Steps<Body> {
    const input = this.#input;
    const block = this.#parts.pool.acquire(byteLength);
    try {
      const got = yield* input.take(() => block.bytes(), block.address, byteLength);
      if (got < byteLength) throw this.#cutShort(where, `${byteLength - got} bytes before the end of its body`);
      this.#checkOpen();
      return block.toBody(byteLength);
    } catch (error) {
      const underWay = input.raw.underWay ?? null;
      if (underWay === null) block.release();
      else underWay.catch(() => {}).finally(() => block.release());
      throw error;
    }
  }

  /** The input ends between two messages. */
  #endOfInput(): null {
    this.#hasEnded = true;
    if (!this.#isAtStart) {
      this.#parts.warn?.(
        `${this.#input.raw.name} ends after message ${
          this.#messages - 1
        } without an end-of-stream marker: its writer may ` +
          "have stopped early, and rows may be missing",
      );
    }
    return null;
  }

  /** A marker: what follows it is read, too. */
  *#endOfStream(): Steps<IpcMessage | null> {
    if (this.#schema === null || this.#parts.stopAtMarker) {
      this.#hasEnded = true;
      return null;
    }
    this.#sequel.begin(this.#isAtStart);
    this.#isAtStart = true;
    return yield* this.#read();
  }

  /** Rejects what does not start as a stream: at the start of the input, or after an end-of-stream marker. */
  #checkStart(head: Uint8Array): void {
    if (this.#schema === null) checkFormat(head, this.#input.raw.name);
    const isOld = head.byteLength >= 4 && !startsWithContinuation(head);
    const length = isOld ? new DataView(head.buffer, head.byteOffset).getInt32(0, true) : 0;
    const isPlausible = length >= 0 && length < IMPLAUSIBLE_BYTES;
    if (this.#schema !== null && (!isPlausible || head.byteLength < 4)) throw this.#sequel.notAStream();
    if (isPlausible || length < 0) return;
    throw new LocalError(
      "invalid_data",
      `cannot read ${this.#input.raw.name}: it does not start as an Arrow stream; pipe one in, for example ` +
        "`dipc get URI -o -`",
    );
  }

  #checkOpen(): void {
    if (this.#isClosed) {
      throw new LocalError("closed", `cannot read ${this.#input.raw.name}: it was closed while it was being read`);
    }
  }

  #checkLimit(where: string, what: string, bytes: number, name: "maxMetadataBytes" | "maxBodyBytes"): void {
    const limit = this.#parts.limits[name];
    if (bytes > limit) {
      throw new LocalError(
        "limit_exceeded",
        `cannot read ${where}: it has ${bytes} bytes of ${what}, the limit is ${limit} (${name})`,
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
