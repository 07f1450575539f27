/**
 * The main thread's end of the worker that decodes a Parquet file.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import { workerStartError } from "../../permissions.ts";
import type { FileHandle } from "../file_handle.ts";
import type { BatchChoice, ParquetInfo, ParquetReply, ParquetRequest } from "./messages.ts";

/**
 * Never called: a module that is only named in a `new Worker` is not part of the program for `deno cache` and
 * `deno compile`, one that is imported somewhere is.
 *
 * @ignore
 */
export const workerModule = (): Promise<unknown> => import("./decode_worker.ts");

/** How long an unused worker is kept for the next run, in milliseconds. A worker keeps the process from ending. */
const IDLE_MS = 1000;

/** Decodes one file, in a worker that exists while it is needed. */
export class ParquetDecoder {
  readonly #file: FileHandle;
  readonly #choice: BatchChoice;
  readonly #streams = new Map<number, DecodedStream>();
  #worker: Worker | null = null;
  #opened: ((info: ParquetInfo | DipcError) => void) | null = null;
  #lastRun = 0;
  #idle: ReturnType<typeof setTimeout> | undefined;

  /** Batches requested ahead of the next one. */
  #ahead = 1;

  /**
   * @param file The file, which must stay open until the decoder is closed
   * @param choice How batches are made
   */
  constructor(file: FileHandle, choice: BatchChoice) {
    this.#file = file;
    this.#choice = choice;
  }

  /** Reads the footer. @throws {DipcError} `invalid_data`, `io`, `unsupported`, `limit_exceeded`, `permission_denied` */
  async info(): Promise<ParquetInfo> {
    const answer = await new Promise<ParquetInfo | DipcError>((resolve) => {
      this.#opened = resolve;
      try {
        this.#start();
      } catch (cause) {
        resolve(startError(cause));
      }
    });
    this.#opened = null;
    this.#rest();
    if (answer instanceof DipcError) throw answer;
    this.#ahead = answer.ahead;
    return answer;
  }

  /** Starts to decode from the first row. @throws {DipcError} `permission_denied`, `unsupported` */
  open(): DecodedStream {
    try {
      this.#start();
    } catch (cause) {
      throw startError(cause);
    }
    const run = ++this.#lastRun;
    const stream = new DecodedStream(
      () => this.#send({ op: "next", run }),
      () => {
        if (!this.#streams.delete(run)) return;
        this.#send({ op: "stop", run });
        this.#rest();
      },
    );
    this.#streams.set(run, stream);
    this.#send({ op: "start", run });
    for (let i = 0; i < this.#ahead; i++) this.#send({ op: "next", run });
    return stream;
  }

  /** Ends the worker; streams fail with `closed`. Idempotent. */
  close(): void {
    this.#end(new LocalError("closed", `cannot decode "${this.#file.path}": it was closed while it was being decoded`));
  }

  #start(): void {
    clearTimeout(this.#idle);
    if (this.#worker !== null) return;
    const worker = new Worker(new URL("./decode_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<ParquetReply>) => {
      if (worker === this.#worker) this.#receive(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      // Later errors are reported by the worker itself.
      if (worker === this.#worker) this.#end(startError(event.message));
    };
    this.#worker = worker;
    this.#send({ op: "open", fd: this.#file.fd, path: this.#file.path, stamp: this.#file.stamp, choice: this.#choice });
  }

  #send(request: ParquetRequest): void {
    this.#worker?.postMessage(request);
  }

  #receive(reply: ParquetReply): void {
    switch (reply.op) {
      case "opened":
        this.#opened?.(reply.info);
        break;
      case "batch":
        this.#streams.get(reply.run)?._push(reply.bytes);
        break;
      case "failed": {
        const error = this.#changed() ?? new LocalError(reply.code, reply.message);
        if (reply.run < 0) this.#end(error);
        else this.#streams.get(reply.run)?._push(error);
        break;
      }
      case "crashed":
        this.#end(this.#changed() ?? new LocalError(reply.code, reply.message));
        break;
    }
  }

  #end(error: DipcError): void {
    clearTimeout(this.#idle);
    this.#worker?.terminate();
    this.#worker = null;
    this.#opened?.(error);
    for (const stream of this.#streams.values()) stream._push(error);
    this.#streams.clear();
  }

  /** Ends the worker once nothing has needed it for a while. */
  #rest(): void {
    clearTimeout(this.#idle);
    if (this.#worker === null || this.#streams.size > 0) return;
    this.#idle = setTimeout(() => {
      this.#worker?.terminate();
      this.#worker = null;
    }, IDLE_MS);
    // The worker keeps the process alive until then; the timer by itself must not.
    Deno.unrefTimer(this.#idle!);
  }

  /** Apparent damage may come from a file that changes; then that is what to report. */
  #changed(): DipcError | null {
    try {
      this.#file.checkUnchanged();
      return null;
    } catch (error) {
      if (error instanceof DipcError) return error;
      throw error;
    }
  }
}

function startError(cause: unknown): DipcError {
  return workerStartError("start the worker that decodes Parquet", cause);
}

/** The decoded batches of one run, as they arrive. */
export class DecodedStream {
  readonly #ask: () => void;
  readonly #stop: () => void;
  readonly #arrived: (Uint8Array<ArrayBuffer> | null)[] = [];
  #error: DipcError | null = null;
  #wake: (() => void) | null = null;

  constructor(ask: () => void, stop: () => void) {
    this.#ask = ask;
    this.#stop = stop;
  }

  /** Whether {@linkcode take} has a batch, the end or an error to return. */
  get ready(): boolean {
    return this.#arrived.length > 0 || this.#error !== null;
  }

  /** Resolves once {@linkcode ready}. */
  wait(): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve) => this.#wake = resolve);
  }

  /** The next batch as an Arrow stream of its own, null at the end. Only when {@linkcode ready}. @throws {DipcError} */
  take(): Uint8Array<ArrayBuffer> | null {
    const bytes = this.#arrived.shift();
    if (bytes === undefined) throw this.#error;
    if (bytes === null) this.#arrived.unshift(null);
    else this.#ask();
    return bytes;
  }

  /** Ends the run; a wait ends with `closed`. Idempotent. */
  stop(): void {
    for (const bytes of this.#arrived.splice(0)) bytes?.buffer.transfer(0);
    this._push(new LocalError("closed", "cannot read the Parquet file: the run through it was closed"));
    this.#stop();
  }

  /** @ignore */
  _push(answer: Uint8Array<ArrayBuffer> | DipcError | null): void {
    if (this.#error !== null) return;
    if (answer instanceof DipcError) this.#error = answer;
    else this.#arrived.push(answer);
    this.#wake?.();
    this.#wake = null;
  }
}
