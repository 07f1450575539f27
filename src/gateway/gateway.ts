/**
 * A gateway: a Flight server that passes every call on to engines that know nothing of it, and offers their data by UCX and in shared
 * memory too.
 *
 * @module
 */
import { withDeadline } from "../deadline.ts";
import { asDipcError, DipcError } from "../errors.ts";
import { TypedEventTarget } from "../events.ts";
import { formatFlightLocation } from "../flight/location.ts";
import { rpcMethod, SERVICE_PATH } from "../flight/model.ts";
import type { FlightServerEventDetail, FlightServerEvents } from "../flight/service/flight_server.ts";
import { GrpcServer } from "../grpc/server.ts";
import type { ServerCall } from "../grpc/server_call.ts";
import { GrpcStatus, grpcStatusName, grpcStatusOf } from "../grpc/status.ts";
import { type Approach, reachableHost } from "../reachable_host.ts";
import { checkDeno } from "../runtime.ts";
import { serverSettings, type ServerStats } from "../serving/options.ts";
import { CallSpan } from "../telemetry/call_span.ts";
import { tellPeer } from "../tell_peer.ts";
import type { Transport } from "../wire/transport.ts";
import { GatewayCalls } from "./calls.ts";
import { Engine } from "./engine.ts";
import { Fetches } from "./fetches.ts";
import { Offers } from "./offers.ts";
import { type GatewayOptions, type GatewaySettings, gatewaySettings } from "./options.ts";
import type { StreamSide } from "./stream_side.ts";
import { Credentials, GatewayTickets } from "./tickets.ts";

/** Longest headers of a call, in bytes. */
const MAX_HEADER_BYTES = 128 * 1024;

/**
 * A running gateway. Made by {@linkcode serveGateway}.
 *
 * Dispatches the events of {@linkcode FlightServerEvents}, for streams by UCX too: their `method` is empty.
 */
export class Gateway extends TypedEventTarget<FlightServerEvents> implements AsyncDisposable {
  readonly #settings: GatewaySettings;
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #calls: GatewayCalls;
  readonly #fetches: Fetches | null;
  readonly #stop = new AbortController();
  #grpc: GrpcServer | null = null;
  #side: StreamSide | null = null;
  #transport: Transport | null = null;
  #closing: Promise<void> | null = null;
  /** Counters of the UCX side since the start. */
  readonly stats: ServerStats = {
    ...{ connections: 0, activeConnections: 0, idleConnections: 0, requests: 0, completed: 0, failed: 0 },
    ...{ batches: 0, bodyBytes: 0, sharedBytes: 0, metadataBytes: 0 },
  };

  private constructor(settings: GatewaySettings, tickets: GatewayTickets, credentials: Credentials) {
    super();
    this.#settings = settings;
    const { engineTls: tls, trustLocations = false } = settings;
    this.#engines = new Map(
      [...settings.places].map(([name, place]) => [name, new Engine(name, place, { tls, trustLocations })]),
    );
    const { fetchLimits } = settings;
    this.#fetches = fetchLimits === null ? null : new Fetches(fetchLimits);
    this.#calls = new GatewayCalls({
      fetches: this.#fetches,
      pool: () => this.#side?.memory ?? undefined,
      ...{ engines: this.#engines, tickets, credentials, limits: settings.serverLimits },
      offers: new Offers({
        tickets,
        flightLocation: (approach) => this.#locationFor(approach),
        ucxLocations: (approach) => this.#side?.plane.urisOf("", approach) ?? [],
      }),
    });
  }

  /** @ignore Use {@linkcode serveGateway}. */
  static async _start(options: GatewayOptions): Promise<Gateway> {
    checkDeno();
    const settings = gatewaySettings(options);
    const tickets = await GatewayTickets.open(settings.tickets);
    const credentials = new Credentials();
    const gateway = new Gateway(settings, tickets, credentials);
    try {
      await gateway.#openStreams(tickets, credentials);
      await gateway.#listen();
      return gateway;
    } catch (error) {
      await gateway.shutdown({ timeoutMs: 0 });
      throw error;
    }
  }

  /** The address bound to. */
  get address(): string {
    return this.#settings.address;
  }

  /** Port of the Flight side. */
  get port(): number {
    return this.#grpc!.port;
  }

  /** Port of the UCX side; 0 without one. */
  get ucxPort(): number {
    return this.#side?.plane.port ?? 0;
  }

  /** Location for clients: `grpc://HOST:PORT`, or `grpc+tls://HOST:PORT` with certificates. */
  get location(): string {
    return this.#locationFor();
  }

  /** Calls of clients under way, by Flight. */
  get activeCalls(): number {
    return this.#grpc?.activeCalls ?? 0;
  }

  /** Calls to engines under way. */
  get engineCalls(): number {
    return [...this.#engines.values()].reduce((sum, { activeCalls }) => sum + activeCalls, 0);
  }

  /** What clients on this machine have of the gateway's memory now; as for a server. `null` if nothing is shared. */
  get sharing(): { readonly clients: number; readonly leasedBytes: number; readonly arenaBytes: number } | null {
    const clients = this.#side?.plane.sharing;
    return clients === undefined ? null : { ...clients, arenaBytes: this.#side!.memory?.usedBytes ?? 0 };
  }

  /**
   * Stops accepting, lets what is running finish within a deadline, and cuts the rest. Idempotent.
   *
   * @param options `timeoutMs`: the deadline in milliseconds, default 10,000; 0 cuts at once, `Infinity` never
   */
  shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
    return this.#closing ??= this.#shutdown(options.timeoutMs ?? 10_000);
  }

  /** The same as `shutdown()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  async #shutdown(timeoutMs: number): Promise<void> {
    const plane = this.#side?.plane;
    const flight = this.#grpc?.shutdown(timeoutMs);
    await plane?.stopAccepting();
    if (plane?.isBusy && timeoutMs > 0) await withDeadline(plane.idle(), timeoutMs);
    this.#stop.abort(new DipcError("closed", "cannot complete the stream: the gateway is shutting down"));
    await plane?.idle();
    await flight;
    this.#fetches?.close();
    await Promise.all([...this.#engines.values()].map((engine) => engine.close()));
    await plane?.close();
    this.#side?.memory?.close();
    await this.#transport?.close();
  }

  async #openStreams(tickets: GatewayTickets, credentials: Credentials): Promise<void> {
    const { ucx, address, ucxPort, advertise, sharing, share = false, library, serverLimits } = this.#settings;
    if (ucx === "off") return;
    const { maxConnections, idleTimeoutMs } = serverLimits;
    const settings = serverSettings({
      ...{ datasets: {}, address, port: ucxPort, advertise, sharing, maxConnections, idleTimeoutMs },
    });
    const transport = this.#settings.transport ?? await this.#openTransport(library);
    if (transport === null) return;
    const { streamSide } = await import("./stream_side.ts");
    this.#side = streamSide({
      ...{ transport, settings, share, tickets, credentials, engines: this.#engines, fetches: this.#fetches },
      ...{ stats: this.stats, stop: this.#stop.signal },
      emit: (type, { connection, dataset, totals, error }) => {
        if (type !== "end" && type !== "error") return;
        const { batches = 0, bodyBytes = 0, metadataBytes = 0 } = totals ?? {};
        this.#emit({ connection, method: "", dataset, batches, bodyBytes, metadataBytes, error });
      },
    });
    await this.#side.plane.listen();
  }

  async #openTransport(library: string | undefined): Promise<Transport | null> {
    const { ucxTransport } = await import("../wire/ucx/transport.ts");
    try {
      return this.#transport = await ucxTransport({ library });
    } catch (error) {
      const isMissing = error instanceof DipcError && error.code === "library_not_found";
      if (this.#settings.ucx === "optional" && isMissing) return null;
      throw error;
    }
  }

  async #listen(): Promise<void> {
    const { address, port, tls, serverLimits: limits } = this.#settings;
    this.#grpc = await GrpcServer.listen({
      ...{ address, port, tls, service: SERVICE_PATH, maxHeaderBytes: MAX_HEADER_BYTES },
      maxConnections: limits.maxConnections,
      maxCalls: limits.maxCalls,
      requestTimeoutMs: limits.requestTimeoutMs,
      idleTimeoutMs: limits.idleTimeoutMs,
      onCall: (call) => this.#answer(call),
      onConnectionEnd: (client) => this.#engines.forEach((engine) => engine.clientEnded(client)),
      onError: (error, connection, method = "") => this.#emit({ ...detailOf(connection, method), error }),
    });
  }

  /** Answers one call, including its status. Never rejects. */
  async #answer(call: ServerCall): Promise<void> {
    const detail = detailOf(call.connection, call.method);
    const span = CallSpan.start("server", rpcMethod(call.method), call.headers);
    let outcome: number = GrpcStatus.ok;
    try {
      const { bytes, status, error } = await span.run(() => this.#calls.run(call));
      outcome = status;
      detail.bodyBytes = bytes;
      // The text of an engine's status is among the trailers.
      await call.finish(status);
      if (error !== null) detail.error = asDipcError(error);
    } catch (thrown) {
      const reason = call.signal.aborted ? call.signal.reason : thrown;
      const { code, text } = tellPeer(reason);
      outcome = grpcStatusOf(reason);
      await call.finish(outcome, text, code).catch(() => {});
      detail.error = asDipcError(reason);
    }
    span.end(grpcStatusName(outcome), detail.error);
    this.#emit(detail);
  }

  #locationFor(approach?: Approach): string {
    const { advertise, address, tls } = this.#settings;
    const { host, port } = advertise === undefined ? reachableHost(address, "both", approach) : { host: advertise };
    return formatFlightLocation(host, port ?? this.port, tls !== undefined);
  }

  #emit(detail: FlightServerEventDetail): void {
    if (detail.error === undefined) delete detail.error;
    this.dispatchEvent(new CustomEvent(detail.error === undefined ? "end" : "error", { detail }));
  }
}

function detailOf(connection: number, method: string): FlightServerEventDetail {
  return { connection, method, batches: 0, bodyBytes: 0, metadataBytes: 0 };
}

/**
 * Starts a gateway: a Flight server that passes every call of Flight and Flight SQL on to another one, and offers its data by UCX
 * and, with `share`, in shared memory too. The engine needs no change, and no knowledge of the gateway.
 *
 * @example Usage
 * ```ts ignore
 * import { serveGateway } from "@arrow-ucx/dipc/flight";
 *
 * await using gateway = await serveGateway({ engines: "grpc://127.0.0.1:50051", port: 8815 });
 * console.log(gateway.location); // "grpc://127.0.0.1:8815"
 * ```
 *
 * @param options Engines, address, tickets and limits
 * @returns The running gateway; dispose it or call `shutdown()`
 * @throws {DipcError} `invalid_argument`, `invalid_uri`, `library_not_found`, `unreachable` if an address cannot be bound,
 * `permission_denied`
 */
export async function serveGateway(options: GatewayOptions): Promise<Gateway> {
  return await Gateway._start(options);
}
