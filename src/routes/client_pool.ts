/**
 * The clients of one `connect`: the one that requested the flight, and those of the locations that its server named.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { FlightClient } from "../flight/client.ts";
import type { FlightClientOptions } from "../flight/client_options.ts";
import { type FlightLocation, parseFlightLocation } from "../flight/location.ts";

/** How long a location that could not be reached is tried only after all others, in milliseconds. */
const DEAD_MS = 30_000;

/** Most locations that are remembered as dead. */
const MAX_DEAD = 1000;

/** How the clients of locations are made. */
export interface ClientPoolOptions {
  /** Options of the client that requested the flight. */
  readonly client: FlightClientOptions;
  /** Whether credentials may go to other hosts. */
  readonly trustLocations: boolean;
  /** Longest wait for the connection to a location, in milliseconds. */
  readonly locationTimeoutMs: number;
}

/** Clients by location; closed together. */
export class ClientPool {
  readonly #options: ClientPoolOptions;
  readonly #clients = new Map<string, Promise<FlightClient>>();
  /** Locations that could not be reached, with the time of `performance.now()` until which that counts. */
  readonly #dead = new Map<string, number>();
  /** The client that requested the flight. */
  readonly first: FlightClient;

  /**
   * @param first The client that requested the flight; closed with this pool
   * @param options Options of that client and of those of locations
   */
  constructor(first: FlightClient, options: ClientPoolOptions) {
    this.first = first;
    this.#options = options;
  }

  /**
   * The client of a location.
   *
   * @param uri The location; `null` for the server that the flight was requested from
   * @throws {DipcError} as `FlightClient.connect`
   */
  at(uri: string | null): Promise<FlightClient> {
    if (uri === null || this.isFirst(uri)) return Promise.resolve(this.first);
    let client = this.#clients.get(uri);
    if (client === undefined) {
      const connecting = client = this.#connect(uri);
      client.catch(() => {
        if (this.#clients.get(uri) === connecting) this.#clients.delete(uri);
      });
    }
    // The latest is the last.
    this.#clients.delete(uri);
    this.#clients.set(uri, client);
    return client;
  }

  /** Whether a location could not be reached a short time ago. */
  isDead(uri: string): boolean {
    return (this.#dead.get(uri) ?? 0) > performance.now();
  }

  /** Remembers for a while that a location could not be reached. */
  noteDead(uri: string): void {
    this.#dead.delete(uri);
    this.#dead.set(uri, performance.now() + DEAD_MS);
    if (this.#dead.size > MAX_DEAD) this.#dead.delete(this.#dead.keys().next().value!);
  }

  /** Whether a location is the server that the flight was requested from. */
  isFirst(uri: string): boolean {
    const location = parsed(uri);
    return location !== null && isSamePlace(location, this.first.location);
  }

  /**
   * The error of a location, which says so if it may be due to credentials that were not sent.
   *
   * @param uri The location
   * @param error What was thrown
   */
  explain(uri: string, error: unknown): unknown {
    const isDenied = error instanceof DipcError && error.code === "permission_denied" && error.foreign !== undefined;
    const location = parsed(uri);
    if (!isDenied || location === null || this.isFirst(uri) || this.#mayHaveCredentials(location)) return error;
    const { headers, token, user, middleware } = this.#options.client;
    if ([headers, token, user, middleware].every((each) => each === undefined)) return error;
    const message = `${error.message}; the credentials were held back from ${location.uri}, which ` +
      `${this.first.location.uri} named as a location: it is another host, or lacks TLS; to send them there, set ` +
      "flight.trustLocations, or --trust-locations";
    return new LocalError(error.code, message, { cause: error.cause, foreign: error.foreign });
  }

  /** Closes the clients of locations, while none is in use, except for the latest. @param most How many stay */
  async trim(most: number): Promise<void> {
    const extra = [...this.#clients].slice(0, Math.max(0, this.#clients.size - most));
    for (const [uri] of extra) this.#clients.delete(uri);
    for (const [, client] of extra) await client.then((client) => client.close(), () => {});
  }

  /** Closes all clients. Idempotent. */
  async close(): Promise<void> {
    const others = [...this.#clients.values()];
    this.#clients.clear();
    await this.first.close();
    for (const other of others) await other.then((client) => client.close(), () => {});
  }

  async #connect(uri: string): Promise<FlightClient> {
    const location = parseFlightLocation(uri);
    const { client, locationTimeoutMs } = this.#options;
    const beside = { connectTimeoutMs: locationTimeoutMs, awaitsServer: true };
    const tls = location.tls ? client.tls : undefined;
    if (this.#mayHaveCredentials(location)) {
      return await FlightClient._connectBeside(uri, { ...client, tls }, { ...beside, cookiesOf: this.first });
    }
    const { headers: _, token: _token, user: _user, password: _password, middleware: _middleware, ...others } = client;
    return await FlightClient._connectBeside(uri, { ...others, tls }, beside);
  }

  /** A server must not be able to have a user's password sent anywhere, or in the clear, just by naming a location. */
  #mayHaveCredentials(location: FlightLocation): boolean {
    const original = this.first.location;
    return this.#options.trustLocations || (isSameHost(location, original) && (location.tls || !original.tls));
  }
}

function parsed(uri: string): FlightLocation | null {
  try {
    return parseFlightLocation(uri);
  } catch {
    return null;
  }
}

function isSamePlace(a: FlightLocation, b: FlightLocation): boolean {
  // 127.0.0.1 and ::1 may have different servers on one port.
  const isOneAddress = hostOf(a) === hostOf(b) || [a, b].some((each) => hostOf(each) === "localhost");
  return isOneAddress && isSameHost(a, b) && a.tls === b.tls && a.socketPath === b.socketPath && a.port === b.port;
}

/** Names of this machine for itself: a server that listens there may be named by any of them. */
const THIS_MACHINE = new Set(["localhost", "127.0.0.1", "::1"]);

/** Whether both are one host by their names, which is all that is known of other machines. */
function isSameHost(a: FlightLocation, b: FlightLocation): boolean {
  return hostOf(a) === hostOf(b) || (a.port === b.port && [a, b].every((each) => THIS_MACHINE.has(hostOf(each))));
}

/** The host without the dot that ends a name of DNS. */
function hostOf({ host }: FlightLocation): string {
  return host.replace(/\.$/, "");
}
