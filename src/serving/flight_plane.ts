/**
 * The Flight side of a server of datasets: the same datasets, with tickets that both sides accept.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { checkOptionNames } from "../options.ts";
import { requirePermissions } from "../permissions.ts";
import { statPath } from "../sources/paths.ts";
import type { Admission } from "./admission.ts";
import type { Entry } from "./entry.ts";
import type { Approach } from "../reachable_host.ts";
import type { Dataset } from "../sources/dataset.ts";
import { type TicketOptions, Tickets } from "./tickets.ts";
import { Catalog } from "./catalog.ts";
import { SqlPlane } from "./sql_plane.ts";
import type { SqlEngine } from "../flight_sql/engine.ts";
import type { SqlLimits } from "../flight_sql/server/limits.ts";
import { REUSE_CONNECTION } from "../flight/location.ts";
import { FlightServer } from "../flight/service/flight_server.ts";
import { FLIGHT_SERVER_KEYS, type FlightServerOptions, serverLimits } from "../flight/service/options.ts";
import type { UploadSink } from "../flight/service/parts.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { IngestUploads } from "./ingest_uploads.ts";
import { Uploads } from "./uploads.ts";

/** Options of the Flight side of a server of datasets. */
export interface FlightPlaneOptions extends FlightServerOptions {
  /** Tickets: keys, lifetime, for one use or many. */
  tickets?: TicketOptions;
  /**
   * Whether nothing is served without a ticket of this server, by Flight and by UCX; otherwise a dataset's name is a ticket, too.
   * Default: true if clients must authenticate (`auth`, or `tls.clientCa`), false otherwise.
   */
  requireTickets?: boolean;
  /**
   * Whether clients may upload datasets (DoPut), which are then served like the others: `true` keeps them in memory, a path
   * names the folder for them. An object gets each upload as it arrives, with the name that the client gave, and writes it
   * somewhere else, such as into a table by ADBC's `ingest`; it is not served then. Default false.
   */
  allowPut?: boolean | string | {
    ingest(
      table: string,
      upload: { readonly schemaHeader: MessageHeader; messages(): AsyncGenerator<IpcMessage, undefined> },
    ): Promise<unknown>;
  };
  /**
   * Whether UCX must be available. `"required"` by default; `"optional"` serves by Flight alone if libucp cannot be opened,
   * `"off"` always does.
   */
  ucx?: "required" | "optional" | "off";
  /** Answers Flight SQL by an engine, such as that of `duckDbEngine`; close it after the server. Default: none. */
  sql?: SqlEngine;
  /** How much clients of `sql` may ask. */
  sqlLimits?: Partial<SqlLimits>;
  /** Whether clients on this machine may read large results of `sql` in this server's memory, as those of shared datasets. Default false. */
  sqlShare?: boolean;
}

const KEYS: Readonly<Record<keyof FlightPlaneOptions, true>> = {
  ...FLIGHT_SERVER_KEYS,
  ...{ tickets: true, requireTickets: true, allowPut: true, ucx: true, sql: true, sqlLimits: true, sqlShare: true },
};

/** The server of the datasets, as its Flight side uses it. */
export interface PlaneHost {
  /** Everything that is served by name; uploads are added to it. */
  entries: Map<string, Entry>;
  /** URIs of a dataset over UCX, for a client that has reached this server in some way. */
  urisOf(name: string, approach: Approach): readonly string[];
  /** Serves an uploaded dataset from now on; an earlier one of that name is closed. */
  publish(name: string, dataset: Dataset): void | Promise<void>;
}

/** The Flight side of a server of datasets, before and after it listens. */
export class FlightPlane {
  readonly #options: FlightPlaneOptions;
  readonly #catalog: Catalog;
  readonly #uploads: UploadSink | null;
  readonly #host: PlaneHost;
  readonly #sql: SqlPlane | null;

  /** @ignore Use {@linkcode FlightPlane.open}. */
  constructor(options: FlightPlaneOptions, tickets: Tickets, host: PlaneHost) {
    this.#options = options;
    this.#host = host;
    this.#sql = options.sql === undefined ? null : new SqlPlane(options.sql, options.sqlLimits, tickets);
    this.#catalog = new Catalog({
      entries: host.entries,
      tickets,
      find: (name) => this.#sql?.find(name),
      // If callers must authenticate, a guessable name must not be a ticket.
      namesAreTickets: !(options.requireTickets ?? (options.auth !== undefined || options.tls?.clientCa !== undefined)),
    });
    const { allowPut = false } = options;
    const limits = serverLimits(options.limits);
    const uploaded = new Set<string>();
    this.#uploads = allowPut === false
      ? null
      : typeof allowPut === "object"
      ? new IngestUploads(allowPut, limits.maxUploadBytes)
      : new Uploads({
        folder: typeof allowPut === "string" ? allowPut : null,
        maxBytes: limits.maxUploadBytes,
        maxTotalBytes: limits.maxTotalUploadBytes,
        maxUploads: limits.maxUploads,
        isTaken: (name) => host.entries.has(name) && !uploaded.has(name),
        publish: async (name, dataset) => {
          uploaded.add(name);
          await host.publish(name, dataset);
        },
      });
  }

  /**
   * Prepares the tickets.
   *
   * @throws {DipcError} `invalid_argument` for bad keys, or a folder for uploads that is not one; `not_found`,
   * `permission_denied` if uploads could not be kept there
   */
  static async open(options: FlightPlaneOptions, host: PlaneHost): Promise<FlightPlane> {
    checkOptionNames("serve", options, KEYS, "flight.");
    if (typeof options.allowPut === "string") checkUploadFolder(options.allowPut);
    return new FlightPlane(options, await Tickets.open(options.tickets), host);
  }

  /** Who may fetch over UCX. */
  get admission(): Admission {
    return this.#catalog;
  }

  /**
   * Listens.
   *
   * @param address Address to bind, if the options have none
   * @param advertise Host that locations name, if the options have none
   * @throws {DipcError} `invalid_argument`, `unreachable`, `permission_denied`
   */
  async listen(address: string, advertise: string | undefined): Promise<FlightServer> {
    const options = { ...this.#options, address: this.#options.address ?? address };
    options.advertise ??= advertise;
    const sql = this.#sql;
    if (sql !== null) options.handlers = sql.handlersWith(options.handlers ?? {});
    const server = await FlightServer._start(options, {
      catalog: this.#catalog,
      uploads: this.#uploads,
      onConnectionEnd: sql === null ? undefined : (connection) => sql.connectionEnded(connection),
    });
    this.#catalog.locationsOf = (name, approach) => [
      ...this.#host.urisOf(name, approach),
      server._locationFor(approach),
    ];
    if (sql === null) return server;
    // ADBC's driver tries them in their order, and waits 20 seconds for one that it does not understand.
    sql.locationsOf = (name, approach) => [
      server._locationFor(approach),
      ...this.#host.urisOf(name, approach),
      REUSE_CONNECTION,
    ];
    return server;
  }

  /** Ends what clients have open. Call it after the server has stopped. */
  async close(): Promise<void> {
    await this.#sql?.close();
  }
}

/** Nothing that makes every upload fail is found by the first client. */
function checkUploadFolder(path: string): void {
  requirePermissions(`keep uploads in "${path}"`, [
    { descriptor: { name: "read", path } },
    { descriptor: { name: "write", path } },
  ]);
  if (statPath(path).isDirectory) return;
  throw new DipcError("invalid_argument", `cannot keep uploads in "${path}": it is not a folder; give the path of one`);
}
