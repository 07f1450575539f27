/**
 * The clients of one `connect`: the one that was asked for the flight, and those of the locations that it names.
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
  /** The client of the server that was asked for the flight. */
  readonly first: FlightClient;

  /**
   * @param first The client of the server that was asked for the flight; closed with this
   * @param options With which it was made
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
   * @param uri The location; `null` for the server that was asked for the flight
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
    const asked = this.first.location;
    if (isSamePlace(location, asked)) return this.first;
    const { tls, timeoutMs, limits, maxMessageBytes, pool, signal, middleware, cookies } = this.#options;
    const common = { timeoutMs, limits, maxMessageBytes, pool, signal, cookies, tls: location.tls ? tls : undefined };
    // A server must not be able to send a user's password to anywhere, or in the clear, just by naming a location.
    const isSafe = this.#trustLocations || (location.host === asked.host && (location.tls || !asked.tls));
    if (!isSafe) return await FlightClient.connect(uri, common);
    const { headers, token, user, password } = this.#options;
    return await FlightClient.connect(uri, { ...common, middleware, headers, token, user, password });
  }
}

function isSamePlace(a: FlightLocation, b: FlightLocation): boolean {
  return a.tls === b.tls && a.host === b.host && a.port === b.port && a.socketPath === b.socketPath;
}
