/**
 * Locations of Flight servers: URIs of the schemes `grpc:`, `grpc+tcp:`, `grpc+tls:`, `grpc+unix:`, and the one that stands
 * for the current connection.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";

/** The location that means "on the connection that this came by" (Flight's `ReuseConnection`). */
export const REUSE_CONNECTION = "arrow-flight-reuse-connection://?";

/** Address of a Flight server. */
export interface FlightLocation {
  /** The URI, without the path of a flight. */
  readonly uri: string;
  /** Whether the connection is encrypted: `grpc+tls:`. */
  readonly tls: boolean;
  /** Host name, IPv4 or IPv6 address, without brackets; empty for a socket in the file system. */
  readonly host: string;
  /** 1 … 65535; 0 for a socket in the file system. */
  readonly port: number;
  /** Path of a socket in the file system: `grpc+unix:`; `null` otherwise. */
  readonly socketPath: string | null;
  /** The segments of the URI's path, percent-decoded: the flight that is requested by default. */
  readonly path: readonly string[];
}

const SCHEMES = ["grpc:", "grpc+tcp:", "grpc+tls:", "grpc+unix:"];
const EXAMPLE = "grpc://127.0.0.1:8815";

/** Whether a URI has one of the schemes of Flight's gRPC transport. */
export function isFlightUri(uri: string | URL): boolean {
  const text = String(uri);
  return SCHEMES.some((scheme) => text.length > scheme.length && text.slice(0, scheme.length).toLowerCase() === scheme);
}

/**
 * The URI that was probably meant by a text with another scheme or none, such as `http://host:port` or `host:port`.
 *
 * @returns `null` if the text is nothing like it
 */
export function flightUriFor(text: string): string | null {
  const [, scheme, rest] =
    /^(https?:\/\/|\/\/)?((?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(?:\/[^?#]*)?)$/.exec(text.trim()) ?? [];
  return rest === undefined ? null : `${scheme === "https://" ? "grpc+tls" : "grpc"}://${rest}`;
}

/** Whether a location of an endpoint means the connection that the endpoint came by. */
export function isReuseConnection(uri: string): boolean {
  return /^arrow-flight-reuse-connection:/i.test(uri);
}

/**
 * Parses the URI of a Flight server.
 *
 * @param uri `grpc://host:port`, `grpc+tcp://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
 * @throws {DipcError} `invalid_uri`
 */
export function parseFlightLocation(uri: string | URL): FlightLocation {
  if (typeof uri !== "string" && !(uri instanceof URL)) {
    throw new LocalError(
      "invalid_argument",
      `cannot use ${typeof uri} as a location: give a string or a URL, such as ${EXAMPLE}`,
    );
  }
  const text = String(uri);
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:/.exec(text)?.[0].toLowerCase() ?? "";
  if (!SCHEMES.includes(scheme)) {
    const meant = flightUriFor(text);
    const expected = meant === null ? `expected something like ${EXAMPLE}` : `did you mean ${meant}?`;
    throw invalid(text, `its scheme is none of ${SCHEMES.join(" ")}; ${expected}`);
  }
  const rest = text.slice(scheme.length);
  if (scheme === "grpc+unix:") return parseSocket(text, rest);
  let url: URL;
  try {
    // A scheme that URL knows, so that host and port are checked. `url.port` is empty for its default port.
    url = new URL(`https:${rest}`);
  } catch (error) {
    throw invalid(text, `it is not a URI; expected something like ${EXAMPLE}`, error);
  }
  const port = url.port === "" ? /:443(?:[/?#]|$)/.test(rest) ? 443 : 0 : Number(url.port);
  if (!rest.startsWith("//") || url.hostname === "") {
    throw invalid(text, `it names no host; expected something like ${EXAMPLE}`);
  }
  if (port === 0) throw invalid(text, `it names no port; expected something like ${EXAMPLE}`);
  if (url.username !== "" || url.password !== "") {
    throw invalid(text, "it contains a user; pass user and password as options, because URIs end up in logs");
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const base = `${scheme}//${url.host}${url.port === "" ? `:${port}` : ""}`;
  return { uri: base, tls: scheme === "grpc+tls:", host, port, socketPath: null, path: stepsOf(text, rest) };
}

/**
 * Formats the URI of a Flight server.
 *
 * @param host Host name or address, IPv6 without brackets
 * @param port 1 … 65535
 * @param tls Whether the connection is encrypted
 */
export function formatFlightLocation(host: string, port: number, tls = false): string {
  return `${tls ? "grpc+tls" : "grpc"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The segments of the path, from the text itself, because URL removes `.` and `..`. */
function stepsOf(uri: string, rest: string): string[] {
  const path = /^\/\/[^/?#]*\/([^?#]*)/.exec(rest)?.[1] ?? "";
  try {
    return path.split("/").filter((step) => step !== "").map(decodeURIComponent);
  } catch (error) {
    throw invalid(uri, "its path is not percent-encoded UTF-8", error);
  }
}

function parseSocket(text: string, rest: string): FlightLocation {
  const path = rest.startsWith("//") ? rest.slice(2) : rest;
  if (!path.startsWith("/") || path.length < 2) {
    throw invalid(text, "it names no socket; expected something like grpc+unix:///run/flight.sock");
  }
  let socketPath: string;
  try {
    socketPath = decodeURIComponent(path);
  } catch (error) {
    throw invalid(text, "its path is not percent-encoded UTF-8", error);
  }
  return { uri: text, tls: false, host: "", port: 0, socketPath, path: [] };
}

function invalid(uri: string, why: string, cause?: unknown): DipcError {
  const shown = uri.length > 200 ? uri.slice(0, 200) + "…" : uri;
  return new LocalError("invalid_uri", `cannot parse the URI ${JSON.stringify(shown)}: ${why}`, { cause });
}
