/**
 * The seam between the protocol and what carries it. Two implementations: UCX, and an in-process loopback for tests.
 *
 * A channel is everything one stream needs: one UCX worker with one connection, or with two if metadata and bodies come
 * from two servers. It is polled, not awaited: operations are small objects that `progress()` advances, so the hot path
 * needs neither promises nor callbacks.
 *
 * @example A transport that logs when it connects
 * ```ts
 * import type { Transport } from "@arrow-ucx/dipc/transport";
 *
 * function traced(transport: Transport, log: (line: string) => void): Transport {
 *   return {
 *     connect(metadata, body, options) {
 *       log(`connecting to ${metadata.host}:${metadata.port}`);
 *       return transport.connect(metadata, body, options);
 *     },
 *     listen: (options) => transport.listen(options),
 *     close: () => transport.close(),
 *   };
 * }
 * console.log(typeof traced); // "function"
 * ```
 *
 * @module
 */
import type { DipcError } from "../errors.ts";
import type { Block, Body } from "../memory/block.ts";
import type { StreamRole } from "../protocol/role.ts";

export type { StreamRole } from "../protocol/role.ts";

/** State of an {@linkcode Operation}. */
export const PENDING = 0, DONE = 1, FAILED = 2;

/** A send or receive under way. Settled once, by its channel. */
export interface Operation {
  /**
   * Asks the transport whether it is done, without progressing. Cheap; may be called after it has settled.
   *
   * @returns `PENDING`, `DONE` or `FAILED`
   */
  poll(): 0 | 1 | 2;
  /** Why it failed, if it did. */
  readonly error: DipcError | null;
}

/** A tagged receive under way. */
export interface Receive extends Operation {
  /** The sender's full tag, once done. */
  readonly tag: bigint;
  /** Bytes received, once done. */
  readonly byteLength: number;
  /** Requests its early end; it settles later, as failed or done, at the latest with the channel's `close()`. */
  cancel(): void;
}

/** An unexpected message: it arrived before a matching receive was posted. */
export interface UnexpectedMessage {
  /** The sender's full tag. */
  readonly tag: bigint;
  /** Size of the message in bytes. */
  readonly byteLength: number;
}

/** Where memory of the peer lies, in the peer. */
export interface RemoteRange {
  /** Its first address, u64. */
  readonly base: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
}

/** Memory of the peer that can be read here. */
export interface RemoteMemory {
  /** Its range, if it is mapped here; `null` if it must be fetched, and the peer alone knows where it ends. */
  readonly range: RemoteRange | null;
  /** Why it must be fetched; empty if it is mapped. */
  readonly fetchReason: string;
  /**
   * Copies bytes of memory that is mapped.
   *
   * @param address Address in the peer; the caller has checked that all of it lies in the range
   * @param target Address here
   * @param byteLength How many bytes
   */
  copy(address: bigint, target: bigint, byteLength: number): void;
  /**
   * Fetches bytes, whether it is mapped or not. The block is borrowed until the operation is done or `close()` of the channel has
   * resolved.
   *
   * @param address Address in the peer
   * @param target What is written to
   * @param at Offset in the target
   * @param byteLength How many bytes
   * @returns the operation, or null if it is done already
   */
  fetch(address: bigint, target: Block, at: number, byteLength: number): Operation | null;
}

/** Memory of this process that peers can read, and write to. */
export interface LentMemory extends RemoteRange {
  /** What a peer needs for that. */
  readonly key: Uint8Array;
  /** Takes it back. No connection may use it. Idempotent. */
  close(): void;
}

/** Options of {@linkcode Channel.until}. */
export interface UntilOptions {
  /** Rejects the wait with `cancelled` (cause: the signal's reason). */
  signal?: AbortSignal;
  /** Longest wait in milliseconds; default without limit. */
  timeoutMs?: number;
  /**
   * How long to poll before the wait may sleep, in milliseconds: for something that is about to come, because falling asleep and
   * waking up take longer than that. Default: the transport's own, tens of microseconds.
   */
  eagerMs?: number;
  /**
   * Whether a stream is under way. On a core that has other work such a wait takes turns with it, which moves most bytes for the least
   * processor time. Any other wait sleeps there, because whoever is woken up does not wait for the turns of all others.
   */
  isStreaming?: boolean;
}

/** How connections are kept for a later stream. */
export interface KeepOptions {
  /** Most connections to one server that wait for a stream; 0 keeps none. */
  readonly connections: number;
  /** How long one waits, in milliseconds. */
  readonly milliseconds: number;
}

/** One worker and its connection or connections. */
export interface Channel {
  /** Names of the transports in use, such as `["posix"]` or `["tcp"]`; what is known so far. */
  readonly transports: readonly string[];
  /** Why they are not the fastest that this machine has; empty if nothing was in the way. Not all transports know. */
  readonly transportsReason?: string;
  /** Why the connection is gone, once it is. Operations pending at that moment may never settle before `close()`. */
  readonly failure: DipcError | null;
  /**
   * Counts calls of progress that did something, whoever made them; distinguishes a transfer that is under way from a
   * silent peer.
   */
  readonly activity: number;
  /**
   * Whether nothing is under way: every operation has settled, and every frame that has arrived was taken. Then another stream can
   * use the channel, if `probe()` finds nothing either. A transport without this property has channels for one stream each.
   */
  readonly isQuiet?: boolean;
  /** Whether its connection has carried a stream before; see `ConnectChannelOptions.mayReuse`. */
  readonly isReused?: boolean;

  /** Advances operations. Never throws for something a peer did. @returns whether anything happened */
  progress(): boolean;

  /**
   * Runs `step` after each progress until it returns true. All waits of the isolate share one loop: it visits each,
   * spins briefly, then sleeps on one system call. `step` must be quick and must not throw for a peer's faults.
   *
   * @returns true when `step` returned true, false after `timeoutMs`
   * @throws {DipcError} the channel's `failure` if it fails and one more `step` is not enough; `cancelled`; what `step` threw
   */
  until(step: () => boolean, options?: UntilOptions): Promise<boolean>;

  /**
   * The next metadata frame in order of arrival: the 5-byte prefix and what follows. The view's first byte lies at an
   * address ≡ 3 (mod 8), so that the flatbuffer after the prefix is 8-aligned. Valid until the next call of `takeFrame`.
   */
  takeFrame(): Uint8Array<ArrayBuffer> | null;
  /** Frames that have arrived and have not been taken. */
  readonly queuedFrames: number;
  /** Total bytes of those frames. */
  readonly queuedFrameBytes: number;

  /** Posts a receive of at most `byteLength` bytes into `target` for tags that equal `tag` in the bits of `mask`. */
  receive(tag: bigint, mask: bigint, target: Block, byteLength: number): Receive;
  /** The first unexpected message, left in place. */
  probe(): UnexpectedMessage | null;

  /**
   * Sends one metadata frame: prefix (`type`, `sequence`), then `payload`, which is copied or sent before the call
   * returns, so that the caller may reuse it.
   *
   * @param rendezvous Complete only when the peer has fetched it (flow control of a metadata-only server)
   * @returns the operation, or null if it is done already
   */
  sendFrame(type: number, sequence: number, payload: Uint8Array | null, rendezvous?: boolean): Operation | null;
  /**
   * Sends a tagged message. The body is borrowed until the operation is done or `close()` has resolved.
   *
   * @param synchronous Complete only when the peer has matched it
   * @param role Which connection to use; only a client's channel has a choice
   * @returns the operation, or null if it is done already
   */
  sendTagged(tag: bigint, body: Body, synchronous: boolean, role?: StreamRole): Operation | null;

  /**
   * Memory of the peer, until `close()`. Only on a connection with `remoteMemory`; not all transports have that.
   *
   * @param key What the peer has made for it
   * @throws {DipcError} `protocol` for anything but a key; `unsupported`
   */
  openRemote?(key: Uint8Array): RemoteMemory;

  /**
   * Ends the channel and settles everything on it; afterwards all memory lent to it is free again. Idempotent.
   *
   * @param options Whether it is cut, closed in order, or kept
   */
  close(options?: CloseChannelOptions): Promise<void>;
  /** Cuts a quiet connection at once and gives back its descriptors; only where `isQuiet` is known. Idempotent, also with `close`. */
  cut?(): void;
}

/** Options of {@linkcode Channel.close}. */
export interface CloseChannelOptions {
  /** First wait (bounded) until what was sent has arrived; without it the connection is cut. */
  flush?: boolean;
  /** Use nothing of it for another connection, because it is not known what the peer leaves undone. */
  discard?: boolean;
  /** Keep the connection of a quiet client's channel for a later `connect` to the same server, rather than to close it. */
  keep?: KeepOptions;
}

/** Makes the context of a GPU current on the thread that calls into UCX. */
export interface DeviceAccess {
  /** Memory space of the GPU, such as `"cuda:0"`. */
  readonly space: string;
  /** Path or name of the libcuda whose addresses these are. */
  readonly driver: string;
  /**
   * Makes the GPU's context current on this thread, until {@linkcode leave}; no `await` may come in between.
   *
   * @throws {DipcError} what the driver reports; then there is nothing to leave
   */
  enter(): void;
  /**
   * Makes current again what was current before {@linkcode enter}.
   *
   * @throws {DipcError} what the driver reports
   */
  leave(): void;
}

/** Whether a transport accepts bodies of a memory space as they are. */
export interface SpaceSupport {
  /** True if it accepts them. */
  readonly supported: boolean;
  /** Why, or why not, as half a sentence. */
  readonly reason: string;
}

/** Address of a server. */
export interface PeerAddress {
  /** Host name, IPv4 or IPv6 address, without brackets. */
  readonly host: string;
  /** TCP port, 1 … 65535. */
  readonly port: number;
}

/** A bound listener. */
export interface Listener {
  /** The address bound to, with the actual port if 0 was requested. */
  readonly address: PeerAddress;
  /**
   * Memory that its clients can read. Only on one with `remoteMemory`; not all transports have that.
   *
   * @param byteLength Its size in bytes
   * @throws {DipcError} `out_of_memory`
   */
  lend?(byteLength: number): LentMemory;
  /** Stops accepting; channels handed out live on. Idempotent. */
  close(): Promise<void>;
}

/** Options of {@linkcode Transport.listen}. */
export interface ListenOptions extends PeerAddress {
  /**
   * Whether memory is read by remote keys over the connections that it accepts. UCX then lets the peer read and write all memory of this process.
   * Default false.
   */
  remoteMemory?: boolean;
  /** Called for each accepted connection; the callee owns the channel and closes it. Must not throw. */
  onChannel(channel: Channel): void;
  /** Called before accepting; false rejects the connection. */
  mayAccept?(): boolean;
  /** Notified of connections that could not be accepted. Must not throw. */
  onError?(error: DipcError): void;
  /** Called when a connection cannot be accepted for lack of descriptors or memory. @returns whether some were given back */
  onShortage?(): boolean;
}

/** Options of {@linkcode Transport.connect}. */
export interface ConnectChannelOptions {
  /** Longest wait for the connection, in milliseconds. */
  timeoutMs: number;
  /** Aborts connecting. */
  signal?: AbortSignal;
  /** Most bytes of one metadata message from the server. Default: the transport's own. */
  maxMetadataBytes?: number;
  /** Most bytes of metadata that the server may have sent ahead; one message always fits. Default: the transport's own. */
  maxQueuedFrameBytes?: number;
  /** Takes a connection that an earlier channel was closed with `keep` on, if there is one that is sound. Default false. */
  mayReuse?: boolean;
  /**
   * Whether memory is read by remote keys over the connection. UCX then lets the peer read and write all memory of this process.
   * Default false.
   */
  remoteMemory?: boolean;
}

/** What carries the protocol. */
export interface Transport {
  /**
   * Connects to one server, or to two.
   *
   * @throws {DipcError} `unreachable`, `timeout`, `cancelled`
   */
  connect(metadata: PeerAddress, body: PeerAddress | null, options: ConnectChannelOptions): Promise<Channel>;
  /**
   * Whether a connection to a server waits that `connect` would take with `mayReuse`, if it is sound. A transport without this method
   * is not requested to connect before a connection is needed.
   */
  hasKept?(peer: PeerAddress, options: ConnectChannelOptions): boolean;
  /**
   * Listens for clients.
   *
   * @throws {DipcError} `unreachable` if the address cannot be bound
   */
  listen(options: ListenOptions): Promise<Listener>;
  /**
   * Whether its channels accept bodies and blocks of a memory space other than host memory. A transport without this method
   * accepts host memory only.
   *
   * @param space Such as `"cuda:0"`
   */
  supports?(space: string): SpaceSupport;
  /** Releases workers, context and memory. Channels must be closed before. Idempotent. */
  close(): Promise<void>;
}
