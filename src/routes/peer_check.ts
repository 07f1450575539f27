/**
 * Finds out that a URI has the wrong scheme for the server at its port: a `ucx:` URI at a Flight server, a `grpc:` URI at a
 * UCX server, with TLS or without. Looks only when a connection fails or takes long.
 *
 * @module
 */
import { withDeadline } from "../deadline.ts";
import { DipcError, LocalError } from "../errors.ts";
import { isFlightUri, parseFlightLocation } from "../flight/location.ts";
import { patientTimeout } from "../patience.ts";
import { isGranted, netPermission } from "../permissions.ts";
import { parseUri } from "../protocol/uri.ts";
import { sharedTransport } from "../wire/ucx/shared.ts";

/** A connection that takes longer than this is looked at, in milliseconds: of many at once to one server, only the first. */
const PATIENCE_MS = 500;
/** Most servers that are remembered. */
const MAX_KNOWN = 1000;
/** A server that speaks HTTP/2 or TLS answers the first bytes within this many milliseconds. */
const ANSWER_MS = 500;
/** Longest wait for a connection of UCX, in milliseconds. */
const UCX_MS = 1000;
/** How long a look that has begun may still take once the connection's own time is up, in milliseconds. */
const LAST_LOOK_MS = 250;
/** What an HTTP/2 client sends first: the preface, and empty settings. */
const HTTP2_START = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
/** Bytes that tell protocols apart. */
const ANSWER_BYTES = 9;
/** `SETTINGS` and `GOAWAY` of HTTP/2. */
const HTTP2_FRAMES = [4, 7];
/** An alert of TLS. */
const TLS_ALERT = 0x15;

/** What was found at a port. */
type Found = "http2" | "tls" | "ucx" | null;

/** A server that a URI names. */
interface Target {
  readonly uri: string;
  readonly kind: "ucx" | "grpc" | "grpc+tls";
  readonly host: string;
  readonly port: number;
  /** Path of the URI as it is written, with its slash. */
  readonly path: string;
}

/** Servers that spoke what their URIs say, as {@linkcode keyOf} has them. */
const known = new Set<string>();
/** Looks that have begun because a connection takes long. */
const looks = new Map<string, Promise<Found>>();

/** Options of {@linkcode withPeerCheck}. */
export interface PeerCheckOptions {
  /** Aborts `start`. */
  readonly signal?: AbortSignal;
  /** Path of libucp. */
  readonly library?: string;
}

/**
 * Starts a connection, and looks at the port if that fails or takes long.
 *
 * @param uri URI of the server
 * @param options Signal and library
 * @param start Connects
 * @throws {DipcError} `invalid_uri` naming the right scheme, and what `start` throws
 */
export async function withPeerCheck<T>(
  uri: unknown,
  { signal, library }: PeerCheckOptions,
  start: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const target = targetOf(uri);
  if (target === null) return await start(signal);
  const key = keyOf(target);
  const look = (maySend: boolean): Promise<Found> => examine(target, maySend, library).catch(() => null);
  if (known.has(key)) return await startKnown(target, signal, start, look);
  const stop = new AbortController();
  let isSettled = false;
  let early: Promise<DipcError | null> | undefined;
  const timer = patientTimeout(PATIENCE_MS, async () => {
    // Clients in a burst wait for a server that is busy: a second connection for each would only fill its places.
    if (known.has(key)) return;
    // A UCX server that is merely slow must not get bytes of another protocol.
    early = shared(key, () => look(target.kind !== "ucx")).then((found) => wrongScheme(target, found));
    const error = await early;
    if (error !== null && !isSettled) stop.abort(error);
  });
  try {
    const result = await start(signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]));
    remember(key);
    return result;
  } catch (error) {
    isSettled = true;
    if (stop.signal.aborted) throw stop.signal.reason;
    if (signal?.aborted || !mayBeWrongScheme(target, error)) throw error;
    // The caller has waited long enough: no look begins now.
    if (isTimeout(error)) throw await withDeadline(early ?? Promise.resolve(null), LAST_LOOK_MS) ?? error;
    throw await early ?? wrongScheme(target, await look(true)) ?? error;
  } finally {
    isSettled = true;
    timer.stop();
  }
}

/** Starts a connection to a server that has spoken what its URI says: there is no look before it fails. */
async function startKnown<T>(
  target: Target,
  signal: AbortSignal | undefined,
  start: (signal: AbortSignal | undefined) => Promise<T>,
  look: (maySend: boolean) => Promise<Found>,
): Promise<T> {
  try {
    return await start(signal);
  } catch (error) {
    if (signal?.aborted || isTimeout(error) || !mayBeWrongScheme(target, error)) throw error;
    throw wrongScheme(target, await look(true)) ?? error;
  }
}

function keyOf({ kind, host, port }: Target): string {
  return `${kind} ${host} ${port}`;
}

function remember(key: string): void {
  if (known.size >= MAX_KNOWN) known.clear();
  known.add(key);
}

/** The look at a server that is under way, or a new one. */
function shared(key: string, look: () => Promise<Found>): Promise<Found> {
  let running = looks.get(key);
  if (running === undefined) {
    running = look().finally(() => looks.delete(key));
    looks.set(key, running);
  }
  return running;
}

function isTimeout(error: unknown): boolean {
  return error instanceof DipcError && error.code === "timeout";
}

/** A connection of UCX that was lost later has shown that UCX is there. */
function mayBeWrongScheme({ kind }: Target, error: unknown): boolean {
  const codes = kind === "ucx" ? ["unreachable"] : ["unreachable", "connection_lost", "timeout", "protocol"];
  return error instanceof DipcError && codes.includes(error.code);
}

/** The server of a URI that names one; a list of URIs comes from a server, which knows its schemes. */
function targetOf(uri: unknown): Target | null {
  if (typeof uri !== "string" && !(uri instanceof URL)) return null;
  const text = String(uri);
  const path = /^[^:]*:\/\/[^/?#]*(\/[^?#]*)?/.exec(text)?.[1] ?? "";
  try {
    if (!isFlightUri(text)) {
      const { host, port } = parseUri(text);
      return { uri: text, kind: "ucx", host, port, path };
    }
    const { host, port, tls, socketPath } = parseFlightLocation(text);
    return socketPath === null ? { uri: text, kind: tls ? "grpc+tls" : "grpc", host, port, path } : null;
  } catch {
    return null; // the connection says what is wrong with it
  }
}

async function examine(target: Target, maySend: boolean, library?: string): Promise<Found> {
  return await answerOf(target, maySend) ?? (target.kind === "ucx" ? null : await ucxOf(target, library));
}

/** The error of a wrong scheme; `null` if the scheme is right, or it cannot be known. */
function wrongScheme(target: Target, found: Found): DipcError | null {
  const address = `${target.host.includes(":") ? `[${target.host}]` : target.host}:${target.port}`;
  const cannot = (what: string, use: string): DipcError =>
    new LocalError("invalid_uri", `cannot connect to ${target.uri}: ${what} is at that port; ${use}`);
  switch (found) {
    case "http2":
      return target.kind === "grpc" ? null : cannot(
        target.kind === "ucx" ? "a server that speaks HTTP/2, as Flight does," : "a server without TLS",
        `use grpc://${address}${target.path}`,
      );
    case "tls":
      return target.kind === "grpc+tls"
        ? null
        : cannot("a server that speaks TLS", `use grpc+tls://${address}${target.path}`);
    case "ucx":
      return cannot(
        "a UCX server",
        `use the URI that it printed, such as ucx://${address}${target.path || "/NAME"}?want_data=N`,
      );
    case null:
      return null;
  }
}

/** What the port says to a client of HTTP/2; `null` if it says nothing, or the network may not be used. */
async function answerOf({ host, port }: Target, maySend: boolean): Promise<Found> {
  if (!isGranted(netPermission(host, port).descriptor)) return null;
  using connection = await Deno.connect({ hostname: host, port });
  const timer = setTimeout(() => connection.close(), ANSWER_MS);
  try {
    if (maySend) await connection.write(HTTP2_START);
    const answer = new Uint8Array(ANSWER_BYTES);
    const length = await connection.read(answer);
    if (length === null) return null;
    if (answer[0] === TLS_ALERT && answer[1] === 3) return "tls";
    return length >= 4 && answer[0] === 0 && HTTP2_FRAMES.includes(answer[3]) ? "http2" : null;
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a client of UCX gets a connection. */
async function ucxOf({ host, port }: Target, library: string | undefined): Promise<Found> {
  if (!isGranted({ name: "ffi" })) return null;
  const transport = await sharedTransport(library);
  const channel = await transport.connect({ host, port }, null, { timeoutMs: UCX_MS });
  await channel.close();
  return "ucx";
}
