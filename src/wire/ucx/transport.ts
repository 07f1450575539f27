/**
 * The UCX transport.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, LocalError } from "../../errors.ts";
import { findLibucp } from "../../../ffi/find.ts";
import {
  statusError,
  UCS_ERR_CONNECTION_RESET,
  UCS_ERR_ENDPOINT_TIMEOUT,
  UCS_ERR_INVALID_PARAM,
  UCS_ERR_REJECTED,
  UCS_ERR_SHMEM_SEGMENT,
  UCS_ERR_UNREACHABLE,
  UCS_ERR_UNSUPPORTED,
} from "../../../ffi/status.ts";
import { userSetting } from "../../../ffi/ucx_settings.ts";
import type { Ucp } from "../../../ffi/ucp.ts";
import type { SockAddr } from "../../../ffi/ucp_structs.ts";
import { MIB } from "../../bytes.ts";
import type {
  Channel,
  ConnectChannelOptions,
  DeviceAccess,
  Listener,
  ListenOptions,
  PeerAddress,
  SpaceSupport,
  Transport,
} from "../transport.ts";
import { candidateTargets, isIpv6, resolveAddress, resolveAddresses } from "./address.ts";
import { UcxChannel } from "./channel.ts";
import type { ChannelLimits, ConnectionKeeper, OpenConnection } from "./connection.ts";
import { loadUcp } from "./context.ts";
import { cudaSupport } from "./cuda_support.ts";
import { UcxEndpoint } from "./endpoint.ts";
import { explanations } from "./explanations.ts";
import { FRAME_PREFIX_BYTES } from "./frames.ts";
import { IdleConnections } from "./idle_connections.ts";
import { pathOf, pathTo } from "./interfaces.ts";
import { UcxListener } from "./listener.ts";
import { type PlaneKind, Planes } from "./planes.ts";
import type { WorkerPool } from "./worker_pool.ts";
import type { UcxWorker } from "./worker.ts";

/** UCX 1.13 corrupts the heap in IPv6 connections. */
const IPV6_MINOR = 14;
/** Statuses of a first connection between incompatible versions. */
const MISMATCH = [UCS_ERR_INVALID_PARAM, UCS_ERR_UNSUPPORTED];

/**
 * The two sides of a new connection wait for each other several times; a server that is at hand answers within this, in milliseconds.
 * To fall asleep and to be woken up each time would take a fifth longer.
 */
const EAGER_MS = 2;
/** How long it is remembered that a peer shares no memory, in milliseconds. */
const REMEMBERED_MS = 60_000;

/**
 * How a connection fails if memory cannot be shared: UCX chooses shared memory with every process of the machine, and one of the two
 * notices later that it may not open it, or does not find the other process. A server that is slow to answer is neither: were it
 * asked a second time meanwhile, many clients at once would keep it from ever answering.
 */
const SHARED_MEMORY_FAILURES: ReadonlyMap<number, string> = new Map([
  [UCS_ERR_SHMEM_SEGMENT, "this user may not open the server's"],
  [UCS_ERR_CONNECTION_RESET, "the server ended the connection, as one does that may not open this user's"],
  [UCS_ERR_ENDPOINT_TIMEOUT, "the server was not found by its process number, as in another container"],
]);

/** Why memory cannot be shared, if a connection has failed because of that; otherwise `null`. */
function sharedMemoryReason(error: unknown): string | null {
  if (!(error instanceof DipcError) || error.foreign?.system !== "ucx") return null;
  const why = SHARED_MEMORY_FAILURES.get(error.foreign.status);
  return why === undefined ? null : `shared memory cannot be used: ${why}`;
}

/** Failures that another address of the same host may not have. */
const TRY_NEXT: DipcErrorCode[] = ["unreachable", "unsupported"];

/** Options of {@linkcode ucxTransport}. */
export interface UcxTransportOptions {
  /** Path of libucp; found by the usual rules by default. */
  library?: string;
  /**
   * Most bytes of one metadata message.
   *
   * @default {16777216}
   */
  maxMetadataBytes?: number;
  /**
   * Most bytes of metadata that a peer may have sent ahead of the reader. At least one message always fits.
   *
   * @default {67108864}
   */
  maxQueuedFrameBytes?: number;
  /** The GPU whose memory its channels send from and receive into, if UCX can. Default: host memory only. */
  device?: DeviceAccess;
}

/** Limits on the wire count metadata and its prefix; the queue must hold the longest message. */
function channelLimits(
  { maxMetadataBytes, maxQueuedFrameBytes }: { maxMetadataBytes?: number; maxQueuedFrameBytes?: number },
  defaults: ChannelLimits,
): ChannelLimits {
  const maxFrameBytes = maxMetadataBytes === undefined ? defaults.maxFrameBytes : maxMetadataBytes + FRAME_PREFIX_BYTES;
  return {
    maxFrameBytes,
    maxQueuedFrameBytes: Math.max(maxQueuedFrameBytes ?? defaults.maxQueuedFrameBytes, maxFrameBytes),
  };
}

function peerName(peer: PeerAddress): string {
  return peer.host.includes(":") ? `[${peer.host}]:${peer.port}` : `${peer.host}:${peer.port}`;
}

/** An attempt to connect. */
interface Attempt {
  /** Why it goes without shared memory, if it does though the peer may be on this machine. */
  readonly obstacle: string;
  /** Until when it may take, in milliseconds of `performance.now()`. */
  readonly end: number;
  readonly options: ConnectChannelOptions;
}

/** What became of shared memory with a peer. */
interface SharedMemoryFailure {
  /** Until when it is not tried again, in milliseconds of `performance.now()`. */
  readonly until: number;
  readonly reason: string;
}

class UcxTransport implements Transport {
  readonly #ucp: Ucp;
  readonly #limits: ChannelLimits;
  readonly #planes: Planes;
  readonly #device: DeviceAccess | undefined;
  readonly #idle = new IdleConnections((connection) => void this.#reopen(connection, null).close({ flush: true }));
  readonly #withoutSharedMemory = new Map<string, SharedMemoryFailure>();

  constructor(ucp: Ucp, limits: ChannelLimits, device: DeviceAccess | undefined) {
    this.#ucp = ucp;
    this.#limits = limits;
    this.#device = device;
    this.#planes = new Planes(ucp, device);
  }

  async connect(
    metadata: PeerAddress,
    body: PeerAddress | null,
    options: ConnectChannelOptions,
  ): Promise<Channel> {
    const end = performance.now() + options.timeoutMs;
    const peers = body === null ? [metadata] : [metadata, body];
    const kept = options.mayReuse ? this.#takeKept(peers, options) : null;
    if (kept !== null) return kept;
    let last: unknown;
    for (const targets of this.#candidates(await resolveAddresses(peers, options))) {
      try {
        return await this.#connectToEither(targets, peers, end, options);
      } catch (error) {
        last = error;
        if (!(error instanceof DipcError) || !TRY_NEXT.includes(error.code)) throw error;
      }
    }
    throw last;
  }

  hasKept(peer: PeerAddress, options: ConnectChannelOptions): boolean {
    return this.#idle.has(keyOf([peerName(peer)], channelLimits(options, this.#limits)));
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const [[address]] = this.#candidates([await resolveAddress(options)]);
    const { device } = pathOf(address);
    const plane = this.#planes.of({
      devices: device === null ? null : [device],
      ipv6: isIpv6(address),
      sharedMemory: true,
      remoteMemory: options.remoteMemory === true ? "lent" : undefined,
    });
    return new UcxListener(plane.pool, address, options, this.#limits);
  }

  supports(space: string): SpaceSupport {
    if (this.#device?.space !== space) {
      return { supported: false, reason: `this transport was made for ${this.#device?.space ?? "host memory only"}` };
    }
    const { context } = this.#planes.of({ devices: ["lo"], ipv6: false, sharedMemory: true });
    const { supported, reason } = cudaSupport(context, this.#device);
    return { supported, reason };
  }

  close(): Promise<void> {
    this.#idle.close();
    this.#planes.close();
    return Promise.resolve();
  }

  /** A connection that an earlier stream has left; `null` if there is none. */
  #takeKept(peers: readonly PeerAddress[], options: ConnectChannelOptions): UcxChannel | null {
    if (options.signal?.aborted) return null;
    const limits = channelLimits(options, this.#limits);
    const key = keyOf(peers.map(peerName), limits);
    const kept = this.#idle.take(key);
    if (kept === null) return null;
    return this.#reopen(kept, (it, keep) => this.#idle.put(key, it, keep), limits);
  }

  /** A channel on a connection that has waited. */
  #reopen(kept: OpenConnection, keeper: ConnectionKeeper | null, limits = this.#limits): UcxChannel {
    const { worker, endpoints, peers, returnWorker } = kept;
    const channel = new UcxChannel(worker, limits, returnWorker, keeper, kept);
    endpoints.forEach((endpoint, i) => channel.attach(endpoint, peers[i]));
    return channel;
  }

  /** @throws {DipcError} `unsupported` if there are none */
  #candidates(resolved: SockAddr[][]): SockAddr[][] {
    const withIpv6 = Number(this.#ucp.version.split(".")[1]) >= IPV6_MINOR;
    const candidates = candidateTargets(resolved, withIpv6);
    if (candidates.length > 0) return candidates;
    if (!withIpv6 && resolved.some((addresses) => addresses.every(isIpv6))) {
      throw new LocalError(
        "unsupported",
        `cannot connect over IPv6: it needs UCX 1.${IPV6_MINOR} or newer, ${this.#ucp.path} is ${this.#ucp.version}; use ` +
          "an IPv4 address, or run `dipc setup`",
      );
    }
    throw new LocalError(
      "unsupported",
      "cannot connect to the metadata and the body server: one has only IPv4 addresses, the other only IPv6 addresses",
    );
  }

  /** Connects with shared memory if the peer may be on this machine, and without it if that fails. */
  async #connectToEither(
    targets: SockAddr[],
    peers: PeerAddress[],
    end: number,
    options: ConnectChannelOptions,
  ): Promise<Channel> {
    const paths = targets.map(pathTo);
    const devices = paths.map(({ device }) => device);
    const kind = {
      devices: devices.includes(null) ? null : [...new Set(devices as string[])],
      ipv6: targets.some(isIpv6),
      remoteMemory: options.remoteMemory === true ? "read" as const : undefined,
    };
    const names = peers.map(peerName);
    const attempt = (sharedMemory: boolean, obstacle: string): Promise<Channel> =>
      this.#connectTo(targets, names, { ...kind, sharedMemory }, { obstacle, end, options });
    if (!paths.every(({ isLocal }) => isLocal)) return await attempt(false, "");
    const peer = names.join(" and ");
    const known = this.#withoutSharedMemory.get(peer);
    if (known !== undefined && performance.now() < known.until) return await attempt(false, known.reason);
    try {
      return await attempt(true, "");
    } catch (error) {
      const reason = sharedMemoryReason(error);
      if (reason === null || userSetting("UCX_TLS") !== null) throw error;
      const channel = await attempt(false, reason);
      this.#withoutSharedMemory.set(peer, { until: performance.now() + REMEMBERED_MS, reason });
      return channel;
    }
  }

  /** A worker; connections that wait for a stream are closed if there are too few descriptors for another one. */
  #takeWorker(pool: WorkerPool): UcxWorker {
    try {
      return pool.take();
    } catch (error) {
      if (this.#idle.count === 0) throw error;
      this.#idle.drop();
      return pool.take();
    }
  }

  async #connectTo(targets: SockAddr[], names: string[], kind: PlaneKind, attempt: Attempt): Promise<Channel> {
    const { options, end } = attempt;
    const { pool, obstacle } = this.#planes.of(kind);
    const worker = this.#takeWorker(pool);
    const limits = channelLimits(options, this.#limits);
    const key = keyOf(names, limits);
    const channel = new UcxChannel(worker, limits, pool.giveBack, (it, keep) => this.#idle.put(key, it, keep));
    channel.transportsReason = attempt.obstacle || obstacle;
    try {
      const endpoints = targets.map((target, i) => {
        const endpoint = new UcxEndpoint(worker, target);
        channel.attach(endpoint, names[i]);
        return endpoint;
      });
      const requests = endpoints.map((endpoint) => endpoint.flush());
      const connected = await channel.until(() => requests.every((request) => request.done()), {
        signal: options.signal,
        timeoutMs: Math.max(0, end - performance.now()),
        eagerMs: EAGER_MS,
      });
      if (!connected) {
        throw new LocalError(
          "timeout",
          `cannot connect to ${names.join(" and ")}: no answer within ${options.timeoutMs} ms`,
        );
      }
      if (channel.failure !== null) throw channel.failure;
      const failed = requests.find((request) => request.status !== 0);
      if (failed !== undefined) throw connectError(failed.status, names, this.#ucp.version, undefined);
      return channel;
    } catch (error) {
      await channel.close();
      if (error instanceof DipcError && error.foreign?.system === "ucx") {
        throw connectError(error.foreign.status, names, this.#ucp.version, error);
      }
      throw error;
    }
  }
}

/** What a stream looks for among the connections that were kept. */
function keyOf(names: readonly string[], { maxFrameBytes, maxQueuedFrameBytes }: ChannelLimits): string {
  return `${names.join(" ")} ${maxFrameBytes} ${maxQueuedFrameBytes}`;
}

/** Why a connection failed, in the words that fit the status. */
function adviceFor(status: number, version: string): string {
  const versions =
    `the two sides run versions of UCX that cannot talk to each other: here it is ${version}, compare it ` +
    "with the server's (`dipc doctor`)";
  if (status === UCS_ERR_REJECTED) {
    return `the server is full, its settings of UCX rule out this connection (its own log says so), or ${versions}`;
  }
  if (status === UCS_ERR_UNREACHABLE) return "the two sides have no transport in common: compare `dipc doctor` on both";
  if (MISMATCH.includes(status)) return versions;
  return "is the server running there, is the port right, and does a firewall let it through?";
}

function connectError(status: number, names: string[], version: string, cause: unknown): DipcError {
  const advice = [adviceFor(status, version), ...explanations()].join("; ");
  return statusError(status, `connect to ${names.join(" and ")}`, advice, "unreachable", cause);
}

/**
 * Opens libucp and makes a transport of it. UCX itself is initialised when first needed.
 *
 * @param options Library and limits
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function ucxTransport(options: UcxTransportOptions = {}): Promise<Transport> {
  const limits = channelLimits(options, {
    maxFrameBytes: 16 * MIB + FRAME_PREFIX_BYTES,
    maxQueuedFrameBytes: 64 * MIB,
  });
  return Promise.resolve().then(() =>
    new UcxTransport(loadUcp(findLibucp(options.library).path), limits, options.device)
  );
}
