/**
 * The UCX side of a server of datasets: one listener (or two, if metadata and bodies are separate), and the connections that they
 * accept.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { StreamRole } from "../protocol/role.ts";
import { formatUri } from "../protocol/uri.ts";
import type { Channel, Listener, Transport } from "../wire/transport.ts";
import { type Approach, reachableHost } from "../reachable_host.ts";
import type { Admission } from "./admission.ts";
import type { ServerEventDetail, ServerSettings, ServerStats } from "./options.ts";
import { type ConnectionHost, UcxConnection } from "./ucx_connection.ts";

/** The server, as the plane uses it. */
export interface UcxPlaneHost {
  readonly settings: ServerSettings;
  readonly admission: Admission;
  /** Incremented per connection and stream. */
  readonly stats: ServerStats;
  /** Aborted when the server stops. */
  readonly stop: AbortSignal;
  /** Reports an event of a connection. */
  emit(type: "connection" | "request" | "end" | "error", detail: ServerEventDetail): void;
}

/** Connections beyond `maxConnections` that still learn that the server is full; UCX rejects further ones without a reason. */
const MAX_REFUSED = 64;

/** The UCX side of a server. */
export class UcxPlane {
  readonly #host: UcxPlaneHost;
  readonly #transport: Transport;
  readonly #connectionHost: ConnectionHost;
  readonly #wantData: Readonly<Record<StreamRole, bigint>>;
  readonly #listeners: Listener[] = [];
  readonly #running = new Set<Promise<void>>();
  /** Port of both streams, or of the bodies. */
  port = 0;
  /** Port of the metadata, if it has one of its own. */
  metadataPort?: number;

  /**
   * @param transport What carries the connections; stays the caller's
   * @param host The server
   */
  constructor(transport: Transport, host: UcxPlaneHost) {
    this.#host = host;
    this.#transport = transport;
    this.#wantData = { both: randomWantData(), metadata: randomWantData(), body: randomWantData() };
    const { settings, admission, stop } = host;
    this.#connectionHost = {
      settings,
      admission,
      stop,
      wantData: this.#wantData,
      onRequest: (detail) => {
        host.stats.requests++;
        host.emit("request", detail);
      },
    };
  }

  /**
   * Binds the listeners.
   *
   * @throws {DipcError} `unreachable` when the address cannot be bound
   */
  async listen(): Promise<void> {
    const { port, metadataPort } = this.#host.settings;
    this.port = await this.#bind(port);
    if (metadataPort !== undefined) this.metadataPort = await this.#bind(metadataPort);
  }

  /**
   * The URIs of a dataset: one, or metadata and bodies.
   *
   * @param name Name of the dataset
   * @param approach How the client has reached this server, if it has
   */
  urisOf(name: string, approach?: Approach): string[] {
    const { advertise, address } = this.#host.settings;
    const host = advertise ?? reachableHost(address, "one", approach).host;
    const uri = (role: StreamRole, port: number): string =>
      formatUri({ host, port, ticket: name, wantData: this.#wantData[role], role, dipc: true });
    return this.metadataPort === undefined
      ? [uri("both", this.port)]
      : [uri("metadata", this.metadataPort), uri("body", this.port)];
  }

  /** Accepts no further connections. */
  async stopAccepting(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
  }

  /** Resolves once no connection is left. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Whether any connection is open. */
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
    const { settings, stop, stats, emit } = this.#host;
    if (stop.aborted) return false;
    if (stats.activeConnections < settings.maxConnections + MAX_REFUSED) return true;
    // Such a client learns from UCX alone that it was rejected.
    const message =
      `cannot accept a connection: all ${settings.maxConnections} are in use, and as many as can be are ` +
      "being refused; raise maxConnections, or connect less often";
    emit("error", { connection: 0, error: new DipcError("busy", message) });
    return false;
  }

  #accept(channel: Channel): void {
    const { stats, emit } = this.#host;
    const connection = ++stats.connections;
    stats.activeConnections++;
    emit("connection", { connection });
    const isFull = stats.activeConnections > this.#host.settings.maxConnections;
    const run = new UcxConnection(channel, connection, this.#connectionHost, isFull).run()
      .then((detail) => this.#conclude(detail))
      .finally(() => {
        stats.activeConnections--;
        this.#running.delete(run);
      });
    this.#running.add(run);
  }

  #conclude(detail: ServerEventDetail): void {
    const { stats, emit } = this.#host;
    const { totals, error } = detail;
    if (totals !== undefined) {
      stats.batches += totals.batches;
      stats.bodyBytes += totals.bodyBytes;
      stats.metadataBytes += totals.metadataBytes;
    }
    if (error === undefined) stats.completed++;
    else stats.failed++;
    emit(error === undefined ? "end" : "error", detail);
  }
}

/** A random tag for requests; never 0. */
function randomWantData(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0] | 1n;
}
