/**
 * The UCX transport.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, LocalError } from "../../errors.ts";
import { findLibucp } from "../../../ffi/find.ts";
import { statusError } from "../../../ffi/status.ts";
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
import { candidateTargets, isIpv6, isLoopback, resolveAddress, resolveAddresses } from "./address.ts";
import { type ChannelLimits, UcxChannel } from "./channel.ts";
import { loadUcp, UcxContext } from "./context.ts";
import { cudaSupport } from "./cuda_support.ts";
import { type EndpointRequest, UcxEndpoint } from "./endpoint.ts";
import { FRAME_PREFIX_BYTES } from "./frames.ts";
import { UcxListener } from "./listener.ts";
import { WorkerPool } from "./worker_pool.ts";

const WARM_WORKERS = 3;
/** UCX 1.13 corrupts the heap in IPv6 connections. */
const IPV6_MINOR = 14;
/** Statuses of a first connection between incompatible versions or settings. */
const MISMATCH = [-5, -6, -22, -23];

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

/** A context and its idle workers. */
interface Plane {
  readonly context: UcxContext;
  readonly pool: WorkerPool;
}

function peerName(peer: PeerAddress): string {
  return peer.host.includes(":") ? `[${peer.host}]:${peer.port}` : `${peer.host}:${peer.port}`;
}

class UcxTransport implements Transport {
  readonly #ucp: Ucp;
  readonly #limits: ChannelLimits;
  readonly #planes = new Map<string, Plane>();
  readonly #device: DeviceAccess | undefined;
  #isClosed = false;

  constructor(ucp: Ucp, limits: ChannelLimits, device: DeviceAccess | undefined) {
    this.#ucp = ucp;
    this.#limits = limits;
    this.#device = device;
  }

  async connect(
    metadata: PeerAddress,
    body: PeerAddress | null,
    options: ConnectChannelOptions,
  ): Promise<Channel> {
    const end = performance.now() + options.timeoutMs;
    const peers = body === null ? [metadata] : [metadata, body];
    let last: unknown;
    for (const targets of this.#candidates(await resolveAddresses(peers, options))) {
      try {
        return await this.#connectTo(targets, peers, Math.max(0, end - performance.now()), options);
      } catch (error) {
        last = error;
        if (!(error instanceof DipcError) || !TRY_NEXT.includes(error.code)) throw error;
      }
    }
    throw last;
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const [[address]] = this.#candidates([await resolveAddress(options)]);
    return new UcxListener(this.#plane([address]).pool, address, options, this.#limits);
  }

  supports(space: string): SpaceSupport {
    if (this.#device?.space !== space) {
      return { supported: false, reason: `this transport was made for ${this.#device?.space ?? "host memory only"}` };
    }
    const { context } = this.#planeOf({ loopback: true, ipv6: false });
    const { supported, reason } = cudaSupport(context, this.#device);
    return { supported, reason };
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const plane of this.#planes.values()) {
      plane.pool.close();
      plane.context.close();
    }
    this.#planes.clear();
    return Promise.resolve();
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

  #plane(targets: SockAddr[]): Plane {
    return this.#planeOf({ loopback: targets.every(isLoopback), ipv6: targets.some(isIpv6) });
  }

  #planeOf(options: { loopback: boolean; ipv6: boolean }): Plane {
    if (this.#isClosed) throw new LocalError("closed", "cannot use the UCX transport: it was closed");
    const key = `${options.loopback} ${options.ipv6}`;
    let plane = this.#planes.get(key);
    if (plane === undefined) {
      const context = new UcxContext(this.#ucp, { ...options, device: this.#device });
      this.#planes.set(key, plane = { context, pool: new WorkerPool(context, WARM_WORKERS) });
    }
    return plane;
  }

  async #connectTo(
    targets: SockAddr[],
    peers: PeerAddress[],
    timeoutMs: number,
    options: ConnectChannelOptions,
  ): Promise<Channel> {
    const plane = this.#plane(targets);
    const worker = plane.pool.take();
    const channel = new UcxChannel(worker, channelLimits(options, this.#limits), plane.pool.giveBack);
    const names = peers.map(peerName);
    try {
      const requests: EndpointRequest[] = [];
      const endpoints = targets.map((target, i) => {
        const endpoint = new UcxEndpoint(worker, target);
        channel.attach(endpoint, names[i]);
        return endpoint;
      });
      for (const endpoint of endpoints) requests.push(endpoint.flush());
      const connected = await channel.until(() => requests.every((request) => request.done()), {
        signal: options.signal,
        timeoutMs,
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

function connectError(status: number, names: string[], version: string, cause: unknown): DipcError {
  const where = names.join(" and ");
  const advice = MISMATCH.includes(status)
    ? `the server is full, or the two sides run versions of UCX that cannot talk to each other: here it is ${version}, ` +
      "compare it with the server's (`dipc doctor`)"
    : "is the server running there, is the port right, and does a firewall let it through?";
  return statusError(status, `connect to ${where}`, advice, "unreachable", cause);
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
