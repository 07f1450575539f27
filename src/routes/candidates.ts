/**
 * The ways to fetch one endpoint: by each of its locations, over UCX or by DoGet.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { LocalError } from "../errors.ts";
import type { FlightEndpoint } from "../flight/model.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { AnswerError } from "../protocol/envelope.ts";
import type { Alternative } from "../protocol/uri.ts";
import type { MessageInput } from "../stream/message_input.ts";
import type { KeepOptions, Transport } from "../wire/transport.ts";
import type { ClientPool } from "./client_pool.ts";
import { sortLocations } from "./locations.ts";
import type { MemoryOpener } from "./shared.ts";
import type { RouteName } from "./stats.ts";
import type { EarlyChannel } from "./early_channel.ts";
import { openAlternative } from "./ucx.ts";

/** What the endpoints of one flight have in common. */
export interface EndpointOptions {
  clients: ClientPool;
  route: "auto" | RouteName;
  /** Why the data comes by DoGet, if `route` is `"flight"`. */
  flightReason: string;
  /** Why UCX is not tried; `null` if it is. */
  ucxProblem: string | null;
  ucxTimeoutMs: number;
  timeoutMs: number;
  limits: ReaderLimits;
  signal?: AbortSignal;
  library?: string;
  transport?: Transport;
  /** How connections by UCX are kept. */
  keep: KeepOptions;
  /** A connection by UCX that was begun already, if there is one. */
  early?: EarlyChannel;
  /** Memory that receives bodies by UCX. */
  ucxPool: () => Pool;
  /** Whether bodies are read in the server's memory if that is possible. Default true. */
  share?: boolean;
  /** Whether they are read by remote keys. Default false. */
  remoteKeys?: boolean;
  /** What opens that memory, if it is not host memory. */
  lent?: MemoryOpener;
  /** The schema of the flight, for endpoints that send none; `null` if it is not known. */
  flightSchema: () => MessageHeader | null | Promise<MessageHeader | null>;
}

/** One way to fetch the endpoint. */
export interface Candidate {
  readonly route: RouteName;
  readonly location: string;
  /** Whether it is the server that was asked, which named others: only for when none of them can be reached. */
  readonly isFallback: boolean;
  /** @param onRequest Called before the data is requested: from then on the server may have begun to produce it */
  open(signal: AbortSignal, onRequest: () => void): Promise<OpenedCandidate>;
}

/** A running stream of the endpoint. */
export interface OpenedCandidate {
  readonly input: MessageInput;
  readonly schema: MessageHeader;
  readonly transports: readonly string[];
  readonly transportsReason: string;
  /** Why bodies travel although the server offers its memory; see `EndpointStats`. */
  readonly sharingReason: string | null;
}

/**
 * The ways to fetch an endpoint, in the order in which they are tried.
 *
 * @param endpoint Ticket and locations
 * @param options Route, limits and clients
 * @returns the candidates, and why UCX is not among them
 */
export function planCandidates(
  endpoint: FlightEndpoint,
  options: EndpointOptions,
): { candidates: Candidate[]; reason: string } {
  const { clients } = options;
  const { ucx, ucxProblem, flight } = sortLocations(endpoint.locations);
  const candidates: Candidate[] = [];
  let reason = options.flightReason;
  if (options.route !== "flight") {
    const problem = options.ucxProblem ?? ucxProblem;
    reason = ucx.length === 0 && ucxProblem === null ? "the server offers no ucx: location" : problem ?? "";
    if (problem === null) {
      const all = ucx.map((alternative) => ucxCandidate(endpoint, alternative, options));
      // A host that did not answer for another endpoint is not waited for again if there is another route.
      const alive = options.route === "ucx" ? all : all.filter(({ location }) => !clients.isDead(location));
      if (alive.length === 0 && all.length > 0) {
        reason = `UCX failed: ${all[0].location} did not answer a short time ago`;
      }
      candidates.push(...alive);
    }
  }
  if (options.route !== "ucx") {
    const all = unlike(flight, clients).map((location) => flightCandidate(endpoint, location, options, false));
    const isDead = ({ location }: Candidate): boolean => clients.isDead(location);
    candidates.push(...all.filter((candidate) => !isDead(candidate)));
    // A server may name hosts that only others can reach.
    const isAskedAmong = flight.some((location) => location === null || clients.isFirst(location));
    if (!isAskedAmong) candidates.push(flightCandidate(endpoint, null, options, true));
    candidates.push(...all.filter(isDead));
  }
  return { candidates, reason };
}

/** Locations without those that are another name of an earlier one. */
function unlike(flight: readonly (string | null)[], clients: ClientPool): (string | null)[] {
  const places = flight.map((location) => location === null || clients.isFirst(location) ? null : location);
  return flight.filter((_, index) => places.indexOf(places[index]) === index);
}

function ucxCandidate(endpoint: FlightEndpoint, alternative: Alternative, options: EndpointOptions): Candidate {
  const { timeoutMs, limits, library, transport, keep, early, share, remoteKeys, lent, ucxPool } = options;
  const { metadata, body } = alternative;
  const { ticket: path } = metadata;
  return {
    route: "ucx",
    isFallback: false,
    location: [metadata, ...(body === null ? [] : [body])].map(({ host, port }) => `ucx://${host}:${port}`).join(
      " and ",
    ),
    async open(signal, onRequest) {
      const request = (ticket: Uint8Array) =>
        openAlternative(alternative, {
          ...{ ticket, signal, timeoutMs, limits, library, transport, keep, early, share, remoteKeys },
          ...{ lent, onRequest },
          mayRepeat: endpoint.expirationTime !== null,
          pool: ucxPool(),
        });
      try {
        return await request(endpoint.ticket);
      } catch (error) {
        if (!(error instanceof AnswerError)) throw error;
        if (error.outcome === "empty") return await withoutRows(options, error);
        // The protocol requests with the endpoint's ticket. A server that only passes on the URI of another one may have
        // tickets of its own; the ticket there is that URI's path.
        const isOther = path !== null && !equalBytes(path, endpoint.ticket);
        if (!isOther || error.code !== "not_found" || error.outcome !== "refused") throw error;
        return await request(path);
      }
    },
  };
}

function flightCandidate(
  endpoint: FlightEndpoint,
  location: string | null,
  { clients, flightSchema }: EndpointOptions,
  isFallback: boolean,
): Candidate {
  return {
    route: "flight",
    location: location ?? clients.first.location.uri,
    isFallback,
    async open(signal, onRequest) {
      try {
        const client = await clients.at(location);
        const input = await client.openStream(endpoint.ticket, { signal }, onRequest);
        // An empty stream may lack its schema.
        const schema = input.schema ?? await flightSchema() ?? await noSchema(input, client.location.uri);
        return { input, schema, transports: [], transportsReason: "", sharingReason: null };
      } catch (error) {
        throw location === null ? error : clients.explain(location, error);
      }
    },
  };
}

/** A stream that is complete without a schema, which the flight may have. */
async function withoutRows({ flightSchema }: EndpointOptions, error: unknown): Promise<OpenedCandidate> {
  const schema = await flightSchema();
  if (schema === null) throw error;
  const input: MessageInput = { metadataBytes: 0, next: () => null, close: () => Promise.resolve() };
  return { input, schema, transports: [], transportsReason: "", sharingReason: null };
}

async function noSchema(input: MessageInput, uri: string): Promise<never> {
  await input.close();
  throw new LocalError("protocol", `cannot read the stream of ${uri}: it ended before its schema`);
}
