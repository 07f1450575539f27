/**
 * The UCX side of a server as the server uses it: in this isolate, or in several.
 *
 * @module
 */
import { formatUri } from "../protocol/uri.ts";
import type { StreamRole } from "../protocol/role.ts";
import { type Approach, reachableHost } from "../reachable_host.ts";
import type { BodySharing } from "../stream/body_sharing.ts";
import type { SendableDataset } from "../stream/sendable.ts";
import type { Channel, Listener } from "../wire/transport.ts";
import type { ServerEventDetail, ServerSettings, ServerStats } from "./options.ts";

/** The UCX side of a server. */
export interface StreamPlane {
  /** Port of both streams, or of the bodies; of the first isolate if there are several. */
  readonly port: number;
  /** Port of the metadata, if it has one of its own. */
  readonly metadataPort?: number;
  /** Whether any connection is open. */
  readonly isBusy: boolean;
  /** Clients that read in place, and bytes that are lent to them, if anything is shared. */
  readonly sharing?: LenderStats;
  /**
   * Binds the listeners.
   *
   * @throws {DipcError} `unreachable` when the address cannot be bound
   */
  listen(): Promise<void>;
  /**
   * The URIs of a dataset.
   *
   * @param name Name of the dataset
   * @param approach How the client has reached this server, if it has
   */
  urisOf(name: string, approach?: Approach): string[];
  /** Accepts no further connections. */
  stopAccepting(): Promise<void>;
  /** Resolves once no connection is left. */
  idle(): Promise<void>;
  /** Releases what the plane has made itself; no connection is open. */
  close(): Promise<void>;
}

/** Permission for one stream, as the plane uses it: a `Grant`, or what another isolate has sent of one. */
export interface StreamGrant {
  readonly entry: { readonly name: string; readonly dataset: SendableDataset };
  /** Called before the first body is sent; see `Grant`. */
  spend(): void;
}

/** Decides about requests; see `Admission`. */
export interface StreamAdmission {
  /** @throws {DipcError} `not_found`, `permission_denied` */
  admit(ticket: Uint8Array, role: StreamRole): StreamGrant | Promise<StreamGrant>;
}

/** Counts the connections of a server, of all its isolates. */
export interface ConnectionCounter {
  /** Connections open now that have a request, or may be about to send their first. */
  readonly active: number;
  /** Connections that wait for another request. */
  readonly idle: number;
  /**
   * Counts one more.
   *
   * @returns its number, from 1, and how many are active with it
   */
  begin(): { connection: number; active: number };
  /** An active one is closed. */
  end(): void;
  /** An active one waits for another request from now on. */
  rest(): void;
  /** One that waited has another request. @returns how many are active with it */
  wake(): number;
  /** One that waited has closed. */
  endIdle(): void;
}

/** Types of the events that a plane reports. */
export type StreamEventType = "connection" | "request" | "end" | "error";

/** The server, as its UCX side uses it. */
export interface StreamPlaneHost {
  readonly settings: ServerSettings;
  readonly admission: StreamAdmission;
  readonly counter: ConnectionCounter;
  /** Aborted when the server stops. */
  readonly stop: AbortSignal;
  /** Opens what hands out shared memory, if a dataset is shared. */
  readonly openShared?: () => MemorySharing;
  /** Lends memory by remote keys to the clients of a listener, if that is on. */
  readonly openRemote?: (listener: Listener) => RemoteLender;
  /** Counts an event of a connection, and reports it. */
  emit(type: StreamEventType, detail: ServerEventDetail): void;
}

/** The session of a client that reads bodies in place. */
export interface SharingSession extends BodySharing {
  /** Aborted with the reason when its streams must end. */
  readonly signal: AbortSignal;
  /** A stream begins. */
  enter(): void;
  /** That stream is over. */
  exit(): void;
}

/** What hands out shared memory; see `SharedPlane`. */
export interface MemorySharing {
  /** Name of its socket, as it is in URIs. */
  readonly name: string;
  /**
   * Clients that read in place, without those that only may do so again, bytes that are lent to them, and bytes of arenas that are in
   * use and not known to the server.
   */
  readonly stats: LenderStats;
  /** Whether a dataset is shared. */
  shares(dataset: string): boolean;
  /** The session that a request for a dataset names, if there is one. */
  claim(nonce: Uint8Array, dataset: string): SharingSession | undefined;
  /** Hands out nothing more. Idempotent. */
  close(): Promise<void>;
}

/** What clients have of a server's memory. */
export interface LenderStats {
  /** Clients that may read it. */
  readonly clients: number;
  /** Bytes that are lent to them. */
  readonly leasedBytes: number;
  /** Bytes of arenas of its own that are in use. */
  readonly arenaBytes?: number;
}

/** What a URI says about memory that can be read by a remote key. */
export interface RemoteOffer {
  /** Tag of messages that give something back. */
  readonly freeData: bigint;
  /** The packed key. */
  readonly remoteHandle: Uint8Array;
}

/** A client that reads by a remote key. */
export interface RemoteLending extends BodySharing {
  /**
   * Takes in what the client gives back, as far as it has arrived.
   *
   * @returns false once the client has left
   * @throws {DipcError} `protocol` if it does not have that, or sends anything else
   */
  drain(): boolean;
  /**
   * Waits after the stream until the client has given everything back, or has left.
   *
   * @param signal Ends the wait
   * @throws {DipcError} `protocol`, `timeout`, `cancelled`
   */
  returned(signal: AbortSignal): Promise<void>;
  /** The connection is closed: nothing is in use by the client. */
  leave(): void;
}

/** What lends memory by remote keys; see `RemotePlane`. */
export interface RemoteLender {
  readonly stats: LenderStats;
  /** What the URI of a dataset says; `undefined` if it is not lent. */
  offerOf(dataset: string): RemoteOffer | undefined;
  /** The session of a connection on which a dataset is requested; `undefined` if it is not lent. */
  open(dataset: string, channel: Channel): RemoteLending | undefined;
  /** Takes the memory back; no connection uses it. Idempotent. */
  close(): void;
}

/** The tag of requests for each role. */
export type WantData = Readonly<Record<StreamRole, bigint>>;

/** New random tags for requests; never 0. */
export function randomWantData(): WantData {
  const [both, metadata, body] = crypto.getRandomValues(new BigUint64Array(3));
  return { both: both | 1n, metadata: metadata | 1n, body: body | 1n };
}

/** Ports of a plane. */
export interface BoundPorts {
  readonly port: number;
  readonly metadataPort?: number;
}

/** A name for a local socket that nobody can guess, and which nobody can have taken. */
export function newSocketName(): string {
  return `dipc-${crypto.getRandomValues(new Uint8Array(16)).toHex()}`;
}

/** What a server puts into its URIs. */
export interface UriParts {
  readonly settings: ServerSettings;
  readonly wantData: WantData;
  readonly approach?: Approach;
  readonly share?: string;
  readonly remote?: RemoteOffer;
}

/**
 * The URIs of a dataset at one listener (one), or at separate ones for metadata and bodies (two).
 *
 * @param name Name of the dataset
 * @param ports Ports of the plane
 * @param parts Settings of the server, its tags, how the client has reached it, if it has, and if the dataset is shared, the socket that
 * hands out its memory, and what a client without that needs
 */
export function urisAt(
  name: string,
  { port, metadataPort }: BoundPorts,
  { settings, wantData, approach, share, remote }: UriParts,
): string[] {
  const { advertise, address } = settings;
  const host = advertise ?? reachableHost(address, "one", approach).host;
  const keeps = settings.keepAliveMs > 0 && settings.maxIdleConnections > 0;
  const uri = (role: StreamRole, port: number): string =>
    formatUri({
      ...{ host, port, ticket: name, wantData: wantData[role], role },
      ...{ dipc: true, keep: keeps && role === "both", share, ...remote },
    });
  return metadataPort === undefined ? [uri("both", port)] : [uri("metadata", metadataPort), uri("body", port)];
}

/** Counts connections in the counters of a server in one isolate. */
export function countedIn(stats: ServerStats): ConnectionCounter {
  return {
    get active() {
      return stats.activeConnections;
    },
    begin: () => ({ connection: ++stats.connections, active: ++stats.activeConnections }),
    get idle() {
      return stats.idleConnections;
    },
    end: () => void stats.activeConnections--,
    rest() {
      stats.activeConnections--;
      stats.idleConnections++;
    },
    wake() {
      stats.idleConnections--;
      return ++stats.activeConnections;
    },
    endIdle: () => void stats.idleConnections--,
  };
}

/** Counts an event of a connection; connections themselves are counted by {@linkcode ConnectionCounter}. */
export function countEvent(stats: ServerStats, type: StreamEventType, { connection, totals }: ServerEventDetail): void {
  if (type === "request") stats.requests++;
  // Errors without a connection are those of a listener.
  if (connection === 0 || (type !== "end" && type !== "error")) return;
  if (totals !== undefined) {
    stats.batches += totals.batches;
    stats.bodyBytes += totals.bodyBytes;
    stats.sharedBytes += totals.sharedBytes;
    stats.metadataBytes += totals.metadataBytes;
  }
  if (type === "end") stats.completed++;
  else stats.failed++;
}
