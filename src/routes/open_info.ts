/**
 * Starts the streams of all endpoints of a flight whose endpoints are known.
 *
 * @module
 */
import { Schema } from "apache-arrow";
import { LocalError } from "../errors.ts";
import { FlightClient } from "../flight/client.ts";
import type { FlightInfo } from "../flight/model.ts";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";
import { encodeSchema } from "../ipc/encode.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import { hostPool } from "../memory/host_pool.ts";
import { isGranted } from "../permissions.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { ClientPool } from "./client_pool.ts";
import type { EarlyChannel } from "./early_channel.ts";
import { FlightInput } from "./flight_input.ts";
import { flightNumbers, type RouteOptions } from "./options.ts";
import type { OpenStream } from "./route.ts";

/** Most endpoints of one flight: each holds memory until the stream has ended. */
const MAX_ENDPOINTS = 65_536;

/** How the endpoints of a flight are read. */
export interface InfoOptions extends RouteOptions {
  /** Why the data comes by DoGet, if `route` is `"flight"`. Default: because that was requested. */
  readonly flightReason?: string;
  /** The schema of a flight that has no rows, if neither the flight nor its stream has one. Default: that is an error. */
  readonly lastSchema?: () => Promise<MessageHeader>;
  /** A connection by UCX that was begun already, if there is one. */
  readonly early?: EarlyChannel;
  /** Called when the stream is over. */
  readonly close: () => Promise<void>;
}

/**
 * Connects to a Flight server.
 *
 * @param uri Its location
 * @param options Credentials, limits, timeouts
 * @param kept For clients of many calls: longest wait for the connection in milliseconds, instead of `timeoutMs`, and longest
 * message of an upload in bytes
 * @returns Its client, and those of the locations that it will name
 */
export async function connectClients(
  uri: string | URL,
  options: RouteOptions,
  kept?: { readonly connectTimeoutMs: number; readonly maxBatchBytes?: number | false },
): Promise<ClientPool> {
  const { signal, timeoutMs, limits, flight = {} } = options;
  const { headers, token, user, password, tls, cookies, middleware, maxMessageBytes } = flight;
  const { locationTimeoutMs } = flightNumbers(flight);
  // Without a prompt: Flight works without native libraries.
  const pool = options.pool ?? (isGranted({ name: "ffi" }) ? hostPool() : undefined);
  const credentials = { headers, token, user, password, tls, cookies, middleware };
  const { maxBatchBytes } = kept ?? {};
  const client = { signal, timeoutMs, limits, pool, maxMessageBytes, maxBatchBytes, ...credentials };
  const first = await FlightClient._connectBeside(uri, client, { connectTimeoutMs: kept?.connectTimeoutMs });
  // The signal is that of the flight, if there is one; later ones have signals of their own.
  const others = kept === undefined ? client : { ...client, signal: undefined };
  return new ClientPool(first, { client: others, trustLocations: flight.trustLocations ?? false, locationTimeoutMs });
}

/**
 * Starts the streams of all endpoints of a flight.
 *
 * @param info What the server says of the flight
 * @param clients The server's client, and those of its locations; `options.close` closes them if they are this flight's alone
 * @param options Route, limits, timeouts
 */
export async function openInfo(info: FlightInfo, clients: ClientPool, options: InfoOptions): Promise<OpenStream> {
  const { signal, timeoutMs, limits, route, flight = {} } = options;
  const { ucxTimeoutMs, parallelEndpoints: parallel } = flightNumbers(flight);
  checkEndpoints(info);
  if (info.endpoints.length === 0) return await openEmpty(info, limits, options.close);
  const mayUseUcx = isGranted({ name: "ffi" }) || route === "ucx" || options.transport !== undefined;
  const input = new FlightInput({
    clients,
    close: options.close,
    route,
    flightReason: options.flightReason ?? 'requested by route: "flight"',
    ucxProblem: mayUseUcx ? null : "permission_denied: UCX needs --allow-ffi",
    ucxTimeoutMs,
    timeoutMs,
    limits,
    signal,
    library: options.library,
    transport: options.transport,
    share: options.share,
    remoteKeys: options.remoteKeys,
    lent: options.lent,
    keep: options.keep,
    early: options.early,
    flightSchema: () =>
      info.schema.byteLength === 0 ? options.lastSchema?.() ?? null : readEncapsulatedSchema(info.schema, limits),
    ucxPool: () => options.ucxPool ?? options.pool ?? hostPool(),
    endpoints: info.endpoints,
    ordered: info.ordered,
    parallel,
  });
  try {
    return { input, schema: await input.open(), routes: input.routes };
  } catch (error) {
    await input.close();
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

/** A flight without endpoints has no data; its schema is all there is. */
async function openEmpty(info: FlightInfo, limits: ReaderLimits, close: () => Promise<void>): Promise<OpenStream> {
  // What only does something, such as a statement that creates a table, has neither endpoints nor columns.
  const schema = info.schema.byteLength === 0 ? noColumns() : readEncapsulatedSchema(info.schema, limits);
  await close();
  const input: MessageInput = { metadataBytes: 0, next: () => null, close: () => Promise.resolve() };
  return {
    input,
    schema,
    routes: { transports: [], transportsReason: "", endpoints: [], reason: "the flight has no endpoints" },
  };
}

/** A schema without columns. */
export function noColumns(): MessageHeader {
  return encodeSchema(new Schema([]));
}
