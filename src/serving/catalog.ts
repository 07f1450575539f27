/**
 * The datasets of a server as flights: their names, their locations, and the tickets for them.
 *
 * @module
 */
import type { Admission, Grant } from "./admission.ts";
import { admitByName } from "./admission.ts";
import type { Entry } from "./entry.ts";
import { DipcError } from "../errors.ts";
import { frameMetadata } from "../ipc/frame.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { fromDataset } from "../tell_peer.ts";
import type { StreamRole } from "../protocol/role.ts";
import type { Approach } from "../reachable_host.ts";
import {
  descriptorName,
  type FlightDescriptor,
  type FlightEndpoint,
  type FlightInfo,
  readableName,
} from "../flight/model.ts";
import type { DatasetGrant, FlightCatalog } from "../flight/service/parts.ts";
import { looksLikeTicket, type Tickets } from "./tickets.ts";

const NOTHING = new Uint8Array(0);

/** What a {@linkcode Catalog} needs. */
export interface CatalogOptions {
  /** What is served. */
  entries: ReadonlyMap<string, Entry>;
  /** Issues and checks tickets. */
  tickets: Tickets;
  /** Whether the name of a dataset is also accepted as a ticket. */
  namesAreTickets: boolean;
  /** Finds what is served by tickets alone. */
  find?(name: string): Entry | undefined;
}

/** The datasets of a server as flights. Also decides who may fetch over UCX. */
export class Catalog implements Admission, FlightCatalog {
  readonly #options: CatalogOptions;
  readonly #byName: Admission;
  /** Locations of a dataset, in order of preference, for a client that has reached this server in some way. */
  locationsOf: (name: string, approach: Approach) => readonly string[] = () => [];

  /** @param options Datasets and tickets */
  constructor(options: CatalogOptions) {
    this.#options = options;
    this.#byName = admitByName(options.entries);
  }

  /**
   * Checks a ticket.
   *
   * @param ticket As it came from the client
   * @param role Half of the stream that it requests
   * @throws {DipcError} `permission_denied`, `not_found`
   */
  async admit(ticket: Uint8Array, role: StreamRole): Promise<Grant> {
    const { entries, tickets, namesAreTickets } = this.#options;
    if (namesAreTickets && !looksLikeTicket(ticket)) return await this.#byName.admit(ticket, role);
    const claims = await tickets.verify(ticket, role);
    const entry = entries.get(claims.dataset) ?? this.#options.find?.(claims.dataset);
    if (entry === undefined) {
      throw new DipcError(
        "not_found",
        `cannot fetch ${JSON.stringify(claims.dataset)}: this server no longer has the dataset`,
      );
    }
    return { entry, mustSpend: true, spend: () => tickets.spend(claims, role) };
  }

  /**
   * Checks the ticket of a DoGet.
   *
   * @throws {DipcError} `permission_denied`, `not_found`
   */
  async grant(ticket: Uint8Array): Promise<DatasetGrant> {
    const { entry, spend } = await this.admit(ticket, "both");
    return { name: entry.name, dataset: entry.inHost ?? entry.dataset, spend };
  }

  /** Every dataset whose name contains the criteria, as UTF-8 text; all of them if those are empty. */
  async *list(criteria: Uint8Array, approach: Approach): AsyncGenerator<FlightInfo, undefined> {
    const text = new TextDecoder().decode(criteria);
    for (const entry of [...this.#options.entries.values()]) {
      if (!entry.name.includes(text)) continue;
      // One that cannot be read now is listed as it was; whoever fetches it learns why.
      await Promise.resolve(entry.dataset.refresh?.()).catch(() => {});
      yield await this.#info(entry, { path: [entry.name] }, approach);
    }
  }

  /** @throws {DipcError} `not_found` */
  async info(descriptor: FlightDescriptor, approach: Approach): Promise<FlightInfo> {
    const entry = this.#entry(descriptor);
    await fromDataset(() => entry.dataset.refresh?.());
    return await this.#info(entry, descriptor, approach);
  }

  /** @throws {DipcError} `not_found` */
  async schema(descriptor: FlightDescriptor): Promise<MessageHeader> {
    const { dataset } = this.#entry(descriptor);
    await fromDataset(() => dataset.refresh?.());
    return dataset.schema;
  }

  /**
   * Rejects the tickets of a flight from now on.
   *
   * @returns false if one of them is not this server's, or is not valid any more
   */
  async cancel(info: FlightInfo): Promise<boolean> {
    const { tickets } = this.#options;
    try {
      const claims = await Promise.all(info.endpoints.map(({ ticket }) => tickets.verify(ticket, "both")));
      for (const each of claims) tickets.revoke(each);
      return claims.length > 0;
    } catch {
      return false;
    }
  }

  /**
   * A new ticket for one that is still valid; the old one is not revoked.
   *
   * @throws {DipcError} `permission_denied`
   */
  async renew(endpoint: FlightEndpoint): Promise<FlightEndpoint> {
    const { tickets } = this.#options;
    const { dataset, once } = await tickets.verify(endpoint.ticket, "both");
    const { ticket, expiresAtMs } = await tickets.issue(dataset, { once });
    return { ...endpoint, ticket, expirationTime: new Date(expiresAtMs) };
  }

  #entry(descriptor: FlightDescriptor): Entry {
    const name = descriptorName(descriptor);
    const entry = this.#options.entries.get(name);
    if (entry === undefined) {
      const readable = readableName(descriptor);
      const what = readable === null ? "with that command" : `${JSON.stringify(readable)}`;
      throw new DipcError(
        "not_found",
        `cannot find the flight ${what}: this server has none of that name; ListFlights lists its flights`,
      );
    }
    return entry;
  }

  async #info(
    { name, dataset }: Entry,
    descriptor: FlightDescriptor,
    approach: Approach,
  ): Promise<FlightInfo> {
    const { ticket, expiresAtMs } = await this.#options.tickets.issue(name);
    return {
      schema: frameMetadata(dataset.schema),
      descriptor,
      endpoints: [{
        ticket,
        locations: this.locationsOf(name, approach),
        expirationTime: new Date(expiresAtMs),
        appMetadata: NOTHING,
      }],
      totalRecords: BigInt(dataset.rows ?? -1),
      totalBytes: BigInt(dataset.bodyBytes ?? -1),
      ordered: true,
      appMetadata: NOTHING,
    };
  }
}
