/**
 * Exports streams as `ArrowArrayStream`.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { asDipcError, DipcError, type DipcErrorCode } from "../errors.ts";
import { checkOptionNames } from "../options.ts";
import { type Exportable, exportArrays } from "./export.ts";
import { type ExportSource, openSource, type StreamSource } from "./export_source.ts";
import type { StreamName } from "./foreign_calls.ts";
import { LOOK_AGAIN, Queue, type QueueOwner, WAIT } from "./queue.ts";

/** Options of {@linkcode exportStream}. */
export interface ExportStreamOptions {
  /** Schema of an iterable of batches; without it, that of the first batch, which is fetched at once. */
  schema?: Schema;
}

const EXPORT_STREAM_KEYS: Record<keyof ExportStreamOptions, true> = { schema: true };

/** `EDEADLK` of errno.h. */
const EDEADLK = 35;
/** `EIO` of errno.h. */
const EIO = 5;
/** errno for codes of dipc; all others are {@linkcode EIO}. */
const ERRNOS: Partial<Record<DipcErrorCode, number>> = {
  cancelled: 125, // ECANCELED
  invalid_argument: 22, // EINVAL
  invalid_data: 22,
  out_of_memory: 12, // ENOMEM
  timeout: 110, // ETIMEDOUT
  unsupported: 95, // ENOTSUP
};

/**
 * The errno for an error.
 *
 * @param code Its code
 */
export function errnoOf(code: DipcErrorCode): number {
  return ERRNOS[code] ?? EIO;
}

/**
 * Exports a stream, without copying its batches: a table, an iterable of record batches, a reader such as that of `connect`, or a
 * dataset. It is read as the consumer takes batches, a few of which are prepared ahead.
 *
 * The consumer may read on any thread. If it finds no batch ready, its thread waits until this program's own thread has produced one:
 * a call that reads the stream should therefore be `nonblocking`. A call that is not can read what needs no waiting (a table, an array,
 * a generator); anything else is an error of the stream then.
 *
 * @example Usage
 * ```ts ignore
 * using stream = new CStruct("ArrowArrayStream");
 * await exportStream(table, stream.address);
 * await library.symbols.consume(stream.address); // nonblocking: true
 * ```
 *
 * @param source What is exported. Batches of what can be iterated once are taken over
 * @param target Address of memory for an `ArrowArrayStream`; the consumer releases it
 * @throws {DipcError} `invalid_argument` if there is nothing that can be exported; `unsupported` in a web worker, or for big-endian
 * data; `out_of_memory`; what the source throws. Its later errors are the stream's
 */
export function exportStream(source: StreamSource, target: bigint, options: ExportStreamOptions = {}): Promise<void> {
  return startStream("ArrowArrayStream", source, target, options);
}

/**
 * As {@linkcode exportStream}, as an `ArrowDeviceArrayStream` of host memory.
 *
 * @param source What is exported
 * @param target Address of memory for an `ArrowDeviceArrayStream`; the consumer releases it
 * @throws {DipcError} As {@linkcode exportStream}
 */
export function exportDeviceStream(
  source: StreamSource,
  target: bigint,
  options: ExportStreamOptions = {},
): Promise<void> {
  return startStream("ArrowDeviceArrayStream", source, target, options);
}

async function startStream(
  name: StreamName,
  source: StreamSource,
  target: bigint,
  options: ExportStreamOptions,
): Promise<void> {
  checkOptionNames("exportStream", options, EXPORT_STREAM_KEYS);
  if (target === 0n) {
    throw new DipcError("invalid_argument", `cannot export a stream: the address is 0; give that of an ${name}`);
  }
  await exportOpened(name, await openSource(source, options.schema), target);
}

/**
 * Exports a source that was opened.
 *
 * @param name Which structure
 * @param opened The source, which is closed if this fails
 * @param target Address of memory for the structure; the consumer releases it
 * @throws {DipcError} As {@linkcode exportStream}
 */
export async function exportOpened(name: StreamName, opened: ExportSource, target: bigint): Promise<void> {
  try {
    new ExportedStream(name, opened, target);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Fills the queue of one stream. */
class ExportedStream implements QueueOwner {
  readonly #source: ExportSource;
  readonly #queue: Queue;
  /** The next batch, which is not there yet. Never rejects. */
  #pending: Promise<void> | null = null;
  #hasEnded = false;
  #isReleased = false;

  constructor(name: StreamName, source: ExportSource, target: bigint) {
    this.#source = source;
    this.#queue = new Queue(name, source.schema.layout, target, this);
  }

  demand(isOwnThread: boolean): number {
    this.#fill();
    // Something was added, or the end set, if it is not being waited for.
    if (this.#pending === null) return LOOK_AGAIN;
    if (!isOwnThread) {
      this.#queue.use();
      return WAIT;
    }
    this.#queue.explain(
      "the next batch is not ready, and the thread that reads the stream is the one that has to produce it; read it in a " +
        "nonblocking call",
    );
    return EDEADLK;
  }

  released(): void {
    this.#isReleased = true;
    this.#close();
  }

  /** Adds batches until the queue is full, or the next one has to be waited for. */
  #fill(): void {
    while (this.#pending === null && !this.#hasEnded && !this.#isReleased && this.#queue.hasRoom) {
      try {
        const next = this.#source.next();
        if (next instanceof Promise) this.#wait(next);
        else this.#add(next);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  #wait(next: Promise<Exportable | null>): void {
    this.#pending = next.then((batch) => this.#add(batch)).catch((error) => this.#fail(error)).then(() => {
      this.#pending = null;
      this.#fill();
    });
  }

  #add(batch: Exportable | null): void {
    if (this.#isReleased) {
      batch?.release();
    } else if (batch === null) {
      this.#hasEnded = true;
      this.#queue.end(0);
      this.#close();
    } else {
      this.#queue.add((target) => exportArrays(batch, target));
    }
  }

  #fail(error: unknown): void {
    if (this.#hasEnded || this.#isReleased) return;
    this.#hasEnded = true;
    const { code, message } = asDipcError(error);
    this.#queue.explain(message);
    this.#queue.end(errnoOf(code));
    this.#close();
  }

  /** An error of a source whose end nobody waits for has nobody to go to. */
  #close(): void {
    Promise.resolve(this.#source.close()).catch(() => {});
  }
}
