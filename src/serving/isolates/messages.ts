/**
 * What the main isolate of a server and those that hold its connections post to each other.
 *
 * @module
 */
import type { MessageKind } from "../../ipc/message.ts";
import type { StreamRole } from "../../protocol/role.ts";
import type { ArrowFileShare } from "../../sources/arrow_file.ts";
import type { OutgoingTotals } from "../../stream/outgoing.ts";
import type { LoadedUcx } from "../../wire/ucx/loaded.ts";
import type { ServerSettings } from "../options.ts";
import type { MemoryGrant } from "../shared_memory.ts";
import type { StreamEventType, WantData } from "../stream_plane.ts";
import type { PortableError } from "./portable_error.ts";
import type { SharedMessages } from "./shared_messages.ts";

/** Metadata of a message: what is sent of it. */
export interface PostedHeader {
  readonly kind: MessageKind;
  readonly bytes: Uint8Array;
  readonly rows: number;
  /** Offset and length of each buffer in the body, if clients may read it in place. */
  readonly buffers?: Float64Array;
}

/** Memory in which clients read the bodies of a shared dataset: they are there, or each isolate brings them to an arena of its own. */
export type PostedMemory = { readonly kind: "packed"; readonly grant: MemoryGrant } | { readonly kind: "arena" };

/** A message of the main isolate whose body another isolate sends, and gives back by its number. */
export interface LentMessage extends PostedHeader {
  /** Number of the body. */
  readonly body: number;
  /** Address of its first byte; 0 for an empty body. */
  readonly address: bigint;
  readonly byteLength: number;
}

/** How an isolate gets at the messages of a dataset. */
export type DatasetSource =
  /** In memory: addresses of all messages. */
  | { readonly kind: "memory"; readonly messages: SharedMessages }
  /** In an Arrow file, which each isolate opens. */
  | { readonly kind: "file"; readonly file: ArrowFileShare }
  /** Anything else: the main isolate reads it and lends the messages. */
  | { readonly kind: "lent" };

/** A dataset as it is described to an isolate. */
export interface PostedDataset {
  /** Number of the dataset, the same in every grant of it. */
  readonly id: number;
  readonly schema: PostedHeader;
  readonly source: DatasetSource;
}

/** Permission for one stream. */
export interface PostedGrant {
  /** Number of the grant. */
  readonly id: number;
  readonly name: string;
  readonly dataset: PostedDataset;
  /** Its memory, if it is shared. */
  readonly memory?: PostedMemory;
  /** Whether the main isolate must be asked before the first body is sent. */
  readonly mustSpend: boolean;
}

/** What an isolate needs to start. */
export interface IsolateStart {
  readonly settings: ServerSettings;
  readonly wantData: WantData;
  /** Number of the isolate, from 0. */
  readonly index: number;
  /** Of `counterMemory`. */
  readonly counters: SharedArrayBuffer;
  readonly library: LoadedUcx;
  /** Name of the socket that hands out shared memory, if any dataset is shared. */
  readonly share?: string;
}

/** From the main isolate. */
export type ToIsolate =
  | { readonly op: "start"; readonly start: IsolateStart }
  | { readonly op: "admitted"; readonly request: number; readonly grant: PostedGrant }
  /** The answer to `admit`, `spend` or `open` that is an error; for `spend` and `open` also the one that is none. */
  | { readonly op: "answer"; readonly request: number; readonly error: PortableError | null }
  | {
    readonly op: "messages";
    readonly run: number;
    readonly messages: readonly LentMessage[];
    readonly isEnd: boolean;
    readonly error: PortableError | null;
  }
  | { readonly op: "stop accepting" }
  | { readonly op: "abort"; readonly reason: PortableError }
  | { readonly op: "close" }
  | { readonly op: "ping" };

/** An event of a connection. */
export interface PostedEvent {
  readonly type: StreamEventType;
  readonly connection: number;
  readonly dataset?: string;
  readonly totals?: OutgoingTotals;
  readonly error?: PortableError;
}

/** From an isolate that holds connections. */
export type FromIsolate =
  | { readonly op: "listening"; readonly port: number }
  | { readonly op: "not started"; readonly error: PortableError }
  | { readonly op: "admit"; readonly request: number; readonly ticket: Uint8Array; readonly role: StreamRole }
  | { readonly op: "spend"; readonly request: number; readonly grant: number }
  /** The stream of a grant is over. */
  | { readonly op: "forget"; readonly grant: number }
  | { readonly op: "open"; readonly request: number; readonly run: number; readonly grant: number }
  | { readonly op: "pull"; readonly run: number }
  | { readonly op: "release"; readonly bodies: readonly number[] }
  | { readonly op: "end run"; readonly request: number; readonly run: number }
  | { readonly op: "event"; readonly event: PostedEvent }
  | { readonly op: "not accepting" }
  /** An error was not caught: the isolate cuts its connections and ends. */
  | { readonly op: "crashed"; readonly error: PortableError }
  /** Nothing of the isolate uses native memory any more: it can be terminated. */
  | { readonly op: "ended" }
  | { readonly op: "pong" };
