/**
 * The options of `serveGateway`, and how they are checked.
 *
 * @module
 */
import { MIB } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { type FlightLocation, parseFlightLocation } from "../flight/location.ts";
import { type FlightServerLimits, serverLimits } from "../flight/service/options.ts";
import type { FlightServerTls, FlightTlsOptions } from "../grpc/tls.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { checkOptionNames, integerIn, oneOf } from "../options.ts";
import { advertisedHost } from "../reachable_host.ts";
import type { ServeOptions } from "../serving/options.ts";
import type { TicketOptions } from "../serving/tickets.ts";
import type { Transport } from "../wire/transport.ts";
import type { FetchLimits } from "./fetches.ts";

/** Options of {@linkcode serveGateway}. */
export interface GatewayOptions {
  /**
   * The Flight server behind the gateway, as `grpc://HOST:PORT`, or several by their names. A call says by the header `dipc-engine`
   * which one it is for, or by the first step of its path; otherwise it is for the first one.
   */
  engines: string | URL | Readonly<Record<string, string | URL>>;
  /** Address to bind, by Flight and by UCX. Default `127.0.0.1`; a loopback address is reachable from this machine only. */
  address?: string;
  /** Port of the Flight side. Default 0, any free one. */
  port?: number;
  /** Port of the UCX side. Default 0, any free one. */
  ucxPort?: number;
  /** Host that locations name. Default: as for `serve`. */
  advertise?: string;
  /** Certificates of the Flight side; with them its scheme is `grpc+tls:`. */
  tls?: FlightServerTls;
  /** Certificates for the connections to engines whose scheme is `grpc+tls:`. */
  engineTls?: FlightTlsOptions;
  /**
   * Whether credentials of clients may go to other hosts, which an engine names as locations of its endpoints. Default false: such
   * an endpoint is fetched without them.
   */
  trustLocations?: boolean;
  /** Keys and lifetime of the tickets that the gateway gives out in place of those of its engines; as for `serve`. */
  tickets?: Pick<TicketOptions, "keys" | "lifetimeMs">;
  /** Whether UCX must be available; as for `serve`. Default `"required"`. */
  ucx?: "required" | "optional" | "off";
  /** Whether clients on this machine may read bodies in the gateway's memory instead of receiving them. Default false. */
  share?: boolean;
  /** Limits of what they may read in place; as for `serve`. */
  sharing?: Omit<NonNullable<ServeOptions["sharing"]>, "remoteKeys">;
  /**
   * Whether clients that request the same data of an engine while it is being fetched, with the same credentials, get it from one
   * fetch. `maxBytes` is the most that is kept for those who come later or are slower, of all fetches, by default 128 MiB: above it
   * the fastest of them waits for the slowest, and who comes later has a fetch of its own. A whole result can be had for
   * `keepMs` after it has come, by default not at all. Only for engines whose tickets can be fetched more than once. Default false.
   */
  oneFetch?: boolean | { maxBytes?: number; keepMs?: number };
  /** Limits of the Flight side; those of uploads do not apply, because uploads pass through. */
  limits?: Partial<Omit<FlightServerLimits, "maxUploadBytes" | "maxTotalUploadBytes" | "maxUploads" | "maxSessions">>;
  /** Path of libucp. Default: as for `serve`. */
  library?: string;
  /** What carries the protocol of the UCX side. Default: UCX. */
  transport?: Transport;
}

const KEYS: Readonly<Record<keyof GatewayOptions, true>> = {
  ...{ engines: true, address: true, port: true, ucxPort: true, advertise: true, tls: true, engineTls: true },
  ...{ trustLocations: true, tickets: true, ucx: true, share: true, sharing: true, limits: true, library: true },
  ...{ transport: true, oneFetch: true },
};

/** The options, checked. */
export interface GatewaySettings extends GatewayOptions {
  readonly address: string;
  readonly port: number;
  readonly ucxPort: number;
  readonly ucx: "required" | "optional" | "off";
  readonly serverLimits: FlightServerLimits;
  readonly fetchLimits: FetchLimits | null;
  /** The engines by name, in order; the name of a single one is empty. */
  readonly places: ReadonlyMap<string, FlightLocation>;
}

const SHARING_KEYS: Readonly<Record<keyof NonNullable<GatewayOptions["sharing"]>, true>> = {
  ...{ arenaBytes: true, clientBytes: true, leaseMs: true, minBodyBytes: true },
};

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {DipcError} `invalid_argument`, `invalid_uri`
 */
export function gatewaySettings(options: GatewayOptions): GatewaySettings {
  checkOptionNames("serveGateway", options, KEYS);
  advertisedHost(options.advertise);
  if (options.share === true && options.ucx === "off") {
    throw new DipcError("invalid_argument", "cannot share memory without UCX: leave share or ucx out");
  }
  checkOptionNames("serveGateway", options.sharing ?? {}, SHARING_KEYS, "sharing.");
  return {
    ...options,
    address: options.address ?? "127.0.0.1",
    port: integerIn("port", options.port ?? 0, 0, 65_535),
    ucxPort: integerIn("ucxPort", options.ucxPort ?? 0, 0, 65_535),
    ucx: oneOf("ucx", options.ucx ?? "required", ["required", "optional", "off"]),
    serverLimits: serverLimits(options.limits),
    fetchLimits: fetchLimits(options.oneFetch),
    places: placesOf(options.engines),
  };
}

function fetchLimits(oneFetch: GatewayOptions["oneFetch"] = false): FetchLimits | null {
  if (oneFetch === false) return null;
  const given = oneFetch === true ? {} : oneFetch;
  checkOptionNames("serveGateway", given, { maxBytes: true, keepMs: true }, "oneFetch.");
  const { maxBytes, keepMs } = given as { maxBytes?: number; keepMs?: number };
  return {
    maxBytes: integerIn("oneFetch.maxBytes", maxBytes ?? 128 * MIB, 0),
    keepMs: integerIn("oneFetch.keepMs", keepMs ?? 0, 0, MAX_TIMER_MS),
  };
}

function placesOf(engines: GatewayOptions["engines"]): Map<string, FlightLocation> {
  if (typeof engines === "string" || engines instanceof URL) return new Map([["", parseFlightLocation(engines)]]);
  if (typeof engines !== "object" || engines === null || Object.keys(engines).length === 0) {
    throw new DipcError(
      "invalid_argument",
      "cannot start the gateway: engines names no Flight server; give the URI of one, or several by their names",
    );
  }
  return new Map(
    Object.entries(engines).map(([name, uri]) => {
      // A name is a header's value and a step of a path.
      if (!/^[\w.-]{1,255}$/.test(name)) {
        throw new DipcError(
          "invalid_argument",
          `cannot use ${JSON.stringify(name)} as the name of an engine: give 1 to 255 letters, digits, "_", "-" or "."`,
        );
      }
      return [name, parseFlightLocation(uri)];
    }),
  );
}
