/**
 * Connects to a server and starts a stream.
 *
 * @module
 */
import type { DeviceStreamReader } from "./device/reader.ts";
import { positiveInteger, type ReaderLimits, readerLimits } from "./limits.ts";
import type { Pool } from "./memory/block.ts";
import { hostPool } from "./memory/host_pool.ts";
import { DissociatedStreamReader } from "./reader.ts";
import { openUcxStream } from "./ucx_stream.ts";
import type { Transport } from "./wire/transport.ts";

/** Options of {@linkcode connect}. */
export interface ConnectOptions {
  /** Which stream: an opaque identifier. Default: the URI's path. */
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
 * @param uri A `ucx:` URI, or the URIs of metadata and bodies, or a list of alternatives with `role`s as a server gives it
 * @param options Ticket, limits, timeouts
 * @returns The reader, once the schema has arrived
 * @throws {DipcError} `invalid_uri`, `invalid_argument`, `library_not_found`, `unreachable`, `timeout`, `cancelled`, `connection_lost`,
 * and what the server answers, such as `not_found`
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
  const timeoutMs = positiveInteger("timeoutMs", options.timeoutMs ?? 30_000);
  const limits = readerLimits(options.limits);
  if (options.memory !== undefined && options.memory !== "host") {
    const { connectDevice } = await import("./device/connect.ts");
    const { memory } = options;
    return await connectDevice(uri, { ...options, memory, timeoutMs, limits, startedMs });
  }
  const stream = await openUcxStream(uri, { ...options, pool: options.pool ?? hostPool(), timeoutMs, limits });
  return new DissociatedStreamReader({ ...stream, limits, signal: options.signal, startedMs });
}
