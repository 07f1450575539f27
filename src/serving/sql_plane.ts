/**
 * Flight SQL as a part of a server: its results are fetched by signed tickets, over Flight and over UCX.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FlightEndpoint } from "../flight/model.ts";
import type { FlightHandlers } from "../flight/service/options.ts";
import type { SqlEngine } from "../flight_sql/engine.ts";
import { type SqlLimits, sqlLimits } from "../flight_sql/server/limits.ts";
import { PART_PREFIX, type SqlHost, SqlService } from "../flight_sql/server/service.ts";
import { refusal } from "../options.ts";
import type { Approach } from "../reachable_host.ts";
import type { Entry } from "./entry.ts";
import { looksLikeTicket, type Tickets } from "./tickets.ts";

const NOTHING = new Uint8Array(0);

/** Whether a ticket stands for a part of a result. */
export function isResultName(name: string): boolean {
  return name.startsWith(PART_PREFIX);
}

/** The SQL side of a server. */
export class SqlPlane implements SqlHost {
  readonly #service: SqlService;
  readonly #tickets: Tickets;
  /** Locations of a part of a result for a client that has reached this server in some way. */
  locationsOf: (name: string, approach: Approach) => readonly string[] = () => [];

  /** @throws {DipcError} `invalid_argument` for a bad limit, or for what is not an engine */
  constructor(engine: SqlEngine, limits: Partial<SqlLimits> | undefined, tickets: Tickets) {
    if (typeof engine?.connect !== "function" || typeof engine.facts !== "object") {
      throw new DipcError(
        "invalid_argument",
        refusal("flight.sql", typeof engine, "an engine, such as that of duckDbEngine"),
      );
    }
    this.#tickets = tickets;
    this.#service = new SqlService(engine, sqlLimits(limits), this);
  }

  /** The part of a result that a ticket names. */
  find(name: string): Entry | undefined {
    if (!isResultName(name)) return undefined;
    const dataset = this.#service.find(name);
    return dataset && { name, dataset, owned: false };
  }

  async endpoint(name: string, isSmall: boolean, lifetimeMs: number, approach: Approach): Promise<FlightEndpoint> {
    const { ticket, expiresAtMs } = await this.#tickets.issue(name, { lifetimeMs, once: false });
    return {
      ticket,
      // Without a location it is fetched by the connection that it came by.
      locations: isSmall ? [] : this.locationsOf(name, approach),
      expirationTime: new Date(expiresAtMs),
      appMetadata: NOTHING,
    };
  }

  async nameOf(ticket: Uint8Array): Promise<string | null> {
    return looksLikeTicket(ticket) ? (await this.#tickets.verify(ticket, "both")).dataset : null;
  }

  /** A connection of a client is over. */
  connectionEnded(connection: number): void {
    this.#service.connectionEnded(connection);
  }

  /** Ends what clients have open. */
  close(): Promise<void> {
    return this.#service.close();
  }

  /** The calls of SQL, after those of the program. */
  handlersWith(own: FlightHandlers): FlightHandlers {
    const sql = this.#service.handlers;
    return {
      ...own,
      getFlightInfo: async (...call) => await own.getFlightInfo?.(...call) ?? await sql.getFlightInfo!(...call),
      pollFlightInfo: async (...call) => await own.pollFlightInfo?.(...call) ?? await sql.pollFlightInfo!(...call),
      getSchema: async (...call) => await own.getSchema?.(...call) ?? await sql.getSchema!(...call),
      doGet: async (...call) => await own.doGet?.(...call) ?? await sql.doGet!(...call),
      doPut: async (...call) => {
        const isTaken = own.doPut !== undefined && await own.doPut(...call) !== false;
        if (!isTaken) return await sql.doPut!(...call);
      },
      cancelFlightInfo: async (...call) =>
        await own.cancelFlightInfo?.(...call) ?? await sql.cancelFlightInfo!(...call),
      renewFlightEndpoint: async (...call) =>
        await own.renewFlightEndpoint?.(...call) ?? await sql.renewFlightEndpoint!(...call),
      _changeSession: sql._changeSession,
      actions: { ...sql.actions, ...own.actions },
    };
  }
}
