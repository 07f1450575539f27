/**
 * A server of datasets: starts its UCX side and its Flight side, and stops them.
 *
 * @module
 */
import { withDeadline } from "../deadline.ts";
import { DipcError } from "../errors.ts";
import { TypedEventTarget } from "../events.ts";
import type { FlightServer } from "../flight/service/flight_server.ts";
import type { Approach } from "../reachable_host.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { Transport } from "../wire/transport.ts";
import type { Admission } from "./admission.ts";
import { closeEntries } from "./datasets.ts";
import type { Entry } from "./entry.ts";
import type { FlightPlane } from "./flight_plane.ts";
import type { DatasetMemory } from "./shared_memory.ts";
import type { ServedDataset, ServerEventDetail, ServerEvents, ServerSettings, ServerStats } from "./options.ts";
import { countedIn, countEvent, type StreamEventType, type StreamPlane, type StreamPlaneHost } from "./stream_plane.ts";

/** What the maker of a UCX side gets. */
export interface PlaneParts extends StreamPlaneHost {
  readonly admission: Admission;
  readonly stats: ServerStats;
  /** Called when URIs have changed. */
  onMoved(): void;
}

/** Makes the UCX side of a server. */
export type PlaneMaker = (parts: PlaneParts) => StreamPlane;

/** Constructor arguments of a {@linkcode Server}. */
export interface ServerParts {
  readonly settings: ServerSettings;
  readonly entries: Map<string, Entry>;
  readonly admission: Admission;
  /** Makes the UCX side; `null` for a server without UCX. */
  readonly plane: PlaneMaker | null;
  /** Memory through which results of SQL are read in place; `null` if they are sent. */
  readonly resultMemory: DatasetMemory | null;
  /** The transport to close with the server, if it is the server's own. */
  readonly transport: Transport | null;
}

/**
 * A running server. Made by {@linkcode serve}.
 *
 * Dispatches the events of {@linkcode ServerEvents}; those of its Flight side are events of `flight`.
 */
export class Server extends TypedEventTarget<ServerEvents> implements AsyncDisposable {
  readonly #parts: ServerParts;
  readonly #plane: StreamPlane | null;
  readonly #stop = new AbortController();
  #closing: Promise<void> | null = null;

  /** The address bound to. */
  readonly address: string;
  /** The Flight side, if the server has one. */
  flight?: FlightServer;
  #flightPlane: FlightPlane | null = null;
  /** What is served, in the order given; uploads come last. */
  datasets: readonly ServedDataset[] = [];

  /** Counters since the start. */
  readonly stats: ServerStats = {
    connections: 0,
    activeConnections: 0,
    idleConnections: 0,
    requests: 0,
    completed: 0,
    failed: 0,
    batches: 0,
    bodyBytes: 0,
    sharedBytes: 0,
    metadataBytes: 0,
  };

  /** @ignore Use {@linkcode serve}. */
  constructor(parts: ServerParts) {
    super();
    this.#parts = parts;
    const { settings, admission } = parts;
    this.address = settings.address;
    this.#plane = parts.plane === null ? null : parts.plane({
      settings,
      admission,
      stats: this.stats,
      counter: countedIn(this.stats),
      stop: this.#stop.signal,
      emit: (type, detail) => this.#emit(type, detail),
      onMoved: () => this.#describeAll(),
    });
  }

  /** Port of both streams, or of the bodies; 0 without UCX. */
  get port(): number {
    return this.#plane?.port ?? 0;
  }

  /** Port of the metadata, if it has one of its own. */
  get metadataPort(): number | undefined {
    return this.#plane?.metadataPort;
  }

  /**
   * What clients on this machine have of this server's memory now: how many can read it, the bytes that are lent to them and will
   * be used again (a dataset that is in memory is not counted), and the bytes of all arenas that are in use, lent or being sent.
   * `null` if nothing is shared. Of several isolates it is what they had some 50 ms ago.
   */
  get sharing(): { readonly clients: number; readonly leasedBytes: number; readonly arenaBytes: number } | null {
    const clients = this.#plane?.sharing;
    if (clients === undefined) return null;
    let arenaBytes = clients.arenaBytes ?? 0;
    for (const { shared } of this.#parts.entries.values()) arenaBytes += shared?.usedBytes ?? 0;
    arenaBytes += this.#parts.resultMemory?.usedBytes ?? 0;
    return { ...clients, arenaBytes };
  }

  /** @ignore Binds the listeners. */
  async _listen(): Promise<void> {
    await this.#plane?.listen();
    this.#describeAll();
  }

  /** @ignore Starts the Flight side. */
  async _listenFlight(plane: FlightPlane): Promise<void> {
    const { address, advertise } = this.#parts.settings;
    this.#flightPlane = plane;
    this.flight = await plane.listen(address, advertise);
  }

  /** @ignore Serves a dataset from now on, in place of an earlier one of the same name. The server closes it. */
  async _publish(name: string, dataset: Dataset): Promise<void> {
    if (this.#stop.signal.aborted) {
      await dataset.close();
      throw this.#stop.signal.reason;
    }
    const { entries } = this.#parts;
    const before = entries.get(name);
    const entry: Entry = { name, dataset, owned: true };
    entries.set(name, entry);
    this.datasets = [...this.datasets.filter((each) => each.name !== name), this.#describe(entry)];
    if (before?.owned) await before.dataset.close();
    // Packed memory goes with its dataset, once no stream uses it.
    if (before?.shared?.isConstant === false) before.shared.close();
  }

  /** @ignore URIs of a dataset for a client that reached this server's Flight side by an address. */
  _urisOf(name: string, approach: Approach): readonly string[] {
    return this.#plane?.urisOf(name, approach) ?? [];
  }

  /** @ignore Reports what looks wrong with the data of a dataset. */
  _warn(dataset: string, warning: string): void {
    this.dispatchEvent(new CustomEvent("warning", { detail: { dataset, warning } }));
  }

  #describeAll(): void {
    this.datasets = [...this.#parts.entries.values()].map((entry) => this.#describe(entry));
  }

  #describe({ name, dataset, memory, staged, stagingReason, shared }: Entry): ServedDataset {
    const { rows, batches, bodyBytes, engine } = dataset;
    const placed = memory === undefined ? {} : { memory, staged, stagingReason };
    const lent = shared === undefined ? {} : { sharingReason: shared.problem?.message ?? "" };
    const decoded = engine === undefined ? {} : { engine: engine.name, engineReason: engine.reason };
    return { name, uris: this.#plane?.urisOf(name) ?? [], rows, batches, bodyBytes, ...decoded, ...placed, ...lent };
  }

  #emit(type: StreamEventType, detail: ServerEventDetail): void {
    countEvent(this.stats, type, detail);
    this.dispatchEvent(new CustomEvent<ServerEventDetail>(type, { detail }));
  }

  /**
   * Stops accepting, lets running streams finish within a deadline, aborts those that do not, and releases everything.
   * Idempotent.
   *
   * @param options `timeoutMs`: the deadline in milliseconds, default 10,000; 0 aborts at once, `Infinity` never
   */
  shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
    return this.#closing ??= this.#shutdown(options.timeoutMs ?? 10_000);
  }

  async #shutdown(timeoutMs: number): Promise<void> {
    const flight = this.flight?.shutdown({ timeoutMs });
    const plane = this.#plane;
    await plane?.stopAccepting();
    if (plane?.isBusy && timeoutMs > 0) await withDeadline(plane.idle(), timeoutMs);
    this.#stop.abort(new DipcError("closed", "cannot complete the stream: the server is shutting down"));
    await plane?.idle();
    await flight;
    await this.#flightPlane?.close();
    await plane?.close();
    const { entries, transport } = this.#parts;
    await closeEntries(entries.values());
    this.#parts.resultMemory?.close();
    await transport?.close();
  }

  /** The same as `shutdown()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}
