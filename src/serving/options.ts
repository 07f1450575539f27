/**
 * The options of `serve`, how they are checked, and the facts that a server reports.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { checkOptionNames, integerIn, refusal } from "../options.ts";
import { advertisedHost } from "../reachable_host.ts";
import type { OutgoingTotals } from "../stream/outgoing.ts";
import type { Transport } from "../wire/transport.ts";
import type { Servable } from "./datasets.ts";
import type { FlightPlaneOptions } from "./flight_plane.ts";

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /**
   * What to serve under which name; the name is the URI's path and the default ticket. It may be empty if `flight` accepts
   * uploads or has handlers.
   */
  datasets: Record<string, Servable>;
  /** Address to bind. Default `127.0.0.1`; a loopback address is reachable from this machine only. */
  address?: string;
  /** Port of both streams, or of the bodies if `metadataPort` is given. Default 0, any free one. */
  port?: number;
  /** Port of a separate listener for metadata (0 for any free one). Default: none, one connection carries both. */
  metadataPort?: number;
  /**
   * Host that the URIs name. Default: the address bound to; if that stands for all addresses (`0.0.0.0`, `::`), the one by which a
   * Flight client has reached this server, otherwise this machine's own.
   */
  advertise?: string;
  /** Connections open concurrently; further ones are refused. Default 256. */
  maxConnections?: number;
  /** A connection that has not sent a request after this many milliseconds is closed. Default 5,000. */
  requestTimeoutMs?: number;
  /** A stream whose client accepts nothing for this many milliseconds is aborted. Default 600,000. */
  idleTimeoutMs?: number;
  /**
   * How long a connection waits for another request of its client after a whole stream, in milliseconds; 0 closes it at once. Such
   * a connection is not a client: it is closed first if the server is full. Default 60,000.
   */
  keepAliveMs?: number;
  /** Most connections that wait so, of each isolate. Default 64. */
  maxIdleConnections?: number;
  /** Bytes of bodies under way on one stream. Default 8 MiB; at least two bodies are always admitted. */
  windowBytes?: number;
  /** Messages under way on one stream. Default 256. */
  windowBatches?: number;
  /** Path of libucp. Default: the variable `DIPC_LIBUCP`, the copy that `dipc setup` made, then the system's. */
  library?: string;
  /** What carries the protocol. Default: UCX. */
  transport?: Transport;
  /**
   * When bodies in device memory are copied through pinned host memory on their way to the wire: if UCX cannot move them
   * directly (`"auto"`), `"never"`, or `"always"`. Default `"auto"`.
   */
  staging?: "auto" | "never" | "always";
  /**
   * Isolates that hold the connections by UCX, each with a thread, a UCX context and a listener of its own, so that streams use
   * that many cores: 1 to 256. With more than one, a dataset has a URI for each (with `port` P they are at P, P + 1, …): give the
   * whole list to `connect`, which takes the next one if the first cannot be used. Not with `metadataPort`, `transport`, or
   * datasets in device memory. Default 1, which is this isolate itself.
   */
  isolates?: number;
  /** Limits of datasets with `share`: what clients on this machine may read in place. */
  sharing?: {
    /** Size of the memory through which the bodies of one dataset stream that is not in memory itself, in bytes. Default 256 MiB. */
    arenaBytes?: number;
    /** Most bytes of it that one client holds; above them bodies are sent. Default 128 MiB. */
    clientBytes?: number;
    /** A client that holds a body of it longer than this many milliseconds is disconnected. Default 3,600,000, an hour. */
    leaseMs?: number;
    /** Smaller bodies are sent, in bytes. Default 32 KiB. */
    minBodyBytes?: number;
    /**
     * Whether bodies are also lent by UCX's remote keys (`remote_handle` in the URI), to clients that know the protocol's specification
     * alone. Whoever reaches the server's port can then read and write all memory of this process. Default false.
     */
    remoteKeys?: boolean;
  };
  /** Serves the same datasets by Arrow Flight too. Default: UCX only. */
  flight?: FlightPlaneOptions;
}

/** Limits of shared datasets, by default those that are documented. */
type SharingOptions = NonNullable<ServeOptions["sharing"]>;

/** The same, checked. */
export type SharingSettings = Readonly<Required<SharingOptions>>;

/** A dataset as a server offers it. */
export interface ServedDataset {
  /** Its name, which is also its ticket. */
  readonly name: string;
  /** One URI, or metadata URI and body URI, or one for each isolate, beginning with another one per dataset. Give all to `connect`. */
  readonly uris: readonly string[];
  /** Total rows, if known. */
  readonly rows?: number;
  /** Number of record batches, if known. */
  readonly batches?: number;
  /** Bytes of all bodies, if known. */
  readonly bodyBytes?: number;
  /** What decodes its Parquet file: `"wasm"` or `"duckdb"`. */
  readonly engine?: string;
  /** Why that was chosen. */
  readonly engineReason?: string;
  /** Memory space that its bodies are sent from, if that is not host memory. */
  readonly memory?: string;
  /** Whether they are staged through host memory; set for bodies in device memory. */
  readonly staged?: boolean;
  /** Why they are staged or not. */
  readonly stagingReason?: string;
  /** Why clients on this machine cannot read bodies in place after all; empty if they can. Left out if it is not shared. */
  readonly sharingReason?: string;
}

/** Counters of a {@linkcode Server}. */
export interface ServerStats {
  /** Connections accepted. */
  connections: number;
  /** Connections open now that have a request, or may be about to send their first. */
  activeConnections: number;
  /** Connections open now that wait for another request. */
  idleConnections: number;
  /** Requests admitted. */
  requests: number;
  /** Streams that were sent completely. */
  completed: number;
  /** Connections that ended otherwise, except for those of clients that left without a request. */
  failed: number;
  /** Record batches sent. */
  batches: number;
  /** Bytes of bodies sent, or read in place. */
  bodyBytes: number;
  /** Bytes of those that were read in place. */
  sharedBytes: number;
  /** Bytes of metadata sent. */
  metadataBytes: number;
}

/** Detail of the events `connection`, `request`, `end` and `error` of a {@linkcode Server}. */
export interface ServerEventDetail {
  /** Number of the connection, from 1. */
  connection: number;
  /** The requested dataset, once known. */
  dataset?: string;
  /** What was sent (`end`, `error`). */
  totals?: OutgoingTotals;
  /** The failure (`error`). */
  error?: DipcError;
}

/** The events of a {@linkcode Server}, by type. */
export interface ServerEvents {
  /** A client has connected. */
  connection: CustomEvent<ServerEventDetail>;
  /** A client has requested a dataset. */
  request: CustomEvent<ServerEventDetail>;
  /** A stream was sent completely. */
  end: CustomEvent<ServerEventDetail>;
  /** A connection failed; the server goes on. */
  error: CustomEvent<ServerEventDetail>;
  /** The data of a dataset that the server has opened looks wrong, but was sent: an Arrow stream without its end, for example. */
  warning: CustomEvent<{ dataset: string; warning: string }>;
}

/** The options of a server that concern UCX, checked. */
export interface ServerSettings {
  readonly address: string;
  readonly port: number;
  readonly metadataPort?: number;
  readonly advertise?: string;
  readonly maxConnections: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly maxIdleConnections: number;
  readonly windowBytes: number;
  readonly windowBatches: number;
  readonly isolates: number;
  readonly sharing: SharingSettings;
}

const MAX_PORT = 65_535;
/** Most isolates of a server. */
const MAX_ISOLATES = 256;

const SERVE_KEYS: Readonly<Record<keyof ServeOptions, true>> = {
  ...{ datasets: true, address: true, port: true, metadataPort: true, advertise: true, maxConnections: true },
  ...{ requestTimeoutMs: true, idleTimeoutMs: true, windowBytes: true, windowBatches: true, library: true },
  ...{ keepAliveMs: true, maxIdleConnections: true, transport: true, staging: true, isolates: true },
  ...{ sharing: true, flight: true },
};

const SHARING_KEYS: Readonly<Record<keyof SharingOptions, true>> = {
  ...{ arenaBytes: true, clientBytes: true, leaseMs: true, minBodyBytes: true, remoteKeys: true },
};

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function serverSettings(options: ServeOptions): ServerSettings {
  checkOptionNames("serve", options, SERVE_KEYS);
  return {
    address: options.address ?? "127.0.0.1",
    port: portNumber("port", options.port ?? 0),
    metadataPort: options.metadataPort === undefined ? undefined : portNumber("metadataPort", options.metadataPort),
    advertise: advertisedHost(options.advertise),
    maxConnections: integerIn("maxConnections", options.maxConnections ?? 256, 1),
    requestTimeoutMs: integerIn("requestTimeoutMs", options.requestTimeoutMs ?? 5_000, 1),
    idleTimeoutMs: integerIn("idleTimeoutMs", options.idleTimeoutMs ?? 600_000, 1),
    keepAliveMs: integerIn("keepAliveMs", options.keepAliveMs ?? 60_000, 0),
    maxIdleConnections: integerIn("maxIdleConnections", options.maxIdleConnections ?? 64, 0),
    windowBytes: integerIn("windowBytes", options.windowBytes ?? 8 * 2 ** 20, 1),
    windowBatches: integerIn("windowBatches", options.windowBatches ?? 256, 1, 65_536),
    isolates: isolateCount(options),
    sharing: sharingSettings(options.sharing),
  };
}

function sharingSettings(options: SharingOptions = {}): SharingSettings {
  checkOptionNames("serve", options, SHARING_KEYS, "sharing.");
  const { remoteKeys = false } = options;
  if (typeof remoteKeys !== "boolean") {
    throw new DipcError("invalid_argument", refusal("sharing.remoteKeys", remoteKeys, "a boolean"));
  }
  return {
    arenaBytes: integerIn("sharing.arenaBytes", options.arenaBytes ?? 256 * 2 ** 20, 1),
    clientBytes: integerIn("sharing.clientBytes", options.clientBytes ?? 128 * 2 ** 20, 0),
    leaseMs: integerIn("sharing.leaseMs", options.leaseMs ?? 3_600_000, 1),
    minBodyBytes: integerIn("sharing.minBodyBytes", options.minBodyBytes ?? 32 * 2 ** 10, 0),
    remoteKeys,
  };
}

/** @throws {DipcError} `invalid_argument` for a number out of range, and for options that go with one isolate only */
function isolateCount({ isolates = 1, port = 0, metadataPort, transport, flight }: ServeOptions): number {
  integerIn("isolates", isolates, 1, MAX_ISOLATES);
  if (isolates === 1) return 1;
  const refuse = (why: string, advice: string): never => {
    throw new DipcError("invalid_argument", `cannot serve from ${isolates} isolates: ${why}; ${advice}`);
  };
  const leaveOut = "leave one of the two options out";
  if (metadataPort !== undefined) refuse("metadataPort goes with one", leaveOut);
  if (transport !== undefined) refuse("a transport of the caller's own cannot be used in another isolate", leaveOut);
  if (flight?.ucx === "off") refuse("they hold connections by UCX, which flight.ucx turns off", leaveOut);
  if (port !== 0 && port + isolates - 1 > MAX_PORT) {
    refuse(`their ports are ${port} to ${port + isolates - 1}, the last port is ${MAX_PORT}`, "choose a lower port");
  }
  return isolates;
}

function portNumber(name: string, value: number): number {
  return integerIn(name, value, 0, MAX_PORT);
}
