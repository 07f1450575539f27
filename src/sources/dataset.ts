/**
 * What a server serves: a schema and a way to iterate over the messages that follow it.
 *
 * @module
 */
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";

/** One run through a dataset. */
export interface MessageStream {
  /** The schema message of this run, if the dataset may have changed since. Default: that of the dataset. */
  readonly schema?: MessageHeader;
  /**
   * The next dictionary or batch message (never the schema), or `null` at the end. Returns no promise if the data is at
   * hand, because the sender's loop is much faster that way. Never called while an earlier call is pending.
   * The caller owns the message and releases its body.
   *
   * @throws {DipcError} `io`, `invalid_data`; after an error the stream is over
   */
  next(): IpcMessage | null | Promise<IpcMessage | null>;
  /** Ends the run, finished or not; releases what it holds. Idempotent. */
  close(): void | Promise<void>;
}

/** Something that can be served to clients, once or many times. */
export interface Dataset {
  /** The schema message that starts every run. */
  readonly schema: MessageHeader;
  /** Custom metadata of the footer of an Arrow file, which is not that of the schema; it is not sent to clients. */
  readonly footerMetadata?: ReadonlyMap<string, string>;
  /** Total rows, if known without reading everything. */
  readonly rows?: number;
  /** Number of record batches, if known. */
  readonly batches?: number;
  /** Total bytes of all bodies, if known. */
  readonly bodyBytes?: number;
  /** Bytes of the largest body, if known: a route that cannot carry it says so before it sends anything. */
  readonly largestBodyBytes?: number;
  /** Memory space of all bodies, such as `"cuda:0"`. Default: host memory. */
  readonly memory?: string;
  /** True if the size of its batches is this package's own choice, so that they may be cut for a peer. Default: false. */
  readonly hasFreeBatches?: boolean;
  /** What decodes it, if that was chosen from several. */
  readonly engine?: {
    /** Its name. */
    readonly name: "wasm" | "duckdb";
    /** Why it was chosen, in words. */
    readonly reason: string;
  };
  /** True if only one run is possible (standard input, an iterator). */
  readonly readOnce: boolean;
  /**
   * Starts a run.
   *
   * @param options `signal` ends the run; `isPart` says that another run must have the same content, because metadata and bodies are
   * read apart
   * @throws {DipcError} `busy` if the dataset can be read only once and was taken already, `io`, `closed`
   */
  open(options?: { signal?: AbortSignal; isPart?: boolean }): MessageStream | Promise<MessageStream>;
  /**
   * Looks whether what it reads has changed, so that what it says of itself is up to date. Default: it never changes.
   *
   * @throws {DipcError} `io` if it has changed and cannot be read now
   */
  refresh?(): void | Promise<void>;
  /** Releases files and memory; running streams fail with `closed`. Idempotent. */
  close(): void | Promise<void>;
}

/** What decodes a dataset's file. */
export type DatasetEngine = NonNullable<Dataset["engine"]>;
