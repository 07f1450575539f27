/**
 * Connects to a server and starts a stream.
 *
 * @module
 */
import type { DeviceStreamReader } from "./device/reader.ts";
import type { FlightTlsOptions } from "./grpc/tls.ts";
import { isFlightUri } from "./flight/location.ts";
import { type ReaderLimits, readerLimits, timeoutOption } from "./limits.ts";
import type { Pool } from "./memory/block.ts";
import { hostPool } from "./memory/host_pool.ts";
import { DissociatedStreamReader } from "./reader.ts";
import { ucxRoad, type Via } from "./routes/route.ts";
import { openUcxStream } from "./routes/ucx.ts";
import type { Transport } from "./wire/transport.ts";

/** Options of {@linkcode connect} that only count with the URI of a Flight server. */
export interface FlightRoadOptions {
  /** Which flight: the steps of its path. Default: the path of the URI. */
  path?: string | readonly string[];
  /** Which flight: a command of the server's own form, instead of a path. */
  command?: string | Uint8Array;
  /**
   * `"auto"` takes a `ucx:` location of the flight where this process can reach one, DoGet otherwise; `"ucx"` and `"flight"` take
   * nothing else. Default `"auto"`.
   */
  via?: "auto" | Via;
  /** Longest time for a `ucx:` location to answer before DoGet is taken, in milliseconds; with `via: "auto"`. Default 1,500. */
  ucxTimeoutMs?: number;
  /** Endpoints read at a time. Default 4. */
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
  /**
   * Sends headers, token, user and password also to other hosts that the server names as locations, and without TLS where the
   * server names such. Default false.
   */
  trustLocations?: boolean;
}

/** Options of {@linkcode connect}. */
export interface ConnectOptions extends FlightRoadOptions {
  /** Which stream: an opaque identifier. Default: the URI's path. At a Flight server: asks for DoGet at once. */
  ticket?: string | Uint8Array;
  /** Where the bodies come from, where that is another server or port than the metadata's. */
  bodyUri?: string | URL;
  /** Gives up connecting, and later the stream. */
  signal?: AbortSignal;
  /** Longest wait for the peer, in milliseconds: to connect, and between two messages. Default 30,000. */
  timeoutMs?: number;
  /** What the peer may make this reader do. */
  limits?: Partial<ReaderLimits>;
  /** Path of libucp. Default: see {@linkcode findLibucp}. */
  library?: string;
  /** Where bodies are received. Default: the pool that all streams of the isolate share. */
  pool?: Pool;
  /** What carries the protocol. Default: UCX. */
  transport?: Transport;
  /** Memory space that bodies are received into. For that of a GPU see {@linkcode DeviceConnectOptions}. */
  memory?: "host";
}

/** Options of {@linkcode connect} for a stream into the memory of a GPU. */
export interface DeviceConnectOptions extends Omit<ConnectOptions, "memory" | "pool"> {
  /** The GPU that bodies are received into, such as `"cuda:0"`. */
  memory: `cuda:${number}`;
  /**
   * How bodies get there: straight from the wire (`"direct"`), through pinned host memory (`"staged"`), or straight where UCX
   * has CUDA and it works (`"auto"`). Default `"auto"`.
   */
  road?: "auto" | "direct" | "staged";
}

/**
 * Asks a server for a stream into the memory of a GPU.
 *
 * @param uri As for a stream into host memory
 * @param options Memory space, ticket, limits, timeouts
 * @returns The reader of device batches, once the schema has arrived; its `stats` say which road was taken, and why
 * @throws {DipcError} as for a stream into host memory; `library_not_found` without libcuda, naming what was tried;
 * `not_found` without this GPU; `unsupported` where the direct road is wanted and shut
 */
export function connect(
  uri: string | URL | readonly (string | URL)[],
  options: DeviceConnectOptions,
): Promise<DeviceStreamReader>;
/**
 * Asks a server for a stream.
 *
 * @example Usage
 * ```ts ignore
 * import { connect } from "@arrow-ucx/dipc";
 *
 * await using reader = await connect("ucx://127.0.0.1:13337/flights?want_data=1&dipc=1");
 * for await (using batch of reader) console.log(batch.numRows);
 * ```
 *
 * @example A flight, by UCX where that can be, otherwise by gRPC
 * ```ts ignore
 * import { connect } from "@arrow-ucx/dipc";
 *
 * await using reader = await connect("grpc://127.0.0.1:8815", { path: "flights" });
 * console.log(reader.stats.via, reader.stats.viaReason);
 * for await (using batch of reader) console.log(batch.numRows);
 * ```
 *
 * @param uri The URI of a Flight server (`grpc:`, `grpc+tcp:`, `grpc+tls:`, `grpc+unix:`), a `ucx:` URI, or the URIs of metadata and bodies, or a list of alternatives with `role`s as a server gives it
 * @param options Ticket, limits, timeouts
 * @returns The reader, once the schema has arrived
 * @throws {DipcError} `invalid_uri`, `invalid_argument`, `library_not_found`, `unreachable`, `timeout`, `cancelled`, `connection_lost`,
 * and what the server answers, such as `not_found`, or `flight` where no other code fits
 */
export function connect(
  uri: string | URL | readonly (string | URL)[],
  options?: ConnectOptions,
): Promise<DissociatedStreamReader>;
export async function connect(
  uri: string | URL | readonly (string | URL)[],
  options: ConnectOptions | DeviceConnectOptions = {},
): Promise<DissociatedStreamReader | DeviceStreamReader> {
  const startedMs = performance.now();
  const timeoutMs = timeoutOption("timeoutMs", options.timeoutMs ?? 30_000);
  const limits = readerLimits(options.limits);
  if (options.memory !== undefined && options.memory !== "host") {
    const { connectDevice } = await import("./routes/device.ts");
    const { memory } = options;
    return await connectDevice(uri, { ...options, memory, timeoutMs, limits, startedMs });
  }
  if ((typeof uri === "string" || uri instanceof URL) && isFlightUri(uri)) {
    // Neither gRPC nor protobuf is loaded before it is needed.
    const { openFlight } = await import("./routes/flight.ts");
    const stream = await openFlight(uri, { ...options, timeoutMs, limits });
    return new DissociatedStreamReader({ ...stream, limits, signal: options.signal, startedMs });
  }
  const { input, schema, transports, location } = await openUcxStream(uri, {
    ...options,
    pool: options.pool ?? hostPool(),
    timeoutMs,
    limits,
  });
  const roads = ucxRoad(location, transports);
  return new DissociatedStreamReader({ input, schema, roads, limits, signal: options.signal, startedMs });
}
