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
      onRequest: (detail) => host.emit("request", detail),
      onOutcome: (detail) => this.#conclude(detail),
    };
  }

  async listen(): Promise<void> {
    const { port, metadataPort } = this.#host.settings;
    this.#shared = this.#host.openShared?.() ?? null;
    this.port = await this.#bind(port);
    if (metadataPort !== undefined) this.metadataPort = await this.#bind(metadataPort);
  }

  urisOf(name: string, approach?: Approach): string[] {
    const share = this.#shared?.shares(name) ? this.#shared.name : undefined;
    return urisAt(name, this, { settings: this.#host.settings, wantData: this.#wantData, approach, share });
  }

  async stopAccepting(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
  }

  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  async close(): Promise<void> {
    await this.#shared?.close();
  }

  get sharing(): StreamPlane["sharing"] {
    return this.#shared?.stats;
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  async #bind(port: number): Promise<number> {
    const { settings, emit } = this.#host;
    const listener = await this.#transport.listen({
      host: settings.address,
      port,
      mayAccept: () => this.#mayAccept(),
      onChannel: (channel) => this.#accept(channel),
      onError: (error: DipcError) => emit("error", { connection: 0, error }),
    });
    this.#listeners.push(listener);
    return listener.address.port;
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
    const run = new UcxConnection(channel, connection, this.#connectionHost, isFull).run()
      .finally(() => {
        counter.end();
        this.#running.delete(run);
      });
    this.#running.add(run);
  }

  #conclude(detail: ServerEventDetail): void {
    this.#host.emit(detail.error === undefined ? "end" : "error", detail);
  }
}
