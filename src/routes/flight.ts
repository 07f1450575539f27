/**
 * The route by a Flight server: requests the locations of a flight, and starts the streams of all its endpoints.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { type ReaderLimits, timeoutOption } from "../limits.ts";
import { integerIn } from "../options.ts";
import { isGranted } from "../permissions.ts";
import { hostPool } from "../memory/host_pool.ts";
import type { RouteOptions } from "./options.ts";
import type { OpenStream, Route } from "./route.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { FlightClient } from "../flight/client.ts";
import { ClientPool } from "./client_pool.ts";
import { FlightInput } from "./flight_input.ts";
import { parseFlightLocation } from "../flight/location.ts";
import type { FlightDescriptorInit, FlightInfo } from "../flight/model.ts";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";
import { encodeSchema } from "../ipc/encode.ts";
import { Schema } from "apache-arrow";

/** Longest wait for the answer of a `ucx:` location, in milliseconds, by default. */
const UCX_TIMEOUT_MS = 1500;
/** Longest wait for the connection to a location, in milliseconds, by default. */
const LOCATION_TIMEOUT_MS = 5000;
/** Endpoints that are read concurrently, by default. */
const PARALLEL_ENDPOINTS = 4;

/** Most endpoints of one flight: each holds memory until the stream has ended. */
const MAX_ENDPOINTS = 65_536;

/** The route of the URIs of Flight servers. */
export const flightRoute: Route = {
  name: "flight",
  open: (uri, options) => openFlight(uri as string | URL, options),
};

async function openFlight(uri: string | URL, options: RouteOptions): Promise<OpenStream> {
  const { signal, timeoutMs, limits, route, flight = {} } = options;
  const { headers, token, user, password, tls, cookies, middleware, maxMessageBytes } = flight;
  const ucxTimeoutMs = integerIn("flight.ucxTimeoutMs", flight.ucxTimeoutMs ?? UCX_TIMEOUT_MS, 1);
  const locationTimeoutMs = timeoutOption("flight.locationTimeoutMs", flight.locationTimeoutMs ?? LOCATION_TIMEOUT_MS);
  const parallel = integerIn("flight.parallelEndpoints", flight.parallelEndpoints ?? PARALLEL_ENDPOINTS, 1);
  const requested = requestedFlight(uri, options);
  // Without a prompt: Flight works without native libraries.
  const mayUseFfi = isGranted({ name: "ffi" });
  const pool = options.pool ?? (mayUseFfi ? hostPool() : undefined);
  const credentials = { headers, token, user, password, tls, cookies, middleware };
  const clientOptions = { signal, timeoutMs, limits, pool, maxMessageBytes, ...credentials };
  const first = await FlightClient.connect(uri, clientOptions);
  const trustLocations = flight.trustLocations ?? false;
  const clients = new ClientPool(first, { client: clientOptions, trustLocations, locationTimeoutMs });
  let input: FlightInput | null = null;
  try {
    const info = "ticket" in requested
      ? infoOfTicket(requested.ticket)
      : await first.getFlightInfo(requested.descriptor, { signal });
    checkEndpoints(info);
    if (info.endpoints.length === 0) return await openEmpty(info, clients, limits);
    input = new FlightInput({
      clients,
      route: "ticket" in requested ? "flight" : route,
      flightReason: route === "flight"
        ? 'requested by route: "flight"'
        : "requested by ticket, which names no location",
      ucxProblem: mayUseFfi || route === "ucx" || options.transport !== undefined
        ? null
        : "permission_denied: UCX needs --allow-ffi",
      ucxTimeoutMs,
      timeoutMs,
      limits,
      signal,
      library: options.library,
      transport: options.transport,
      share: options.share,
      remoteKeys: options.remoteKeys,
      keep: options.keep,
      flightSchema: () => info.schema.byteLength === 0 ? null : readEncapsulatedSchema(info.schema, limits),
      ucxPool: () => options.ucxPool ?? options.pool ?? hostPool(),
      endpoints: info.endpoints,
      ordered: info.ordered,
      parallel,
    });
    return { input, schema: await input.open(), routes: input.routes };
  } catch (error) {
    await input?.close();
    await clients.close();
    throw error;
  }
}

function checkEndpoints({ endpoints }: FlightInfo): void {
  if (endpoints.length <= MAX_ENDPOINTS) return;
  throw new LocalError(
    "limit_exceeded",
    `cannot read the flight: it has ${endpoints.length} endpoints, connect reads ${MAX_ENDPOINTS} at most; read them with ` +
      "FlightClient",
  );
}

function requestedFlight(
  uri: string | URL,
  { ticket, route, flight: { path, command } = {} }: RouteOptions,
): { ticket: string | Uint8Array } | { descriptor: FlightDescriptorInit } {
  const named = [ticket, path, command].filter((value) => value !== undefined).length;
  if (named > 1) {
    throw new LocalError(
      "invalid_argument",
      "cannot choose a flight: flight.path, flight.command and ticket exclude each other; give one",
    );
  }
  if (ticket !== undefined) {
    if (route === "ucx") {
      throw new LocalError(
        "invalid_argument",
        "cannot fetch by UCX: a ticket names no ucx: locations; give flight.path or flight.command, or leave route out",
      );
    }
    return { ticket };
  }
  if (command !== undefined) return { descriptor: { command } };
  const steps = path ?? parseFlightLocation(uri).path;
  if (steps.length === 0) {
    throw new LocalError(
      "invalid_argument",
      "cannot choose a flight: none is named; give the path of the URI, flight.path, flight.command or ticket",
    );
  }
  return { descriptor: { path: steps } };
}

/** A ticket that the caller passes is redeemed at the server of the URI. */
function infoOfTicket(ticket: string | Uint8Array): FlightInfo {
  const bytes = typeof ticket === "string" ? new TextEncoder().encode(ticket) : ticket;
  const nothing = new Uint8Array(0);
  return {
    schema: nothing,
    descriptor: null,
    endpoints: [{ ticket: bytes, locations: [], expirationTime: null, appMetadata: nothing }],
    totalRecords: -1n,
    totalBytes: -1n,
    ordered: false,
    appMetadata: nothing,
  };
}

/** A flight without endpoints has no data; its schema is all there is. */
async function openEmpty(info: FlightInfo, clients: ClientPool, limits: ReaderLimits): Promise<OpenStream> {
  // What only does something, such as a statement that creates a table, has neither endpoints nor columns.
  const schema = info.schema.byteLength === 0 ? emptySchema() : readEncapsulatedSchema(info.schema, limits);
  await clients.close();
  const input: MessageInput = { metadataBytes: 0, next: () => null, close: () => Promise.resolve() };
  return {
    input,
    schema,
    routes: { transports: [], transportsReason: "", endpoints: [], reason: "the flight has no endpoints" },
  };
}

function emptySchema(): MessageHeader {
  return encodeSchema(new Schema([]));
}
