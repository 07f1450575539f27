/**
 * Starts a stream over UCX: chooses the location, connects, sends the request, and waits for the schema.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { wrapBytes } from "../memory/wrap.ts";
import {
  AnswerError,
  encodeRequest,
  REQUEST_ERRORS,
  REQUEST_KEEP,
  REQUEST_NO_ADDRESSES,
  TRACE_ENTRY,
} from "../protocol/envelope.ts";
import { type Alternative, formatUri, groupLocations, parseUri, type UcxUri } from "../protocol/uri.ts";
import { IncomingStream } from "../stream/incoming.ts";
import { hostPool } from "../memory/host_pool.ts";
import { type Channel, FAILED, type KeepOptions, PENDING, type Transport } from "../wire/transport.ts";
import { type EarlyChannel, isKeeping, metadataLimit } from "./early_channel.ts";
import type { Route } from "./route.ts";
import type { EndpointStats, StreamRoutes } from "./stats.ts";
import type { StreamUri } from "./options.ts";
import { offerOf, openRemote, openShared, type SharedOutcome, type SharingOffer } from "./sharing.ts";
import type { MemoryOpener } from "./shared.ts";
import { currentTraceparent } from "../telemetry/telemetry.ts";
import { sharedTransport } from "../wire/ucx/shared.ts";

/** What {@linkcode openAlternative} needs: the options of `connect`, checked. */
export interface UcxStreamOptions {
  /** Which stream. Default: the URI's path. */
  ticket?: string | Uint8Array;
  /** URI of the bodies, if that is another server or port than the metadata's. */
  bodyUri?: string | URL;
  /** Aborts the request. */
  signal?: AbortSignal;
  /** Longest wait for the peer, in milliseconds. */
  timeoutMs: number;
  /** Limits on what the peer can make this reader do. */
  limits: ReaderLimits;
  /** Path of libucp. */
  library?: string;
  /** Memory that receives the bodies. */
  pool: Pool;
  /** What carries the protocol, if it is not UCX. */
  transport?: Transport;
  /** How the connection is kept for another stream. */
  keep: KeepOptions;
  /** A connection that was begun already. */
  early?: EarlyChannel;
  /** Whether bodies are read in the server's memory if that is possible. Default true. */
  share?: boolean;
  /** Whether they are read by remote keys. Default false. */
  remoteKeys?: boolean;
  /** What opens that memory, if it is not host memory. */
  lent?: MemoryOpener;
  /**
   * Whether the stream may be requested again if it is not known what became of the first request. A ticket may stand for something that
   * is executed. Default: only without a ticket.
   */
  mayRepeat?: boolean;
  /** Called before the stream is requested. */
  onRequest?: () => void;
}

/** A running stream of UCX. */
export interface UcxStream {
  /** The messages after the schema. */
  input: IncomingStream;
  /** The schema message. */
  schema: MessageHeader;
  /** Names of the transports in use. */
  transports: readonly string[];
  /** Why they are not the fastest that this machine has; empty if nothing was in the way. */
  transportsReason: string;
  /** Its source: a URI, or two. */
  readonly location: string;
  /** Why bodies are sent although the server would share its memory; empty if it shares it, `null` if it does not offer that. */
  readonly sharingReason: string | null;
}

/** The route of `ucx:` URIs. */
export const ucxRoute: Route = {
  name: "ucx",
  async open(uri, options) {
    const pool = options.ucxPool ?? options.pool ?? hostPool();
    const stream = await openFirst(
      alternativesOf(uri, options.bodyUri),
      { ...options, pool },
    );
    const { input, schema, transports, transportsReason, sharingReason } = stream;
    const endpoint: EndpointStats = {
      route: "ucx",
      routeReason: "requested by a ucx: URI",
      get location() {
        return stream.location;
      },
      sharingReason,
      get batches() {
        return input.batches;
      },
      get sharedBytes() {
        return input.sharedBytes;
      },
    };
    const routes: StreamRoutes = { transports, transportsReason, endpoints: [endpoint] };
    // Whoever has connected can listen by then.
    if (sharingReason !== null) setImmediate(() => routes.onSettled?.(endpoint));
    return { input, schema, routes };
  },
};

/** Failures of a location that another one of the same stream may not have: it is full, or its isolate is being replaced. */
const TRY_NEXT: readonly DipcErrorCode[] = ["busy", "unreachable"];

/**
 * Requests a stream from the first location that can be used; none is tried once the time is over.
 *
 * @throws {DipcError} the error of the first location, if none can be used
 */
async function openFirst(alternatives: readonly Alternative[], options: UcxStreamOptions): Promise<UcxStream> {
  const end = performance.now() + options.timeoutMs;
  let first: unknown;
  for (const alternative of alternatives) {
    try {
      return await openAlternative(alternative, options);
    } catch (error) {
      first ??= error;
      if (!(error instanceof DipcError && TRY_NEXT.includes(error.code))) throw error;
      if (error instanceof AnswerError && error.outcome !== "refused" && !mayRepeat(options)) throw error;
      if (performance.now() >= end) break;
    }
  }
  throw first;
}

/**
 * Requests a stream from a location: on a connection that an earlier stream has left, or on a new one.
 *
 * @param alternative Location of the stream
 * @param options Ticket, limits, timeouts
 * @throws {DipcError} as `connect` does
 */
export async function openAlternative(alternative: Alternative, options: UcxStreamOptions): Promise<UcxStream> {
  const { metadata, body } = alternative;
  const end = performance.now() + options.timeoutMs;
  const offer = offerOf(alternative, ticketOf(metadata, options.ticket), options);
  // What was read by remote keys may be given back after the stream.
  const mayKeep = metadata.keep && metadata.dipc && body === null && offer?.kind !== "remote";
  const keeps = mayKeep && isKeeping(options.keep);
  const request: StreamRequest = {
    alternative,
    offer,
    requests: makeRequests(metadata, body, options.ticket),
    keeps,
    end,
  };
  const stream = await startOnOpen(request, options) ??
    await start(await connectTo(request, options, false), request, options);
  if (keeps) options.early?.note(metadata);
  return stream;
}

/**
 * Requests a stream on the connection that is at hand, or on a new one.
 *
 * @returns `null` if the former was lost, so that the request may go out once more
 */
async function startOnOpen(request: StreamRequest, options: UcxStreamOptions): Promise<UcxStream | null> {
  const connected = await connectTo(request, options, request.keeps);
  try {
    return await start(connected, request, options);
  } catch (error) {
    // The server may have closed it, or have ended, at this very moment. It has not begun to answer, as far as is known here.
    const { channel, wasOpen } = connected;
    if (!wasOpen || !isLost(channel.failure) || error instanceof AnswerError) throw error;
    if (!mayRepeat(options)) throw error;
    return null;
  }
}

/** What is requested, and until when. */
interface StreamRequest {
  readonly alternative: Alternative;
  /** One for each connection. */
  readonly requests: readonly Request[];
  /** What the server offers of its memory, as far as it is wanted. */
  readonly offer: SharingOffer | null;
  /** Whether the connection may be kept. */
  readonly keeps: boolean;
  /** Latest time of the schema, of `performance.now()`. */
  readonly end: number;
}

function mayRepeat({ mayRepeat, ticket }: UcxStreamOptions): boolean {
  return mayRepeat ?? ticket === undefined;
}

function isLost(failure: DipcError | null): boolean {
  return failure?.code === "connection_lost";
}

/** A connection, and the server's memory. */
interface Connected {
  readonly channel: Channel;
  /** Whether it was made before it was needed, so that the server may have closed it meanwhile. */
  readonly wasOpen: boolean;
  /** `null` if the server offers none. */
  readonly shared: SharedOutcome | null;
}

/** Connects, and gets the server's memory meanwhile. */
async function connectTo(
  { alternative: { metadata, body }, offer, end }: StreamRequest,
  options: UcxStreamOptions,
  mayReuse: boolean,
): Promise<Connected> {
  const { signal, timeoutMs, limits, library } = options;
  const sharing = openShared(offer, options);
  try {
    const transport = options.transport ?? await sharedTransport(library);
    const early = mayReuse ? await options.early?.take(metadata, signal) ?? null : null;
    const channel = early ?? await transport.connect(metadata, body, {
      timeoutMs: Math.min(timeoutMs, Math.max(0, Math.ceil(end - performance.now()))),
      signal,
      maxMetadataBytes: metadataLimit(limits),
      mayReuse,
      remoteMemory: offer?.kind === "remote",
    });
    try {
      const wasOpen = early !== null || channel.isReused === true;
      return { channel, wasOpen, shared: await sharing ?? await openRemote(offer, channel, options.pool) };
    } catch (error) {
      await channel.close();
      throw error;
    }
  } catch (error) {
    (await sharing)?.session?.close(null);
    throw error;
  }
}

/** Requests a stream on a connection, which it owns from now on, and waits for the schema. */
async function start(
  { channel, shared }: Connected,
  { alternative: { metadata, body }, requests, keeps, end }: StreamRequest,
  options: UcxStreamOptions,
): Promise<UcxStream> {
  const { signal, timeoutMs, limits, keep } = options;
  const session = shared?.session ?? null;
  const input = new IncomingStream(channel, {
    limits,
    pool: options.pool,
    timeoutMs,
    schemaDeadline: end,
    signal,
    errorMessages: metadata.dipc,
    isApart: body !== null,
    addressed: session ?? undefined,
    keep: keeps ? { ...keep, wantData: metadata.wantData } : null,
  });
  try {
    options.onRequest?.();
    for (const request of requests) {
      await send(channel, request, requestBytes(request, keeps, shared), end, options);
    }
    const schema = await input.next();
    if (schema === null) throw new LocalError("protocol", "cannot start the stream: it ended before its schema");
    return {
      input,
      schema: schema.header,
      transports: channel.transports,
      transportsReason: channel.transportsReason ?? "",
      // Few ask for it.
      get location() {
        return [metadata, ...(body === null ? [] : [body])].map(formatUri).join(" and ");
      },
      sharingReason: shared?.reason ?? null,
    };
  } catch (error) {
    await input.close();
    throw error;
  }
}

/** The locations of a stream in order of preference, at least one. */
function alternativesOf(uri: StreamUri, bodyUri?: string | URL): Alternative[] {
  const locations = typeof uri === "string" || uri instanceof URL ? [uri] : [...uri];
  if (bodyUri !== undefined) {
    if (locations.length !== 1) {
      throw new LocalError(
        "invalid_argument",
        `cannot use bodyUri: it goes with one URI, that of the metadata, but ${locations.length} are given`,
      );
    }
    return [{ metadata: parseUri(locations[0]), body: parseUri(bodyUri) }];
  }
  // One URI is parsed on its own, so that a wrong scheme is named rather than skipped.
  if (locations.length === 1) {
    const only = parseUri(locations[0]);
    if (only.role === "metadata" || only.role === "body") {
      throw new LocalError(
        "invalid_uri",
        `cannot start the stream: the URI serves only its ${
          only.role === "body" ? "bodies" : "metadata"
        }; give both URIs, metadata first`,
      );
    }
    return [{ metadata: only, body: null }];
  }
  const alternatives = groupLocations(locations);
  if (alternatives.length === 0) {
    throw new LocalError("invalid_uri", "cannot start the stream: there is no ucx: URI among the locations given");
  }
  return alternatives;
}

interface Request {
  role: "both" | "metadata" | "body";
  tag: bigint;
  ticket: Uint8Array;
  /** Whether the server understands an envelope. */
  dipc: boolean;
}

/** The ticket of a request. */
function ticketOf(uri: UcxUri, ticket?: string | Uint8Array): Uint8Array | null {
  return (typeof ticket === "string" ? new TextEncoder().encode(ticket) : ticket) ?? uri.ticket;
}

function makeRequests(metadata: UcxUri, body: UcxUri | null, ticket?: string | Uint8Array): Request[] {
  const request = (uri: UcxUri, role: Request["role"]): Request => {
    const name = ticketOf(uri, ticket) ?? metadata.ticket;
    if (name === null) {
      throw new LocalError(
        "invalid_argument",
        "cannot start the stream: no stream is selected, because the URI has no path; pass a ticket",
      );
    }
    return { role, tag: uri.wantData, ticket: name, dipc: uri.dipc };
  };
  return body === null ? [request(metadata, "both")] : [request(metadata, "metadata"), request(body, "body")];
}

/** What is sent; it says whose shared memory is read, if any is. */
function requestBytes(
  { ticket, dipc }: Request,
  keeps: boolean,
  shared: SharedOutcome | null,
): Uint8Array<ArrayBuffer> {
  if (!dipc) return ticket.slice();
  const flags = REQUEST_ERRORS | (keeps ? REQUEST_KEEP : 0);
  const traceparent = currentTraceparent();
  const trace = traceparent === null ? [] : [{ type: TRACE_ENTRY, bytes: new TextEncoder().encode(traceparent) }];
  if (shared === null || shared.session === null) return encodeRequest(ticket, flags | REQUEST_NO_ADDRESSES, trace);
  return encodeRequest(ticket, flags, [...shared.entries ?? [], ...trace]);
}

async function send(
  channel: Channel,
  { tag, role }: Request,
  bytes: Uint8Array<ArrayBuffer>,
  end: number,
  { timeoutMs, signal }: UcxStreamOptions,
): Promise<void> {
  const operation = channel.sendTagged(tag, wrapBytes(bytes), false, role);
  if (operation === null) return;
  const isSent = await channel.until(() => operation.poll() !== PENDING, {
    timeoutMs: Math.max(0, end - performance.now()),
    signal,
  });
  if (!isSent) {
    throw new LocalError(
      "timeout",
      `cannot start the stream: the server did not accept the request within ${timeoutMs / 1000} s`,
    );
  }
  if (operation.poll() === FAILED) throw operation.error!;
}
