/**
 * A transport inside one process, for tests: seeded, deterministic, in virtual time, and able to do everything to a
 * message that a network or a broken peer can do.
 *
 * It keeps UCX's rules: small sends complete at once unless they are synchronous, larger ones when they are matched; a
 * synchronous send completes when it is matched; messages arrive only while the receiver progresses; a receive on a dead
 * connection may never settle before `close()`. Bytes of a large body are read when it is matched, so that a body
 * released too early shows.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import { Link, LoopbackChannel, type LoopbackNetwork } from "./loopback_channel.ts";
import { type FaultCounts, FaultInjector, type FaultRates } from "./loopback_faults.ts";
import { LoopbackScheduler } from "./loopback_scheduler.ts";
import { Random } from "./random.ts";
import type {
  Channel,
  ConnectChannelOptions,
  Listener,
  ListenOptions,
  PeerAddress,
  Transport,
} from "../../src/wire/transport.ts";

export { FAULT_KINDS, type FaultCounts, type FaultKind, type FaultRates, noFaults } from "./loopback_faults.ts";

/** Options of a {@linkcode LoopbackTransport}. */
export interface LoopbackOptions {
  /** Decides everything that is left to chance. */
  seed: number;
  /**
   * Faults on messages from a server to a client.
   *
   * @default none
   */
  faults?: FaultRates;
  /**
   * Faults on messages from a client to a server.
   *
   * @default none
   */
  requestFaults?: FaultRates;
  /** Breaks a connection when the server sends its message of this number (from 0, both kinds counted together). */
  dropAtMessage?: number;
  /**
   * Largest tagged message that is sent eagerly, in bytes.
   *
   * @default 8192
   */
  eagerBytes?: number;
  /**
   * Longest delay of a fault, in virtual milliseconds.
   *
   * @default 50
   */
  maxDelayMs?: number;
  /**
   * Fails waits if nothing can happen any more, instead of leaving them pending: a simulation never hangs.
   *
   * @default false
   */
  strict?: boolean;
}

/** A network with its servers and clients in this process. */
export class LoopbackTransport implements Transport, LoopbackNetwork {
  /** Faults on messages to clients that have happened. */
  readonly faults: FaultCounts;
  /** Faults on messages to servers that have happened. */
  readonly requestFaults: FaultCounts;
  /** Where chance comes from. */
  readonly random: Random;
  /** Most messages that were sent to one side and not taken by it, at a time. */
  peakWaiting = 0;
  /** @internal */
  readonly scheduler: LoopbackScheduler;
  /** @internal */
  readonly eagerBytes: number;
  /** @internal */
  readonly maxDelayMs: number;
  /** @internal */
  readonly dropAtMessage: number;

  readonly #toClient: FaultInjector;
  readonly #toServer: FaultInjector;
  readonly #channels = new Set<LoopbackChannel>();
  readonly #listeners = new Map<number, ListenOptions>();
  #nextPort = 40_000;
  #closed = false;

  /** A network without servers. */
  constructor(options: LoopbackOptions) {
    this.eagerBytes = options.eagerBytes ?? 8192;
    this.maxDelayMs = options.maxDelayMs ?? 50;
    this.dropAtMessage = options.dropAtMessage ?? -1;
    this.random = new Random(options.seed);
    this.#toClient = new FaultInjector(this.random, options.faults ?? {});
    this.#toServer = new FaultInjector(this.random, options.requestFaults ?? {});
    this.faults = this.#toClient.counts;
    this.requestFaults = this.#toServer.counts;
    this.scheduler = new LoopbackScheduler(this.random, options.strict ?? false);
  }

  /** Channels that are not closed. */
  get openChannels(): number {
    return this.#channels.size;
  }

  /** Virtual time in milliseconds. */
  get nowMs(): number {
    return this.scheduler.now;
  }

  /** Connects to one server of this network, or to two. See {@linkcode Transport.connect}. */
  async connect(
    metadata: PeerAddress,
    body: PeerAddress | null,
    options: ConnectChannelOptions,
  ): Promise<Channel> {
    if (this.#closed) throw new DipcError("closed", "connecting: the transport is closed");
    await null;
    if (options.signal?.aborted) {
      throw new DipcError("cancelled", "connecting was cancelled", { cause: options.signal.reason });
    }
    const client = new LoopbackChannel(this);
    const accepted: (() => void)[] = [];
    for (const address of body === null ? [metadata] : [metadata, body]) {
      const listener = this.#listeners.get(address.port);
      if (listener === undefined || listener.mayAccept?.() === false) {
        throw new DipcError(
          "unreachable",
          `connecting to ${address.host}:${address.port}: ${
            listener === undefined ? "nobody listens there" : "refused"
          }`,
        );
      }
      const server = new LoopbackChannel(this);
      const toClient = new Link(server, client, this.#toClient, true);
      const toServer = new Link(client, server, this.#toServer, false);
      toClient.back = toServer;
      toServer.back = toClient;
      server.links.push(toClient);
      client.links.push(toServer);
      accepted.push(() => {
        this.#channels.add(server);
        listener.onChannel(server);
      });
    }
    this.#channels.add(client);
    for (const accept of this.random.shuffle(accepted)) accept();
    return client;
  }

  /** Adds a server to this network. See {@linkcode Transport.listen}. */
  listen(options: ListenOptions): Promise<Listener> {
    if (this.#closed) return Promise.reject(new DipcError("closed", "listening: the transport is closed"));
    const port = options.port === 0 ? this.#nextPort++ : options.port;
    if (this.#listeners.has(port)) {
      return Promise.reject(
        new DipcError("unreachable", `listening on ${options.host}:${port}: the address is in use`),
      );
    }
    this.#listeners.set(port, options);
    return Promise.resolve({
      address: { host: options.host, port },
      close: () => {
        if (this.#listeners.get(port) === options) this.#listeners.delete(port);
        return Promise.resolve();
      },
    });
  }

  /** Resolves after some virtual time; what is on its way arrives meanwhile only if something waits for it. */
  async pause(milliseconds: number): Promise<void> {
    const idle = { failure: null, progress: () => false, nextEventAt: () => Infinity };
    await this.scheduler.wait(idle, () => false, { timeoutMs: milliseconds });
  }

  /** Closes every channel and forgets every server. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const channel of [...this.#channels]) await channel.close();
  }

  /** @internal */
  forget(channel: LoopbackChannel): void {
    this.#channels.delete(channel);
  }
}
