/**
 * A server of datasets: one listener (or two, where metadata and bodies are apart), one worker a connection, one request
 * a connection.
 *
 * @module
 */
import { type Admission, admitByName } from "./admission.ts";
import { closeEntries, type Entry, openEntries, type Servable } from "./datasets.ts";
import { DipcError, type DipcErrorCode } from "../errors.ts";
import type { FlightServer } from "../flight/service/flight_server.ts";
import type { FlightPlane, FlightPlaneOptions, PlaneHost } from "./flight_plane.ts";
import { MAX_TIMER_MS, positiveInteger } from "../limits.ts";
import { hostPool } from "../memory/host_pool.ts";
import { encodeError, MAX_REQUEST_BYTES, parseRequest, REQUEST_ERRORS } from "../protocol/envelope.ts";
import { ERROR_MESSAGE } from "../protocol/prefix.ts";
import type { StreamRole } from "../protocol/sender.ts";
import { FULL_MASK } from "../protocol/tag.ts";
import { formatUri } from "../protocol/uri.ts";
import type { Dataset } from "../sources/dataset.ts";
import { OutgoingStream, type OutgoingTotals } from "../stream/outgoing.ts";
import { type Channel, FAILED, type Listener, PENDING, type Transport } from "../wire/transport.ts";
import { ucxTransport } from "../wire/ucx/transport.ts";

/** Longest wait for a client to close a connection that has served its purpose, in milliseconds. */
const CLOSE_MS = 5_000;

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /**
   * What to serve under which name; the name is the URI's path and the default ticket. None at all will do where `flight` takes
   * uploads or has handlers.
   */
  datasets: Record<string, Servable>;
  /** Address to bind. Default `127.0.0.1`; a loopback address is reachable from this machine only. */
  address?: string;
  /** Port of both streams, or of the bodies where `metadataPort` is given. Default 0, any free one. */
  port?: number;
  /** Port of a listener of its own for metadata (0 for any free one). Default: none, one connection carries both. */
  metadataPort?: number;
  /** Host that the URIs name. Default: the address bound to. */
  advertise?: string;
  /** Connections at one time; further ones are refused. Default 256. */
  maxConnections?: number;
  /** A connection that has not asked for anything after this many milliseconds is closed. Default 5,000. */
  requestTimeoutMs?: number;
  /** A stream whose client takes nothing for this many milliseconds is ended. Default 600,000. */
  idleTimeoutMs?: number;
  /** Bytes of bodies under way on one stream. Default 8 MiB; at least two bodies always go. */
  windowBytes?: number;
  /** Messages under way on one stream. Default 256. */
  windowBatches?: number;
  /** Path of libucp. Default: see {@linkcode findLibucp}. */
  library?: string;
  /** What carries the protocol. Default: UCX. */
  transport?: Transport;
  /**
   * How bodies in device memory get to the wire: straight (`"direct"`), through pinned host memory (`"staged"`), or
   * straight where UCX has CUDA and it works (`"auto"`). Default `"auto"`.
   */
  road?: "auto" | "direct" | "staged";
  /** Serves the same datasets by Arrow Flight too. Default: not. */
  flight?: FlightPlaneOptions;
}

/** A dataset as a server offers it. */
export interface ServedDataset {
  /** Its name, which is also its ticket. */
  readonly name: string;
  /** One URI, or metadata URI and body URI. Give both to `connect`. */
  readonly uris: readonly string[];
  /** Total rows, where known. */
  readonly rows?: number;
  /** Number of record batches, where known. */
  readonly batches?: number;
  /** Bytes of all bodies, where known. */
  readonly bodyBytes?: number;
  /** Memory space that its bodies are sent from, where that is not host memory. */
  readonly memory?: string;
  /** Whether they go to the wire straight, or staged through host memory; where they are in device memory. */
  readonly road?: "direct" | "staged";
  /** Why this road. */
  readonly roadReason?: string;
}

/** Counters of a {@linkcode Server}. */
export interface ServerStats {
  /** Connections accepted. */
  connections: number;
  /** Connections open now. */
  activeConnections: number;
  /** Requests understood. */
  requests: number;
  /** Streams that were sent whole. */
  completed: number;
  /** Connections that ended otherwise. */
  failed: number;
  /** Record batches sent. */
  batches: number;
  /** Bytes of bodies sent. */
  bodyBytes: number;
  /** Bytes of metadata sent. */
  metadataBytes: number;
}

/** Detail of the events `connection`, `request`, `end` and `error` of a {@linkcode Server}. */
export interface ServerEventDetail {
  /** Number of the connection, from 1. */
  connection: number;
  /** The dataset asked for, once known. */
  dataset?: string;
  /** What was sent (`end`, `error`). */
  totals?: OutgoingTotals;
  /** What went wrong (`error`). */
  error?: DipcError;
}

/**
 * A running server. Made by {@linkcode serve}.
 *
 * Dispatches `CustomEvent<ServerEventDetail>`: `connection`, `request`, `end` and `error` (of one connection; the server
 * goes on).
 */
export class Server extends EventTarget implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #transport: Transport | null;
  readonly #entries: Map<string, Entry>;
  readonly #admission: Admission;
  readonly #wants: Readonly<Record<StreamRole, bigint>>;
  readonly #listeners: Listener[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #closing: Promise<void> | null = null;

  /** The address bound to. */
  readonly address: string;
  /** Port of both streams, or of the bodies. */
  port = 0;
  /** Port of the metadata, where it has one of its own. */
  metadataPort?: number;
  /** The Flight side, where the server has one. */
  flight?: FlightServer;
  /** What is served, in the order given; uploads come last. */
  datasets: readonly ServedDataset[] = [];

  /** Counters since the start. */
  readonly stats: ServerStats = {
    connections: 0,
    activeConnections: 0,
    requests: 0,
    completed: 0,
    failed: 0,
    batches: 0,
    bodyBytes: 0,
    metadataBytes: 0,
  };

  /** @ignore Use {@linkcode serve}. */
  constructor(settings: Settings, transport: Transport | null, entries: Map<string, Entry>, admission: Admission) {
    super();
    this.#settings = settings;
    this.#transport = transport;
    this.#entries = entries;
    this.#admission = admission;
    this.address = settings.address;
    this.#wants = { both: randomWant(), metadata: randomWant(), body: randomWant() };
  }

  /** @ignore Binds the listeners. */
  async _listen(): Promise<void> {
    const { port, metadataPort } = this.#settings;
    if (this.#transport !== null) {
      this.port = await this.#bind(this.#transport, port);
      if (metadataPort !== undefined) this.metadataPort = await this.#bind(this.#transport, metadataPort);
    }
    this.datasets = [...this.#entries.values()].map((entry) => this.#describe(entry));
  }

  /** @ignore Starts the Flight side. */
  async _listenFlight(plane: FlightPlane): Promise<void> {
    this.flight = await plane.listen(this.#settings.address, this.#settings.advertise);
  }

  /** @ignore Serves a dataset that came later, in place of one of the same name. The server closes it. */
  async _publish(name: string, dataset: Dataset): Promise<void> {
    if (this.#stop.signal.aborted) {
      await dataset.close();
      throw this.#stop.signal.reason;
    }
    const before = this.#entries.get(name);
    const entry: Entry = { name, dataset, owned: true };
    this.#entries.set(name, entry);
    this.datasets = [...this.datasets.filter((each) => each.name !== name), this.#describe(entry)];
    if (before?.owned) await before.dataset.close();
  }

  #describe({ name, dataset, memory, road, roadReason }: Entry): ServedDataset {
    const host = this.#settings.advertise ?? this.#settings.address;
    const uri = (role: StreamRole, port: number): string =>
      formatUri({ host, port, ticket: name, wantData: this.#wants[role], role, dipc: true });
    let uris: string[] = [];
    if (this.metadataPort !== undefined) uris = [uri("metadata", this.metadataPort), uri("body", this.port)];
    else if (this.#transport !== null) uris = [uri("both", this.port)];
    const { rows, batches, bodyBytes } = dataset;
    const placed = memory === undefined ? {} : { memory, road, roadReason };
    return { name, uris, rows, batches, bodyBytes, ...placed };
  }

  async #bind(transport: Transport, port: number): Promise<number> {
    const listener = await transport.listen({
      host: this.#settings.address,
      port,
      mayAccept: () => !this.#stop.signal.aborted && this.stats.activeConnections < this.#settings.maxConnections,
      onChannel: (channel) => this.#accept(channel),
      onError: (error) => this.#emit("error", { connection: 0, error }),
    });
    this.#listeners.push(listener);
    return listener.address.port;
  }

  #accept(channel: Channel): void {
    const connection = ++this.stats.connections;
    this.stats.activeConnections++;
    this.#emit("connection", { connection });
    const run = this.#serve(channel, connection).finally(() => {
      this.stats.activeConnections--;
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  /** Answers one connection's one request. Never rejects: what goes wrong becomes an `error` event. */
  async #serve(channel: Channel, connection: number): Promise<void> {
    const detail: ServerEventDetail = { connection };
    let outgoing: OutgoingStream | null = null;
    let whole = false, lingerMs = 0;
    try {
      const { role, ticket, wantsErrors } = await this.#request(channel);
      const sendsError = wantsErrors && role !== "body";
      try {
        const grant = await this.#admission.admit(ticket, role);
        const { entry } = grant;
        detail.dataset = entry.name;
        this.stats.requests++;
        this.#emit("request", detail);
        const { windowBytes, windowBatches, idleTimeoutMs } = this.#settings;
        const signal = this.#stop.signal;
        outgoing = new OutgoingStream(channel, entry.dataset, {
          role,
          windowBytes,
          windowBatches,
          idleTimeoutMs,
          signal,
          onFirstBody: () => grant.spend(),
        });
        await outgoing.run();
        whole = true;
        // The other half of a stream may take much longer, and closing this one would look like a lost connection.
        lingerMs = role === "both" ? CLOSE_MS : idleTimeoutMs;
      } catch (cause) {
        // What ends the streams of a server that shuts down is its own reason, not the wait that it cut short.
        const error = this.#stop.signal.aborted ? this.#stop.signal.reason : cause;
        if (sendsError && channel.failure === null) sendError(channel, asDipcError(error), outgoing !== null);
        // Also where no error is sent with bodies: the metadata's connection says why, and must not lose the race.
        if (wantsErrors) lingerMs = CLOSE_MS;
        throw error;
      }
    } catch (error) {
      detail.error = asDipcError(error);
    }
    // An error message must arrive too, so the connection is flushed unless the client broke the rules or is gone.
    const flush = whole || (channel.failure === null && detail.error?.code !== "protocol");
    if (lingerMs > 0) await this.#awaitClose(channel, lingerMs);
    try {
      await channel.close({ flush });
      await outgoing?.release();
    } catch (error) {
      detail.error ??= asDipcError(error);
    }
    this.#conclude(detail, outgoing?.totals);
  }

  /**
   * Lets the client close first: the news that a connection was closed can overtake what was sent on it, and UCX then
   * drops what is still in the socket, so that the client would lose the end of the stream. One that goes on sending instead
   * is cut off.
   */
  async #awaitClose(channel: Channel, timeoutMs: number): Promise<void> {
    try {
      const over = () => channel.failure !== null || channel.probe() !== null || channel.queuedFrames !== 0;
      await channel.until(over, { timeoutMs, signal: this.#stop.signal });
    } catch {
      // The server is stopping, or the connection is gone: either way it is closed now.
    }
  }

  #conclude(detail: ServerEventDetail, totals: OutgoingTotals | undefined): void {
    const { stats } = this;
    if (totals !== undefined) {
      detail.totals = totals;
      stats.batches += totals.batches;
      stats.bodyBytes += totals.bodyBytes;
      stats.metadataBytes += totals.metadataBytes;
    }
    if (detail.error === undefined) stats.completed++;
    else stats.failed++;
    this.#emit(detail.error === undefined ? "end" : "error", detail);
  }

  /** Waits for the connection's request and reads it. */
  async #request(channel: Channel): Promise<{ role: StreamRole; ticket: Uint8Array; wantsErrors: boolean }> {
    const { requestTimeoutMs } = this.#settings;
    const signal = this.#stop.signal;
    const asked = await channel.until(() => channel.probe() !== null || channel.queuedFrames !== 0, {
      signal,
      timeoutMs: requestTimeoutMs,
    });
    if (!asked) throw new DipcError("timeout", `the client asked for nothing within ${requestTimeoutMs} ms`);
    const message = channel.probe();
    if (message === null) throw new DipcError("protocol", "the client sent an untagged message");
    const role = this.#roleOf(message.tag);
    if (role === null) {
      throw new DipcError(
        "protocol",
        `the client's request has the tag ${message.tag}, which is no want_data of this server`,
      );
    }
    if (message.byteLength > MAX_REQUEST_BYTES) {
      throw new DipcError(
        "limit_exceeded",
        `the client's request has ${message.byteLength} bytes, at most ${MAX_REQUEST_BYTES} are allowed`,
      );
    }
    const block = hostPool().acquire(message.byteLength);
    let settled = false;
    try {
      const receive = channel.receive(message.tag, FULL_MASK, block, message.byteLength);
      settled = await channel.until(() => receive.poll() !== PENDING, { signal, timeoutMs: requestTimeoutMs });
      if (!settled) throw new DipcError("timeout", `the client's request did not arrive within ${requestTimeoutMs} ms`);
      if (receive.poll() === FAILED) throw receive.error!;
      const request = parseRequest(block.bytes().subarray(0, receive.byteLength));
      return { role, ticket: request.ticket.slice(), wantsErrors: (request.flags & REQUEST_ERRORS) !== 0 };
    } finally {
      // A receive that may still be written to keeps its block until the worker is gone.
      if (settled) block.release();
      else channel.close().then(() => block.release(), () => {});
    }
  }

  #roleOf(tag: bigint): StreamRole | null {
    for (const role of ["both", "metadata", "body"] as const) if (this.#wants[role] === tag) return role;
    return null;
  }

  #emit(type: string, detail: ServerEventDetail): void {
    this.dispatchEvent(new CustomEvent<ServerEventDetail>(type, { detail }));
  }

  /**
   * Stops accepting, lets running streams finish within a deadline, cuts those that do not, and releases everything.
   * Idempotent.
   *
   * @param options `timeoutMs`: the deadline in milliseconds, default 10,000; 0 cuts at once, `Infinity` never
   */
  shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
    return this.#closing ??= this.#shutdown(options.timeoutMs ?? 10_000);
  }

  async #shutdown(timeoutMs: number): Promise<void> {
    const flight = this.flight?.shutdown({ timeoutMs });
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (this.#running.size > 0 && timeoutMs > 0) {
      const deadline = new Promise<void>((resolve) => {
        if (timeoutMs <= MAX_TIMER_MS) timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([Promise.all(this.#running), deadline]);
      clearTimeout(timer);
    }
    this.#stop.abort(new DipcError("closed", "the server is shutting down"));
    await Promise.all(this.#running);
    await flight;
    await closeEntries(this.#entries.values());
    if (this.#settings.ownsTransport) await this.#transport?.close();
  }

  /** The same as `shutdown()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}

interface Settings {
  readonly address: string;
  readonly port: number;
  readonly metadataPort?: number;
  readonly advertise?: string;
  readonly maxConnections: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly windowBytes: number;
  readonly windowBatches: number;
  readonly ownsTransport: boolean;
}

/**
 * Starts a server.
 *
 * Datasets that the server makes itself, from paths, tables and iterables, are closed with it; a `Dataset` stays the
 * caller's.
 *
 * @example Usage
 * ```ts ignore
 * import { serve } from "@arrow-ucx/dipc";
 *
 * await using server = await serve({ datasets: { flights: "flights.arrow" } });
 * console.log(server.datasets[0].uris[0]);
 * ```
 *
 * @param options What to serve, and where
 * @returns The running server; dispose it or call `shutdown()`
 * @throws {DipcError} `invalid_argument`, `library_not_found`, `unreachable` (the address cannot be bound), `not_found`, `invalid_data`
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const address = options.address ?? "127.0.0.1";
  const settings: Settings = {
    address,
    port: portNumber("port", options.port ?? 0),
    metadataPort: options.metadataPort === undefined ? undefined : portNumber("metadataPort", options.metadataPort),
    advertise: options.advertise,
    maxConnections: positiveInteger("maxConnections", options.maxConnections ?? 256),
    requestTimeoutMs: positiveInteger("requestTimeoutMs", options.requestTimeoutMs ?? 5_000),
    idleTimeoutMs: positiveInteger("idleTimeoutMs", options.idleTimeoutMs ?? 600_000),
    windowBytes: positiveInteger("windowBytes", options.windowBytes ?? 8 * 2 ** 20),
    windowBatches: atMost("windowBatches", positiveInteger("windowBatches", options.windowBatches ?? 256), 65_536),
    ownsTransport: options.transport === undefined,
  };
  // Then there is something to answer all the same.
  const mayBeEmpty = (options.flight?.allowPut ?? false) !== false || options.flight?.handlers !== undefined;
  let entries = await openEntries(options.datasets, mayBeEmpty);
  let transport: Transport | null | undefined = options.transport;
  let server: Server | undefined;
  try {
    if ([...entries.values()].some(({ dataset }) => (dataset.memory ?? "host") !== "host")) {
      const { prepareDevices, roadChoice } = await import("./device_memory.ts");
      const { windowBytes } = settings;
      const prepared = await prepareDevices(entries, { ...options, windowBytes, road: roadChoice(options.road) });
      entries = prepared.entries;
      transport ??= prepared.transport ?? undefined;
    }
    for (const { name, dataset } of entries.values()) {
      if (!dataset.readOnce || settings.metadataPort === undefined) continue;
      throw new DipcError(
        "invalid_argument",
        `the dataset ${
          JSON.stringify(name)
        } can be read only once, but metadata and bodies on two ports are two reads: ` +
          "leave metadataPort out",
      );
    }
    const plane = options.flight && await openPlane(options.flight, {
      entries,
      urisOf: (name) => server!.datasets.find((each) => each.name === name)?.uris ?? [],
      publish: (name, dataset) => server!._publish(name, dataset),
    });
    if (transport === undefined) transport = await openTransport(options);
    server = new Server(settings, transport, entries, plane?.admission ?? admitByName(entries));
    await server._listen();
    if (plane !== undefined) await server._listenFlight(plane);
    return server;
  } catch (error) {
    if (server !== undefined) {
      await server.shutdown({ timeoutMs: 0 });
    } else {
      await closeEntries(entries.values());
      if (settings.ownsTransport) await transport?.close();
    }
    throw error;
  }
}

/** Loads the Flight side only where it is asked for. */
async function openPlane(options: FlightPlaneOptions, host: PlaneHost): Promise<FlightPlane> {
  const { FlightPlane } = await import("./flight_plane.ts");
  return await FlightPlane.open(options, host);
}

/** UCX, or null where the server may do without it. */
async function openTransport({ library, flight }: ServeOptions): Promise<Transport | null> {
  const need = flight?.ucx ?? "required";
  if (need === "off") return null;
  try {
    return await ucxTransport({ library });
  } catch (error) {
    if (need === "optional" && error instanceof DipcError && error.code === "library_not_found") return null;
    throw error;
  }
}

function atMost(name: string, value: number, most: number): number {
  if (value <= most) return value;
  throw new DipcError("invalid_argument", `${name} must be at most ${most}, but it is ${value}`);
}

function portNumber(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 65535) {
    throw new DipcError("invalid_argument", `${name} must be a whole number from 0 to 65535, but it is ${value}`);
  }
  return value;
}

/** A random tag for requests; never 0. */
function randomWant(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0] | 1n;
}

/** Errors whose texts name paths, addresses or other things of the server's own. */
const INSIDE: readonly DipcErrorCode[] = ["io", "internal", "ucx", "cuda", "library_not_found", "out_of_memory"];
/** The same, where they come from the dataset: about its file, not about the request. */
const INSIDE_DATASET: readonly DipcErrorCode[] = [...INSIDE, "not_found", "invalid_data"];

/** Tells a client that asked for it what went wrong. Details of the server's own (paths, causes) stay here. */
function sendError(channel: Channel, error: DipcError, isAdmitted: boolean): void {
  const isInside = (isAdmitted ? INSIDE_DATASET : INSIDE).includes(error.code);
  const text = isInside ? "reading the dataset failed on the server" : error.message;
  channel.sendFrame(ERROR_MESSAGE, 0, encodeError(error.code, text));
}

function asDipcError(error: unknown): DipcError {
  return error instanceof DipcError ? error : new DipcError("internal", String(error), { cause: error });
}
