/**
 * The clients of one `connect`: the one that requested the flight, and those of the locations that its server named.
 *
 * @module
 */
import { FlightClient } from "../flight/client.ts";
import type { FlightClientOptions } from "../flight/client_options.ts";
import { type FlightLocation, parseFlightLocation } from "../flight/location.ts";

/** Clients by location; closed together. */
export class ClientPool {
  readonly #options: FlightClientOptions;
  readonly #trustLocations: boolean;
  readonly #clients = new Map<string, Promise<FlightClient>>();
  /** The client that requested the flight. */
  readonly first: FlightClient;

  /**
   * @param first The client that requested the flight; closed with this pool
   * @param options Options of that client
   * @param trustLocations Whether credentials may go to other hosts
   */
  constructor(first: FlightClient, options: FlightClientOptions, trustLocations: boolean) {
    this.first = first;
    this.#options = options;
    this.#trustLocations = trustLocations;
  }

  /**
   * The client of a location.
   *
   * @param uri The location; `null` for the server that the flight was requested from
   * @throws {DipcError} as `FlightClient.connect`
   */
  at(uri: string | null): Promise<FlightClient> {
    if (uri === null) return Promise.resolve(this.first);
    let client = this.#clients.get(uri);
    if (client === undefined) {
      client = this.#connect(uri);
      this.#clients.set(uri, client);
      client.catch(() => this.#clients.delete(uri));
    }
    return client;
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
    const original = this.first.location;
    if (isSamePlace(location, original)) return this.first;
    const { tls, timeoutMs, limits, maxMessageBytes, pool, signal, middleware, cookies } = this.#options;
    const common = { timeoutMs, limits, maxMessageBytes, pool, signal, cookies, tls: location.tls ? tls : undefined };
    // A server must not be able to have a user's password sent anywhere, or in the clear, just by naming a location.
    const isSafe = this.#trustLocations || (location.host === original.host && (location.tls || !original.tls));
    if (!isSafe) return await FlightClient.connect(uri, common);
    const { headers, token, user, password } = this.#options;
    return await FlightClient.connect(uri, { ...common, middleware, headers, token, user, password });
  }
}

function isSamePlace(a: FlightLocation, b: FlightLocation): boolean {
  return a.tls === b.tls && a.host === b.host && a.port === b.port && a.socketPath === b.socketPath;
}
