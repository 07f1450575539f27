/**
 * Progress of a reader and the end of its stream: the rules that all readers share.
 *
 * @module
 */
import { DipcError, withBatches } from "./errors.ts";
import type { MessageHeader } from "./ipc/message.ts";
import { type EndpointStats, type RouteName, routeOf, sharingOf, type StreamRoutes } from "./routes/stats.ts";
import { type EndOptions, readTwice } from "./stream/message_input.ts";
import { countRoute, type StreamSpan } from "./telemetry/stream_span.ts";
import { plural } from "./text.ts";

/** Counters and facts of a stream that is read. */
export interface ReaderStats {
  /** Rows of the batches that have arrived. */
  rows: number;
  /** Record batches that have arrived. */
  batches: number;
  /** Dictionary batches that have arrived. */
  dictionaries: number;
  /** Bytes of the bodies of both. */
  bodyBytes: number;
  /** Bytes of metadata, without prefixes. */
  metadataBytes: number;
  /** Seconds from the start of `connect` to now, or to the end of the stream. */
  seconds: number;
  /** `bodyBytes` per second. */
  bytesPerSecond: number;
  /** Seconds from the start of `connect` to the first record batch; `null` before it. */
  firstBatchSeconds: number | null;
  /** Transports that UCX chose, such as `["posix"]`. */
  transports: string[];
  /** Why they are not the fastest that this machine has, such as shared memory that failed; empty if nothing was in the way. */
  transportsReason: string;
  /** Bytes of those bodies that were read in the server's memory instead of being sent. */
  sharedBytes: number;
  /**
   * Why bodies travel although the server offers its memory, in words: they are sent, or fetched from there. Empty if they do not;
   * `null` if the server does not offer that.
   */
  sharingReason: string | null;
  /** True once every message has arrived. */
  complete: boolean;
  /** How the data comes: `"flight"` if any part of it comes by DoGet. May change from `"ucx"` up to the first batch. */
  route: RouteName;
  /** Why that route was taken, in words. */
  routeReason: string;
  /** The parts of the stream: one for a `ucx:` URI, as many as there are endpoints for a flight. */
  endpoints: EndpointStats[];
}

/** Constructor arguments of {@linkcode ReadState}. */
export interface ReadStateParts {
  /** Closes the input; called once. */
  readonly close: (how: EndOptions) => Promise<void>;
  /** Cancels the stream. */
  readonly signal?: AbortSignal;
  /** The routes that the parts of the stream take. */
  readonly routes: StreamRoutes;
  /** `performance.now()` when `connect` was called. */
  readonly startedMs: number;
  /** The stream in a trace. */
  readonly span: StreamSpan;
}

/** Counters of one stream, and its end: complete, cancelled or failed. */
export class ReadState {
  /** Whether a read is under way. */
  isBusy = false;
  #error: unknown = null;
  /** Whether that is an error that nobody has seen yet: one is made if somebody looks. */
  #isDisposed = false;
  #isComplete = false;
  #rows = 0;
  #batches = 0;
  #dictionaries = 0;
  #bodyBytes = 0;
  #endedMs = 0;
  #firstBatchMs = 0;
  #closing: Promise<void> | null = null;
  readonly #parts: ReadStateParts;

  /** A stream of which nothing was read. */
  constructor(parts: ReadStateParts) {
    this.#parts = parts;
    parts.signal?.addEventListener("abort", this.#onAbort);
  }

  /** The error that ended the stream early, or that a read gets afterwards. */
  get error(): unknown {
    if (this.#error === null && this.#isDisposed) this.#error = disposed(this.#batches);
    return this.#error;
  }

  /** Whether another read has to end first. A read after an error gets that error. */
  get isTaken(): boolean {
    return this.isBusy && this.error === null;
  }

  /**
   * Begins to read in one of the ways of a reader. A stream can be read once.
   *
   * @param fromStart Whether that way needs the whole stream, and not merely the rest of it
   * @throws {DipcError} `closed` after the end, `invalid_argument` if messages that it needs were read already, and the error that
   * ended the stream
   */
  begin(fromStart = false): void {
    if (this.error !== null) throw this.error;
    if (this.#isComplete) throw readTwice();
    if (fromStart && this.#batches + this.#dictionaries > 0) {
      throw new DipcError(
        "invalid_argument",
        `cannot read the messages of the stream: ${
          plural(this.#batches, "batch", "batches")
        } of it were read in another ` +
          "way before; read it in one way",
      );
    }
  }

  /** Begins a read. False after the end of the stream. */
  enter(): boolean {
    if (this.error !== null) throw this.error;
    if (this.#isComplete) return false;
    this.#parts.span.asked();
    return this.isBusy = true;
  }

  /** Counts a message that has arrived. */
  count(header: MessageHeader): void {
    this.#bodyBytes += header.bodyLength;
    if (header.kind === "batch") {
      this.#rows += header.rows;
      this.#batches++;
      this.#firstBatchMs ||= performance.now();
      this.#parts.span.arrived(header.rows, header.bodyLength);
    } else {
      this.#dictionaries++;
    }
  }

  /**
   * Counters up to now.
   *
   * @param metadataBytes Bytes of metadata that the input has counted
   */
  stats(metadataBytes: number): ReaderStats {
    const { routes, startedMs } = this.#parts;
    const seconds = ((this.#endedMs || performance.now()) - startedMs) / 1000;
    return {
      rows: this.#rows,
      batches: this.#batches,
      dictionaries: this.#dictionaries,
      bodyBytes: this.#bodyBytes,
      metadataBytes,
      seconds,
      bytesPerSecond: seconds > 0 ? this.#bodyBytes / seconds : 0,
      firstBatchSeconds: this.#firstBatchMs === 0 ? null : (this.#firstBatchMs - startedMs) / 1000,
      transports: [...routes.transports],
      transportsReason: routes.transportsReason,
      ...sharingOf(routes),
      complete: this.#isComplete,
      ...routeOf(routes),
      endpoints: routes.endpoints.map((endpoint) => ({ ...endpoint })),
    };
  }

  /** Ends the stream: all of it has arrived. */
  async finish(): Promise<void> {
    this.#isComplete = true;
    this.isBusy = false;
    await this.#close({ flush: true });
  }

  /** Cancels the stream and releases everything. Idempotent; does nothing after the end. */
  cancel(reason?: unknown): Promise<void> {
    return this.#cancel(reason, true);
  }

  #cancel(reason: unknown, stop: boolean): Promise<void> {
    if (this.error === null && !this.#isComplete) {
      const batches = this.#batches;
      const count = plural(batches, "batch", "batches");
      this.#error = new DipcError("cancelled", `cannot go on reading: the stream was cancelled after ${count}`, {
        cause: reason,
        batches,
      });
    }
    return this.#close({ stop });
  }

  /** Ends the use of the stream: what reads from now on gets `closed`. Idempotent. */
  dispose(): Promise<void> {
    const stop = this.#error === null && !this.#isDisposed;
    this.#isDisposed = true;
    return this.#close({ stop });
  }

  /** Ends the stream with `error`: adds how much had arrived, releases everything, and throws it. */
  async reject(error: unknown): Promise<never> {
    this.isBusy = false;
    if (this.error === null) {
      this.#isComplete = false;
      this.#error = withBatches(error, this.#batches);
    }
    await this.#close({});
    throw this.error;
  }

  #onAbort = (): void => void this.#cancel(this.#parts.signal!.reason, false).catch(() => {});

  #close(how: EndOptions): Promise<void> {
    this.#endedMs ||= performance.now();
    this.#parts.signal?.removeEventListener("abort", this.#onAbort);
    return this.#closing ??= this.#end(how);
  }

  #end(how: EndOptions): Promise<void> {
    const { routes, span, close } = this.#parts;
    for (const { route, routeReason } of routes.endpoints) if (route !== null) countRoute(route, routeReason);
    const { route } = routeOf(routes);
    const { sharedBytes } = sharingOf(routes);
    const facts = { "dipc.route": route, "dipc.rows": this.#rows, "dipc.shared_bytes": sharedBytes };
    span.end({ batches: this.#batches, bodyBytes: this.#bodyBytes, facts, error: this.error });
    return close(how);
  }
}

function disposed(batches: number): DipcError {
  return new DipcError(
    "closed",
    `cannot read the stream: it was disposed after ${plural(batches, "batch", "batches")}; read it before`,
    { batches },
  );
}
