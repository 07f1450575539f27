/**
 * The options of `connect`, and how they are checked.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FlightMiddleware } from "../flight/client_options.ts";
import type { FlightTlsOptions } from "../grpc/tls.ts";
import { type ReaderLimits, readerLimits, timeoutOption } from "../limits.ts";
import { checkOptionNames, integerIn, oneOf } from "../options.ts";
import type { Pool } from "../memory/block.ts";
import type { KeepOptions, Transport } from "../wire/transport.ts";
import type { MemoryOpener } from "./shared.ts";
import type { RouteName } from "./stats.ts";

/** Longest wait for the answer of a `ucx:` location, in milliseconds, by default. */
const UCX_TIMEOUT_MS = 1500;
/** Longest wait for the connection to a location, in milliseconds, by default. */
const LOCATION_TIMEOUT_MS = 5000;
/** Endpoints that are read concurrently, by default. */
const PARALLEL_ENDPOINTS = 4;

/** Source of a stream: the URI of a Flight server, a `ucx:` URI, or `ucx:` URIs as a server reports them. */
export type StreamUri = string | URL | readonly (string | URL)[];

/** Options of {@linkcode connect} that only apply to the URI of a Flight server; with another one they are rejected. */
export interface ConnectFlightOptions {
  /** Which flight: the steps of its path. Default: the path of the URI. */
  path?: string | readonly string[];
  /** Which flight: a command in the server's own form, instead of a path. */
  command?: string | Uint8Array;
  /** Longest wait for the connection to a `ucx:` location before DoGet is taken, in milliseconds; with `route: "auto"`. Default 1,500. */
  ucxTimeoutMs?: number;
  /**
   * Longest wait for the connection to a location that the server named, in milliseconds; then the next one is tried, and at last
   * the server that was asked. Default 5,000.
   */
  locationTimeoutMs?: number;
  /** Endpoints read concurrently. Default 4. */
  parallelEndpoints?: number;
  /** Headers of every call. */
  headers?: HeadersInit;
  /** Bearer token of every call. */
  token?: string;
  /** User of basic authentication. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** Certificates; only with `grpc+tls:`. */
  tls?: FlightTlsOptions;
  /** Whether cookies of the server are kept and sent back. Default true. */
  cookies?: boolean;
  /** Hooks around every call; the first is the outermost. */
  middleware?: readonly FlightMiddleware[];
  /** Longest answer that is not Arrow data, such as the list of endpoints, in bytes. Default 2 GiB. */
  maxMessageBytes?: number;
  /**
   * Sends headers, cookies, token, user and password also to other hosts that the server names as locations, and without TLS if the
   * server names such. Default false.
   */
  trustLocations?: boolean;
}

/** Options of {@linkcode connect}. */
export interface ConnectOptions {
  /** Which stream: an opaque identifier. Default: the URI's path. At a Flight server it requests DoGet at once. */
  ticket?: string | Uint8Array;
  /** URI of the bodies, if that is another server or port than the metadata's. Only with a `ucx:` URI. */
  bodyUri?: string | URL;
  /**
   * How the data comes. `"auto"` takes UCX when this process can reach it, Flight's DoGet otherwise; `"ucx"` and `"flight"` allow
   * nothing else. A `ucx:` URI leaves no choice. Default `"auto"`.
   */
  route?: "auto" | RouteName;
  /** Which flight, and how to call its server. Only with the URI of a Flight server. */
  flight?: ConnectFlightOptions;
  /** Aborts connecting, and later the stream. */
  signal?: AbortSignal;
  /** Longest wait for the peer, in milliseconds: to connect, and between two messages. Default 30,000. */
  timeoutMs?: number;
  /**
   * How long the connection is kept for another stream of the same server after this one, in milliseconds; 0 closes it at once. One
   * that waits keeps no program alive. Only by UCX, and only if the server keeps connections too. Default 30,000.
   */
  keepAliveMs?: number;
  /** Most connections to one server that wait so. Default 4. */
  maxIdleConnections?: number;
  /** Limits on what the peer can make this reader do. */
  limits?: Partial<ReaderLimits>;
  /** Path of libucp. Default: the variable `DIPC_LIBUCP`, the copy that `dipc setup` made, then the system's. */
  library?: string;
  /** Memory that receives the bodies. Default: the pool that all streams of the isolate share. */
  pool?: Pool;
  /** What carries the protocol. Default: UCX. */
  transport?: Transport;
  /**
   * Whether bodies are read in the server's memory instead of being received, if it offers that and is on this machine. Not with
   * `pool`. Default true.
   */
  share?: boolean;
  /**
   * Whether that is also done by UCX's remote keys, at a server whose URI has a `remote_handle`. Only for a server that you trust with
   * everything: UCX then lets it read and write all memory of this process. Default false.
   */
  remoteKeys?: boolean;
}

/** The options of `connect` as the routes take them. */
export interface RouteOptions extends Omit<ConnectOptions, "limits" | "keepAliveMs" | "maxIdleConnections"> {
  readonly timeoutMs: number;
  readonly limits: ReaderLimits;
  readonly route: "auto" | RouteName;
  /** Memory that receives the bodies that come by UCX, if that is not `pool`. */
  readonly ucxPool?: Pool;
  /** What opens memory that servers lend, if that is not host memory. */
  readonly lent?: MemoryOpener;
  /** How connections by UCX are kept. */
  readonly keep: KeepOptions;
}

const CONNECT_KEYS: Readonly<Record<keyof ConnectOptions, true>> = {
  ...{ ticket: true, bodyUri: true, route: true, flight: true, signal: true },
  ...{ timeoutMs: true, keepAliveMs: true, maxIdleConnections: true, limits: true, library: true, pool: true },
  ...{ transport: true, share: true, remoteKeys: true },
};

const FLIGHT_KEYS: Readonly<Record<keyof ConnectFlightOptions, true>> = {
  ...{ path: true, command: true, ucxTimeoutMs: true, locationTimeoutMs: true, parallelEndpoints: true, headers: true },
  ...{ token: true, user: true, password: true, tls: true, trustLocations: true },
  ...{ cookies: true, middleware: true, maxMessageBytes: true },
};

/**
 * Checks the options of `connect`: every one of them must be known, and apply to the URI.
 *
 * @param kind Which route the URI leads to
 * @param options Options of the caller
 * @throws {DipcError} `invalid_argument` naming the option
 */
export function checkOptions(kind: RouteName, options: ConnectOptions): RouteOptions {
  if (typeof options === "object" && options !== null) rejectDeviceOptions(options);
  checkOptionNames("connect", options, CONNECT_KEYS);
  checkOptionNames("connect", options.flight ?? {}, FLIGHT_KEYS, "flight.");
  const route = oneOf("route", options.route ?? "auto", ["auto", "ucx", "flight"]);
  if (kind === "flight") checkForFlight(route, options);
  else checkForUcx(route, options);
  const timeoutMs = timeoutOption("timeoutMs", options.timeoutMs ?? 30_000);
  const { keepAliveMs, maxIdleConnections, ...others } = options;
  const keep = {
    milliseconds: integerIn("keepAliveMs", keepAliveMs ?? 30_000, 0),
    connections: integerIn("maxIdleConnections", maxIdleConnections ?? 4, 0),
  };
  return { ...others, route, timeoutMs, keep, limits: readerLimits(options.limits) };
}

/**
 * The numbers among the options for a Flight server, or their defaults.
 *
 * @throws {DipcError} `invalid_argument` naming the option
 */
export function flightNumbers(
  flight: ConnectFlightOptions,
): Required<Pick<ConnectFlightOptions, "ucxTimeoutMs" | "locationTimeoutMs" | "parallelEndpoints">> {
  const { ucxTimeoutMs = UCX_TIMEOUT_MS, locationTimeoutMs = LOCATION_TIMEOUT_MS } = flight;
  return {
    ucxTimeoutMs: integerIn("flight.ucxTimeoutMs", ucxTimeoutMs, 1),
    locationTimeoutMs: timeoutOption("flight.locationTimeoutMs", locationTimeoutMs),
    parallelEndpoints: integerIn("flight.parallelEndpoints", flight.parallelEndpoints ?? PARALLEL_ENDPOINTS, 1),
  };
}

/** Options of the call for GPUs, which a program may have given to this one. */
function rejectDeviceOptions(options: object): void {
  const given = Object.entries(options).find(([name, value]) =>
    value !== undefined && (name === "memory" || name === "staging")
  );
  if (given === undefined) return;
  throw new DipcError(
    "invalid_argument",
    `cannot use the option ${given[0]}: connect receives into host memory; leave it out, or use connectCuda of ` +
      "@arrow-ucx/dipc/cuda for a GPU",
  );
}

function checkForFlight(route: RouteOptions["route"], options: ConnectOptions): void {
  const { bodyUri, flight, transport, library, ticket } = options;
  if (bodyUri !== undefined) {
    throw new DipcError(
      "invalid_argument",
      "cannot use bodyUri: it goes with a ucx: URI, and a Flight server names its locations itself",
    );
  }
  const ucxTimeoutMs = flight?.ucxTimeoutMs;
  if (route === "ucx" && ucxTimeoutMs !== undefined) {
    throw new DipcError("invalid_argument", 'cannot use flight.ucxTimeoutMs: it goes with route: "auto", not "ucx"');
  }
  // A ticket names no location, so that its data comes by DoGet.
  if (route !== "flight" && ticket === undefined) return;
  const forUcx = { transport, library, "flight.ucxTimeoutMs": ucxTimeoutMs };
  const unused = Object.entries(forUcx).find(([, value]) => value !== undefined);
  if (unused === undefined) return;
  const why = route === "flight" ? 'route: "flight"' : "a ticket at a Flight server";
  throw new DipcError("invalid_argument", `cannot use ${unused[0]}: it is for UCX, which ${why} does not use`);
}

function checkForUcx(route: RouteOptions["route"], { flight = {} }: ConnectOptions): void {
  if (route === "flight") {
    throw new DipcError(
      "invalid_argument",
      'cannot use route: "flight": it needs the URI of a Flight server, which begins with grpc:',
    );
  }
  const given = Object.entries(flight).find(([, value]) => value !== undefined);
  if (given !== undefined) {
    throw new DipcError(
      "invalid_argument",
      `cannot use flight.${given[0]}: it needs the URI of a Flight server, which begins with grpc:`,
    );
  }
}
