/**
 * An engine: the Flight server behind a gateway, and the other servers that it names as locations of its endpoints.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type FlightLocation, parseFlightLocation } from "../flight/location.ts";
import { SERVICE_PATH } from "../flight/model.ts";
import { GrpcCall } from "../grpc/client_call.ts";
import { GrpcConnection } from "../grpc/client_connection.ts";
import type { StreamDecoder } from "../grpc/stream_input.ts";
import type { FlightTlsOptions } from "../grpc/tls.ts";
import { UntakenError } from "../grpc/untaken_error.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { withoutCredentials } from "./headers.ts";

/** Longest wait for the connection to an engine, in milliseconds. */
const CONNECT_MS = 10_000;
/** Longest wait for the connection to another location, in milliseconds. */
const LOCATION_MS = 5_000;
/** How long a location that could not be reached is tried last, in milliseconds. */
const DEAD_MS = 30_000;
/** Most other locations that are connected. */
const MAX_LOCATIONS = 64;
/** Bytes of messages that have arrived from an engine and were not taken yet; a single larger one is admitted. */
const IN_FLIGHT_BYTES = 4 * 2 ** 20;

/** How an {@linkcode Engine} is reached. */
export interface EngineOptions {
  readonly tls?: FlightTlsOptions;
  /** Whether credentials may go to other hosts. */
  readonly trustLocations: boolean;
}

/** One call. */
export interface EngineCall<T> {
  readonly method: string;
  /** Headers of the client, as it sent them. */
  readonly headers: Headers;
  readonly decoder: StreamDecoder<T>;
  /** Number of the client's connection, if the call is for this client alone. */
  readonly client?: number;
  readonly signal?: AbortSignal;
  onHeaders?(headers: Headers): void;
  onEnd?(trailers: Headers, error: unknown): void;
}

/** A connection to another location. */
interface Place {
  readonly location: FlightLocation;
  readonly connection: GrpcConnection;
  calls: number;
}

/** One engine. */
export class Engine {
  /** Its name; empty if there is only one. */
  readonly name: string;
  readonly location: FlightLocation;
  readonly #options: EngineOptions;
  /** For what is for no client alone. */
  readonly #connection: GrpcConnection;
  /** By the number of the client's connection. An engine ends what a client has left open when its connection ends. */
  readonly #clients = new Map<number, GrpcConnection>();
  /** Other locations by their URI, the least recently used one first. */
  readonly #places = new Map<string, Place>();
  /** Until when locations that could not be reached are tried last, of `performance.now()`. */
  readonly #dead = new Map<string, number>();
  #calls = 0;

  /** @param location Its address; connected with the first call */
  constructor(name: string, location: FlightLocation, options: EngineOptions) {
    this.name = name;
    this.location = location;
    this.#options = options;
    this.#connection = this.#connect();
  }

  /** Calls under way. */
  get activeCalls(): number {
    return this.#calls;
  }

  /**
   * Starts a call.
   *
   * @param uri Location of an endpoint, `null` for the engine itself
   * @throws {DipcError} `unreachable`, `timeout`, `cancelled`, `busy`, `invalid_uri`
   */
  async start<T>(uri: string | null, { headers, client, onEnd, ...call }: EngineCall<T>): Promise<GrpcCall<T>> {
    const place = uri === null ? null : this.#placeOf(uri);
    const target = place?.location ?? this.location;
    this.#calls++;
    if (place !== null) place.calls++;
    let isOver = false;
    const over = (): void => {
      if (isOver) return;
      isOver = true;
      this.#calls--;
      if (place !== null) place.calls--;
    };
    try {
      return await GrpcCall.start(place?.connection ?? this.#connectionFor(client, call.signal), {
        ...call,
        service: SERVICE_PATH,
        headers: place === null || this.#mayHaveCredentials(target) ? headers : withoutCredentials(headers),
        maxInFlightBytes: IN_FLIGHT_BYTES,
        // How long an answer may take is up to the client, which says so by a deadline or cancels.
        timeoutMs: MAX_TIMER_MS,
        peer: target.uri,
        onEnd(trailers, error) {
          over();
          onEnd?.(trailers, error);
        },
      });
    } catch (error) {
      over();
      throw error;
    }
  }

  /**
   * Calls the locations of an endpoint in turn, until one can be reached. One that could not be is tried last for a while. None is called
   * after one that may have begun to answer: what a ticket stands for may be executed each time.
   *
   * @param places Locations, in order; `null` is the engine itself
   * @param mayGoOn Whether another one may be called after a failure
   * @param call Calls one; tells when the call is sent
   * @throws What the last one has thrown
   */
  async tryEach<T>(
    places: readonly (string | null)[],
    mayGoOn: () => boolean,
    call: (place: string | null, onSent: () => void) => Promise<T>,
  ): Promise<T> {
    const now = performance.now();
    const isDead = (place: string | null): boolean => (this.#dead.get(place ?? "") ?? 0) > now;
    const ordered = [...places.filter((place) => !isDead(place)), ...places.filter(isDead)];
    for (const [index, place] of ordered.entries()) {
      let isSent = false;
      try {
        const result = await call(place, () => isSent = true);
        this.#dead.delete(place ?? "");
        return result;
      } catch (error) {
        if (!isUnreached(error)) throw error;
        this.#bury(place ?? "");
        const mayHaveBegun = isSent && !(error instanceof UntakenError);
        if (mayHaveBegun || index + 1 === ordered.length || !mayGoOn()) throw error;
      }
    }
    throw new DipcError("unreachable", "cannot call the engine: there is no location to call");
  }

  #bury(place: string): void {
    this.#dead.delete(place);
    for (const [oldest] of this.#dead) if (this.#dead.size >= MAX_LOCATIONS) this.#dead.delete(oldest);
    this.#dead.set(place, performance.now() + DEAD_MS);
  }

  /** Ends all calls and connections. Idempotent. */
  async close(): Promise<void> {
    const places = [...this.#places.values()];
    this.#places.clear();
    const connections = [this.#connection, ...this.#clients.values(), ...places.map(({ connection }) => connection)];
    this.#clients.clear();
    await Promise.all(connections.map((each) => each.close()));
  }

  /** A client's connection is over. */
  clientEnded(client: number): void {
    void this.#clients.get(client)?.close();
    this.#clients.delete(client);
  }

  #connectionFor(client: number | undefined, signal: AbortSignal | undefined): GrpcConnection {
    if (client === undefined) return this.#connection;
    // Nobody would close the connection of a client that has gone.
    signal?.throwIfAborted();
    const connection = this.#clients.get(client) ?? this.#connect();
    this.#clients.set(client, connection);
    return connection;
  }

  #connect(): GrpcConnection {
    return new GrpcConnection(this.location, { tls: this.#options.tls, timeoutMs: CONNECT_MS, awaitsServer: true });
  }

  #placeOf(uri: string): Place | null {
    const location = parseFlightLocation(uri);
    if (location.uri === this.location.uri) return null;
    const known = this.#places.get(location.uri);
    this.#places.delete(location.uri);
    const place = known ?? this.#connectable(location);
    this.#places.set(location.uri, place);
    return place;
  }

  #connectable(location: FlightLocation): Place {
    if (this.#places.size >= MAX_LOCATIONS) {
      const unused = [...this.#places].find(([, { calls }]) => calls === 0);
      if (unused === undefined) {
        throw new DipcError(
          "busy",
          `cannot fetch from another location: all ${MAX_LOCATIONS} connections to such are in use; try again later`,
        );
      }
      this.#places.delete(unused[0]);
      void unused[1].connection.close();
    }
    const tls = location.tls ? this.#options.tls : undefined;
    const connection = new GrpcConnection(location, { tls, timeoutMs: LOCATION_MS, awaitsServer: true });
    return { location, connection, calls: 0 };
  }

  #mayHaveCredentials({ host, tls }: FlightLocation): boolean {
    return this.#options.trustLocations || (host === this.location.host && (tls || !this.location.tls));
  }
}

/** Whether an error is one of reaching a server, which has not answered. */
function isUnreached(error: unknown): boolean {
  return error instanceof DipcError && error.foreign === undefined &&
    ["unreachable", "busy", "timeout", "connection_lost", "permission_denied", "invalid_uri"].includes(error.code);
}
