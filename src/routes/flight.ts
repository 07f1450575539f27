/**
 * The gRPC road of `connect`: asks a Flight server where the data is, and starts the streams of all endpoints.
 *
 * @module
 */
import type { ConnectOptions } from "../connect.ts";
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { positiveInteger, type ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import type { Roads } from "./route.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { FlightClient } from "../flight/client.ts";
import { ClientPool } from "./client_pool.ts";
import { FlightInput } from "./flight_input.ts";
import { parseFlightLocation } from "../flight/location.ts";
import type { FlightDescriptorInit, FlightInfo } from "../flight/model.ts";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";

/** A `ucx:` location that has not answered within this time is given up. */
const UCX_TIMEOUT_MS = 1500;
/** Endpoints that are read at a time. */
const PARALLEL_ENDPOINTS = 4;

/** Endpoints of one flight at most: each holds memory until the stream has ended. */
const MAX_ENDPOINTS = 65_536;

/** Options of {@linkcode openFlight}: those of `connect`, checked. */
export interface OpenFlightOptions extends Omit<ConnectOptions, "memory"> {
  /** Where bodies that come by UCX are received, where that is not `pool`. */
  ucxPool?: Pool;
  timeoutMs: number;
  limits: ReaderLimits;
}

/** A running stream of a flight. */
export interface OpenFlightStream {
  /** The messages after the schema. */
  input: MessageInput;
  /** The schema message. */
  schema: MessageHeader;
  /** The roads that the endpoints take. */
  roads: Roads;
}

/**
 * Starts the stream of a flight.
 *
 * @param uri Where the Flight server is
 * @param options Which flight, by which road, with which credentials
 * @throws {DipcError} as `connect` does
 */
export async function openFlight(uri: string | URL, options: OpenFlightOptions): Promise<OpenFlightStream> {
  const { signal, timeoutMs, limits, headers, token, user, password, tls } = options;
  const via = options.via ?? "auto";
  if (via !== "auto" && via !== "ucx" && via !== "flight") {
    throw new DipcError("invalid_argument", `via is auto, ucx or flight, found ${JSON.stringify(via)}`);
  }
  if (options.bodyUri !== undefined) {
    throw new DipcError("invalid_argument", "bodyUri goes with a ucx: URI: a Flight server names its locations itself");
  }
  const ucxTimeoutMs = positiveInteger("ucxTimeoutMs", options.ucxTimeoutMs ?? UCX_TIMEOUT_MS);
  const parallel = positiveInteger("parallelEndpoints", options.parallelEndpoints ?? PARALLEL_ENDPOINTS);
  const wanted = wantedFlight(uri, options);
  const mayUseFfi = isFfiAllowed();
  const pool = options.pool ?? (mayUseFfi ? hostPool() : undefined);
  const clientOptions = { signal, timeoutMs, limits, headers, token, user, password, tls, pool };
  const first = await FlightClient.connect(uri, clientOptions);
  const clients = new ClientPool(first, clientOptions, options.trustLocations ?? false);
  let input: FlightInput | null = null;
  try {
    const info = "ticket" in wanted
      ? infoOfTicket(wanted.ticket)
      : await first.getFlightInfo(wanted.descriptor, { signal });
    if (info.endpoints.length > MAX_ENDPOINTS) {
      throw new DipcError(
        "limit_exceeded",
        `the flight has ${info.endpoints.length} endpoints, connect reads ${MAX_ENDPOINTS} at most: read them with FlightClient`,
      );
    }
    if (info.endpoints.length === 0) return await openEmpty(info, clients, limits);
    input = new FlightInput({
      clients,
      via: "ticket" in wanted ? "flight" : via,
      flightReason: via === "flight" ? "asked for by via: flight" : "asked for by ticket, which names no location",
      ucxProblem: mayUseFfi || via === "ucx" || options.transport !== undefined
        ? null
        : "permission_denied: UCX needs --allow-ffi",
      ucxTimeoutMs,
      timeoutMs,
      limits,
      signal,
      library: options.library,
      transport: options.transport,
      ucxPool: () => options.ucxPool ?? options.pool ?? hostPool(),
      endpoints: info.endpoints,
      ordered: info.ordered,
      parallel,
    });
    return { input, schema: await input.open(), roads: input.roads };
  } catch (error) {
    await input?.close();
    await clients.close();
    throw error;
  }
}

function wantedFlight(
  uri: string | URL,
  { ticket, path, command, via }: OpenFlightOptions,
): { ticket: string | Uint8Array } | { descriptor: FlightDescriptorInit } {
  const named = [ticket, path, command].filter((value) => value !== undefined).length;
  if (named > 1) throw new DipcError("invalid_argument", "path, command and ticket exclude each other: give one");
  if (ticket !== undefined) {
    if (via === "ucx") {
      throw new DipcError(
        "invalid_argument",
        "a ticket says nothing about ucx: locations: give path or command, or no via",
      );
    }
    return { ticket };
  }
  if (command !== undefined) return { descriptor: { command } };
  const steps = path ?? parseFlightLocation(uri).path;
  if (steps.length === 0) throw new DipcError("invalid_argument", "which flight? Give path, command or ticket");
  return { descriptor: { path: steps } };
}

/** A ticket that the caller has is fetched where it was got. */
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
async function openEmpty(info: FlightInfo, clients: ClientPool, limits: ReaderLimits): Promise<OpenFlightStream> {
  const schema = readEncapsulatedSchema(info.schema, limits);
  await clients.close();
  const input: MessageInput = { metadataBytes: 0, next: () => null, close: () => Promise.resolve() };
  return { input, schema, roads: { transports: [], endpoints: [], reason: "the flight has no endpoints" } };
}

/** Whether native libraries may be used without a question: Flight works without them. */
function isFfiAllowed(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}
