/**
 * Starts a stream over UCX: chooses the location, connects, asks, and waits for the schema.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { wrapBytes } from "../memory/wrap.ts";
import { encodeRequest, MAX_ERROR_BYTES, REQUEST_ERRORS, REQUEST_NO_ADDRESSES } from "../protocol/envelope.ts";
import { type Alternative, formatUri, groupLocations, parseUri, type UcxUri } from "../protocol/uri.ts";
import { IncomingStream } from "../stream/incoming.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { type Channel, type DeviceAccess, FAILED, PENDING, type Transport } from "../wire/transport.ts";
import { ucxTransport } from "../wire/ucx/transport.ts";

/** What {@linkcode openUcxStream} needs; the options of `connect`, checked. */
export interface UcxStreamOptions {
  /** Which stream. Default: the URI's path. */
  ticket?: string | Uint8Array;
  /** Where the bodies come from, where that is another server or port than the metadata's. */
  bodyUri?: string | URL;
  /** Gives up. */
  signal?: AbortSignal;
  /** Longest wait for the peer, in milliseconds. */
  timeoutMs: number;
  /** What the peer may make this reader do. */
  limits: ReaderLimits;
  /** Path of libucp. */
  library?: string;
  /** Where bodies are received. */
  pool: Pool;
  /** What carries the protocol, where it is not UCX. */
  transport?: Transport;
}

/** A running stream, its schema taken. */
export interface OpenStream {
  /** The messages after the schema. */
  input: MessageInput;
  /** The schema message. */
  schema: MessageHeader;
  /** Names of the transports in use. */
  transports: readonly string[];
  /** Where it comes from: a URI, or two. */
  location: string;
}

/**
 * Asks a server for a stream.
 *
 * @param uri A `ucx:` URI, the URIs of metadata and bodies, or a list of alternatives
 * @param options Ticket, limits, timeouts
 * @returns The stream, once the schema has arrived
 * @throws {DipcError} as `connect` does
 */
export async function openUcxStream(
  uri: string | URL | readonly (string | URL)[],
  options: UcxStreamOptions,
): Promise<OpenStream> {
  return await openAlternative(chooseLocation(uri, options.bodyUri), options);
}

/**
 * As {@linkcode openUcxStream}, at a location that has been chosen already.
 *
 * @param alternative Where to fetch from
 * @param options Ticket, limits, timeouts
 * @throws {DipcError} as `connect` does
 */
export async function openAlternative(
  { metadata, body }: Alternative,
  options: UcxStreamOptions,
): Promise<OpenStream> {
  const { signal, timeoutMs, limits } = options;
  const requests = makeRequests(metadata, body, options.ticket);
  const transport = options.transport ?? await sharedTransport(options.library);
  const channel = await transport.connect(metadata, body, {
    timeoutMs,
    signal,
    // The server's reason for refusing must get through a tighter limit.
    maxMetadataBytes: Math.max(limits.maxMetadataBytes, MAX_ERROR_BYTES),
  });
  const input = new IncomingStream(channel, {
    limits,
    pool: options.pool,
    timeoutMs,
    signal,
    errorMessages: metadata.dipc,
    isApart: body !== null,
  });
  try {
    for (const request of requests) await send(channel, request, timeoutMs, signal);
    const schema = await input.next();
    if (schema === null) throw new DipcError("protocol", "the stream ended before its schema");
    return {
      input,
      schema: schema.header,
      transports: channel.transports,
      location: [metadata, ...(body === null ? [] : [body])].map(formatUri).join(" and "),
    };
  } catch (error) {
    await input.close();
    throw error;
  }
}

function chooseLocation(uri: string | URL | readonly (string | URL)[], bodyUri?: string | URL): Alternative {
  const locations = typeof uri === "string" || uri instanceof URL ? [uri] : [...uri];
  if (bodyUri !== undefined) {
    if (locations.length !== 1) {
      throw new DipcError("invalid_argument", "bodyUri goes with one URI, that of the metadata");
    }
    return { metadata: parseUri(locations[0]), body: parseUri(bodyUri) };
  }
  // One URI is parsed on its own, so that a wrong scheme is named rather than skipped.
  if (locations.length === 1) {
    const only = parseUri(locations[0]);
    if (only.role === "metadata" || only.role === "body") {
      throw new DipcError(
        "invalid_uri",
        `the URI serves only the ${
          only.role === "body" ? "bodies" : "metadata"
        } of a stream: give both URIs, metadata first`,
      );
    }
    return { metadata: only, body: null };
  }
  const [first] = groupLocations(locations);
  if (first === undefined) throw new DipcError("invalid_uri", "there is no ucx: URI among the locations given");
  return first;
}

interface Request {
  role: "both" | "metadata" | "body";
  tag: bigint;
  bytes: Uint8Array<ArrayBuffer>;
}

function makeRequests(metadata: UcxUri, body: UcxUri | null, ticket?: string | Uint8Array): Request[] {
  const given = typeof ticket === "string" ? new TextEncoder().encode(ticket) : ticket;
  const request = (uri: UcxUri, role: Request["role"]): Request => {
    const name = given ?? uri.ticket ?? metadata.ticket;
    if (name === null || name === undefined) {
      throw new DipcError("invalid_argument", "which stream? The URI has no path: give a ticket");
    }
    const bytes = uri.dipc ? encodeRequest(name, REQUEST_ERRORS | REQUEST_NO_ADDRESSES) : name.slice();
    return { role, tag: uri.wantData, bytes };
  };
  return body === null ? [request(metadata, "both")] : [request(metadata, "metadata"), request(body, "body")];
}

async function send(
  channel: Channel,
  { role, tag, bytes }: Request,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const operation = channel.sendTagged(tag, wrapBytes(bytes), false, role);
  if (operation === null) return;
  const sent = await channel.until(() => operation.poll() !== PENDING, { timeoutMs, signal });
  if (!sent) throw new DipcError("timeout", `the server did not take the request within ${timeoutMs / 1000} s`);
  if (operation.poll() === FAILED) throw operation.error!;
}

const transports = new Map<string, { space: string; transport: Promise<Transport> }>();

/**
 * One transport for all streams of the isolate: making one costs milliseconds and file descriptors.
 *
 * @param library Path of libucp, empty for the usual rules
 * @param device The GPU whose memory it moves by itself, where there is one
 */
export function sharedTransport(library = "", device?: DeviceAccess): Promise<Transport> {
  const space = device?.space ?? "host";
  const key = `${space} ${library}`;
  const known = transports.get(key);
  if (known !== undefined) return known.transport;
  const transport = ucxTransport({ library: library || undefined, device });
  transports.set(key, { space, transport });
  transport.catch(() => transports.delete(key));
  return transport;
}

/**
 * Releases the transports that `connect` keeps for the next stream: contexts, warm workers, file descriptors. Only where
 * a program goes on for long without streams; close all readers before.
 */
export async function releaseTransports(): Promise<void> {
  for (const space of new Set([...transports.values()].map(({ space }) => space))) await releaseTransportsOf(space);
}

/** @ignore Releases those that are for one memory space. */
export async function releaseTransportsOf(space: string): Promise<void> {
  const open = [...transports].filter(([, entry]) => entry.space === space);
  for (const [key] of open) transports.delete(key);
  for (const [, { transport }] of open) await (await transport).close();
}
