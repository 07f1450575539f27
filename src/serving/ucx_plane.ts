/**
 * The UCX side of a server in one isolate: one listener (or two, if metadata and bodies are separate), and the connections
 * that they accept.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Channel, Listener, Transport } from "../wire/transport.ts";
import type { Approach } from "../reachable_host.ts";
import type { ServerEventDetail } from "./options.ts";
import {
  type MemorySharing,
  randomWantData,
  type RemoteLender,
  type StreamPlane,
  type StreamPlaneHost,
  urisAt,
  type WantData,
} from "./stream_plane.ts";
import { type ConnectionHost, UcxConnection } from "./ucx_connection.ts";

/** Connections beyond `maxConnections` that still learn that the server is full; UCX rejects further ones without a reason. */
const MAX_REFUSED = 64;

/** The UCX side of a server in one isolate. */
export class UcxPlane implements StreamPlane {
  readonly #host: StreamPlaneHost;
  readonly #transport: Transport;
  readonly #connectionHost: ConnectionHost;
  readonly #wantData: WantData;
  readonly #listeners: Listener[] = [];
  readonly #running = new Set<Promise<void>>();
  #shared: MemorySharing | null = null;
  #remote: RemoteLender | null = null;
  /** Connections that wait for another request, the longest first. */
  readonly #idle = new Set<UcxConnection>();
  #hasStopped = false;
  port = 0;
  metadataPort?: number;

  /**
   * @param transport What carries the connections; stays the caller's
   * @param host The server
   * @param wantData The tags of requests; random ones by default
   */
  constructor(transport: Transport, host: StreamPlaneHost, wantData: WantData = randomWantData()) {
    this.#host = host;
    this.#transport = transport;
    this.#wantData = wantData;
    const { settings, admission, stop } = host;
    this.#connectionHost = {
      settings,
      admission,
      stop,
      wantData,
      claim: (nonce, dataset) => this.#shared?.claim(nonce, dataset),
      openRemote: (dataset, channel) => this.#remote?.open(dataset, channel),
      onRequest: (detail) => host.emit("request", detail),
      onOutcome: (detail) => this.#conclude(detail),
      onRest: (connection) => this.#rest(connection),
      onWake: (connection) => this.#wake(connection),
    };
  }

  async listen(): Promise<void> {
    const { port, metadataPort } = this.#host.settings;
    this.#shared = this.#host.openShared?.() ?? null;
    const listener = await this.#bind(port);
    this.port = listener.address.port;
    this.#remote = this.#host.openRemote?.(listener) ?? null;
    if (metadataPort !== undefined) this.metadataPort = (await this.#bind(metadataPort)).address.port;
  }

  urisOf(name: string, approach?: Approach): string[] {
    const share = this.#shared?.shares(name) ? this.#shared.name : undefined;
    const remote = this.#remote?.offerOf(name);
    return urisAt(name, this, { settings: this.#host.settings, wantData: this.#wantData, approach, share, remote });
  }

  async stopAccepting(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    this.#hasStopped = true;
    while (this.#giveUpOldest());
  }

  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  async close(): Promise<void> {
    await this.#shared?.close();
    this.#remote?.close();
  }

  get sharing(): StreamPlane["sharing"] {
    const lenders = [this.#shared, this.#remote].filter((lender) => lender !== null);
    if (lenders.length === 0) return undefined;
    const sum = { clients: 0, leasedBytes: 0, arenaBytes: 0 };
    for (const { stats: { clients, leasedBytes, arenaBytes = 0 } } of lenders) {
      sum.clients += clients;
      sum.leasedBytes += leasedBytes;
      sum.arenaBytes += arenaBytes;
    }
    return sum;
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  async #bind(port: number): Promise<Listener> {
    const { settings, emit } = this.#host;
    const listener = await this.#transport.listen({
      host: settings.address,
      port,
      remoteMemory: this.#host.openRemote !== undefined,
      mayAccept: () => this.#mayAccept(),
      onChannel: (channel) => this.#accept(channel),
      onError: (error: DipcError) => emit("error", { connection: 0, error }),
      onShortage: () => this.#giveUpOldest(),
    });
    this.#listeners.push(listener);
    return listener;
  }

  #mayAccept(): boolean {
    const { settings, stop, counter, emit } = this.#host;
    if (stop.aborted) return false;
    if (counter.active < settings.maxConnections + MAX_REFUSED) return true;
    // Such a client learns from UCX alone that it was rejected.
    const message =
      `cannot accept a connection: all ${settings.maxConnections} are in use, and as many as can be are ` +
      "being refused; raise maxConnections, or connect less often";
    emit("error", { connection: 0, error: new DipcError("busy", message) });
    return false;
  }

  #accept(channel: Channel): void {
    const { counter, emit, settings } = this.#host;
    const { connection, active } = counter.begin();
    emit("connection", { connection });
    const isFull = active > settings.maxConnections;
    if (active + counter.idle > settings.maxConnections) this.#giveUpOldest();
    const accepted = new UcxConnection(channel, connection, this.#connectionHost, isFull);
    const run = accepted.run().finally(() => {
      if (accepted.isResting) counter.endIdle();
      else counter.end();
      this.#idle.delete(accepted);
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  /** Whether a connection may wait for another request. */
  #rest(connection: UcxConnection): boolean {
    const { counter, settings: { maxConnections, maxIdleConnections } } = this.#host;
    counter.rest();
    this.#idle.add(connection);
    const isFull = this.#idle.size > maxIdleConnections || counter.active + counter.idle > maxConnections;
    if (this.#hasStopped || isFull) this.#giveUpOldest();
    return true;
  }

  #wake(connection: UcxConnection): boolean {
    const { counter, settings } = this.#host;
    this.#idle.delete(connection);
    return counter.wake() <= settings.maxConnections;
  }

  /** Closes the connection that has waited the longest. @returns whether there was one */
  #giveUpOldest(): boolean {
    const [oldest] = this.#idle;
    if (oldest === undefined) return false;
    this.#idle.delete(oldest);
    oldest.giveUp();
    return true;
  }

  #conclude(detail: ServerEventDetail): void {
    this.#host.emit(detail.error === undefined ? "end" : "error", detail);
  }
}
