/**
 * `ucx:` URIs: the address of a server, and the values to request a stream with.
 *
 * `ucx://host:port/ticket?want_data=…&free_data=…&remote_handle=…&role=…&dipc=1&keep=1&share=…`. The published protocol defines the
 * first three parameters; `role` (both, metadata, body), `dipc` (the server understands the request envelope), `keep` (it takes
 * further requests on a connection) and `share` (the socket that hands out its memory) are extensions of dipc that others ignore. The
 * path is the percent-encoded default ticket.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import { integerIn, integerRefusal, oneOf } from "../options.ts";
import { STREAM_ROLES, type StreamRole } from "./role.ts";

/** A parsed `ucx:` URI. */
export interface UcxUri {
  /** Host name, IPv4 or IPv6 address, without brackets. */
  readonly host: string;
  /** 1 … 65535 */
  readonly port: number;
  /** Default ticket: the path, percent-decoded; `null` if the path is empty. */
  readonly ticket: Uint8Array | null;
  /** Tag of the request, u64. */
  readonly wantData: bigint;
  /** Tag of the message that releases type-1 memory, u64, if there is one. */
  readonly freeData: bigint | null;
  /** Packed rkey or memory handle, if there is one. */
  readonly remoteHandle: Uint8Array | null;
  /** What the location serves, if the URI declares it. */
  readonly role: StreamRole | null;
  /** Whether the server understands the request envelope. */
  readonly dipc: boolean;
  /** Whether the server takes further requests on a connection after a whole stream. */
  readonly keep: boolean;
  /**
   * Unix socket at which a client of the same machine gets the memory that bodies of type 1 lie in, if there is one: a path, or a
   * name in the abstract namespace.
   */
  readonly share: string | null;
}

/** What {@linkcode formatUri} needs; whatever is left out is not in the URI. */
export interface UcxUriParts {
  /** Host name, IPv4 or IPv6 address, without brackets. */
  host: string;
  /** 1 … 65535 */
  port: number;
  /** Default ticket; text is encoded as UTF-8. */
  ticket?: Uint8Array | string | null;
  /** u64 */
  wantData: bigint;
  /** u64 */
  freeData?: bigint | null;
  /** Packed rkey or memory handle. */
  remoteHandle?: Uint8Array | null;
  /** What the location serves. */
  role?: StreamRole | null;
  /** Whether the server understands the request envelope. */
  dipc?: boolean;
  /** Whether the server takes further requests on a connection after a whole stream. */
  keep?: boolean;
  /** Unix socket at which the server hands out its memory. */
  share?: string | null;
}

/** Longest URI that is read, in characters. */
const MAX_URI_LENGTH = 65536;

/** Longest name of a Unix socket that every system accepts, in bytes. */
const MAX_SHARE_LENGTH = 107;
/** URIs that were parsed lately, of at most so many characters: programs request the same ones again and again. */
const parsed = new Map<string, UcxUri>();
const MAX_PARSED = 64, MAX_PARSED_LENGTH = 1024;

const MAX_U64 = 0xFFFFFFFFFFFFFFFFn;
const EXAMPLE = "ucx://127.0.0.1:13337/trips?want_data=1";

function invalid(uri: string, why: string): DipcError {
  const shown = uri.length > 200 ? uri.slice(0, 200) + "…" : uri;
  return new LocalError("invalid_uri", `cannot read the URI ${JSON.stringify(shown)}: ${why}`);
}

/**
 * Parses a `ucx:` URI. Unknown parameters are ignored.
 *
 * @throws {DipcError} `invalid_uri`
 *
 * @example Usage
 * ```ts
 * import { parseUri } from "./uri.ts";
 *
 * const uri = parseUri("ucx://127.0.0.1:39297/trips?want_data=18446741783881759408");
 * console.log(uri.port, uri.wantData); // 39297 18446741783881759408n
 * ```
 */
export function parseUri(text: string | URL): UcxUri {
  const uri = String(text);
  const known = parsed.get(uri);
  if (known !== undefined) return known;
  const result = parse(uri);
  if (parsed.size >= MAX_PARSED) parsed.clear();
  if (uri.length <= MAX_PARSED_LENGTH) parsed.set(uri, result);
  return result;
}

function parse(uri: string): UcxUri {
  if (uri.length > MAX_URI_LENGTH) {
    throw invalid(uri, `at most ${MAX_URI_LENGTH} characters are allowed, found ${uri.length}`);
  }
  // Printable ASCII only: a line break or a space inside is a copying mistake, and other characters must be percent-encoded.
  const stray = /[^\x21-\x7e]/u.exec(uri);
  if (stray !== null) {
    throw invalid(uri, `the character ${JSON.stringify(stray[0])} at ${stray.index} must be percent-encoded`);
  }
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(uri);
  if (scheme === null || scheme[1].toLowerCase() !== "ucx") {
    throw invalid(
      uri,
      `expected the scheme ucx:, found ${
        scheme === null ? "none" : JSON.stringify(scheme[0])
      }; an example is ${EXAMPLE}`,
    );
  }
  if (!uri.startsWith("//", 4)) throw invalid(uri, `expected ucx://host:port, as in ${EXAMPLE}`);
  if (uri.includes("#")) throw invalid(uri, "it has a fragment; a # in a name is written %23");
  const rest = uri.slice(6);
  const authorityEnd = rest.search(/[/?]|$/);
  const queryStart = rest.indexOf("?");
  const path = queryStart < 0 ? rest.slice(authorityEnd) : rest.slice(authorityEnd, queryStart);
  const { host, port } = parseAuthority(uri, rest.slice(0, authorityEnd));
  const parameters = parseQuery(uri, queryStart < 0 ? "" : rest.slice(queryStart + 1));

  const want = parameters.get("want_data");
  if (want === undefined) {
    throw invalid(
      uri,
      `the parameter want_data is missing; give the whole URI that the server printed, in quotes if a shell reads it, such as ${EXAMPLE}`,
    );
  }
  const free = parameters.get("free_data");
  const handle = parameters.get("remote_handle");
  const role = parameters.get("role");
  if (role !== undefined && !isRole(role)) {
    throw invalid(uri, `role must be both, metadata or body, found ${JSON.stringify(role)}`);
  }
  return {
    host,
    port,
    ticket: path.length <= 1 ? null : percentDecode(uri, path.slice(1)),
    wantData: parseUint64(uri, "want_data", want),
    freeData: free === undefined ? null : parseUint64(uri, "free_data", free),
    remoteHandle: handle === undefined ? null : parseBase64(uri, "remote_handle", handle),
    role: role === undefined ? null : role,
    dipc: parameters.get("dipc") === "1",
    keep: parameters.get("keep") === "1",
    share: parseShare(uri, parameters.get("share")),
  };
}

function parseShare(uri: string, text: string | undefined): string | null {
  if (text === undefined) return null;
  if (isSocketName(text)) return text;
  throw invalid(uri, `share is the name of a Unix socket, 1 to ${MAX_SHARE_LENGTH} printable characters`);
}

function isSocketName(text: string): boolean {
  return text.length <= MAX_SHARE_LENGTH && /^[\x21-\x7e]+$/.test(text);
}

/**
 * Writes a `ucx:` URI.
 *
 * @throws {DipcError} `invalid_argument` if a part cannot be written
 */
export function formatUri(parts: UcxUriParts): string {
  const { host, port, wantData } = parts;
  const isV6 = host.includes(":");
  if (isV6 ? !isIpv6(host) : !isHostName(host)) {
    throw new LocalError(
      "invalid_argument",
      `cannot write a URI: ${JSON.stringify(host)} is not a host name, IPv4 or IPv6 address`,
    );
  }
  integerIn("port", port, 1, 65535);
  let path = "";
  if (parts.ticket !== undefined && parts.ticket !== null) {
    const ticket = typeof parts.ticket === "string" ? new TextEncoder().encode(parts.ticket) : parts.ticket;
    path = "/" + percentEncode(ticket);
    if (path === "/." || path === "/..") {
      throw new LocalError(
        "invalid_argument",
        `cannot write a URI: the ticket "${path.slice(1)}" cannot be its path; rename it`,
      );
    }
  }
  const query = [`want_data=${formatUint64("want_data", wantData)}`];
  if (parts.freeData !== undefined && parts.freeData !== null) {
    query.push(`free_data=${formatUint64("free_data", parts.freeData)}`);
  }
  if (parts.remoteHandle) query.push(`remote_handle=${formatBase64(parts.remoteHandle)}`);
  if (parts.role) {
    query.push(`role=${oneOf("role", parts.role, STREAM_ROLES)}`);
  }
  if (parts.dipc) query.push("dipc=1");
  if (parts.keep) query.push("keep=1");
  if (parts.share) {
    if (!isSocketName(parts.share)) {
      throw new LocalError(
        "invalid_argument",
        `cannot write a URI: ${
          JSON.stringify(parts.share)
        } is not a name of a Unix socket of 1 to ${MAX_SHARE_LENGTH} ` +
          "printable characters",
      );
    }
    query.push(`share=${percentEncode(new TextEncoder().encode(parts.share))}`);
  }
  return `ucx://${isV6 ? `[${host}]` : host}:${port}${path}?${query.join("&")}`;
}

function isRole(value: string): value is StreamRole {
  return (STREAM_ROLES as readonly string[]).includes(value);
}

function parseAuthority(uri: string, authority: string): { host: string; port: number } {
  if (authority.includes("@")) throw invalid(uri, "it has a user name, which ucx: URIs do not have");
  const parts = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/.exec(authority);
  if (parts === null) {
    throw invalid(
      uri,
      `expected host:port, found ${JSON.stringify(authority)}; an IPv6 address needs brackets: [::1]:13337`,
    );
  }
  const [, v6, name, portText] = parts;
  if (v6 !== undefined) {
    if (!isIpv6(v6)) throw invalid(uri, `${JSON.stringify(`[${v6}]`)} is not an IPv6 address`);
  } else if (name === "") {
    throw invalid(uri, `the host is missing; an example is ${EXAMPLE}`);
  } else if (!isHostName(name)) {
    throw invalid(uri, `${JSON.stringify(name)} is not a host name or IPv4 address`);
  }
  if (portText === undefined || portText === "") throw invalid(uri, `the port is missing; an example is ${EXAMPLE}`);
  const port = /^[0-9]{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65535) {
    throw invalid(uri, `a port is a number from 1 to 65535, found ${JSON.stringify(portText)}`);
  }
  return { host: v6 ?? name, port };
}

const KNOWN = new Set(["want_data", "free_data", "remote_handle", "role", "dipc", "keep", "share"]);

/** The parameters that are known here. A `+` stays a `+`: `remote_handle` is base64, and nothing here is an HTML form. */
function parseQuery(uri: string, query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const piece of query.split("&")) {
    const equals = piece.indexOf("=");
    const name = parameterName(equals < 0 ? piece : piece.slice(0, equals));
    if (!KNOWN.has(name)) continue;
    if (found.has(name)) throw invalid(uri, `the parameter ${name} is given twice`);
    let value = "";
    for (const byte of percentDecode(uri, equals < 0 ? "" : piece.slice(equals + 1))) {
      value += String.fromCharCode(byte);
    }
    found.set(name, value);
  }
  return found;
}

/** A name with its percent-encoding undone; one that is malformed is not a known one. */
function parameterName(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parseUint64(uri: string, name: string, text: string): bigint {
  if (!/^[0-9]{1,20}$/.test(text)) {
    throw invalid(uri, `${name} is a decimal number from 0 to 2^64 - 1, found ${JSON.stringify(text.slice(0, 40))}`);
  }
  const value = BigInt(text);
  if (value > MAX_U64) throw invalid(uri, `${name} is at most 2^64 - 1, found ${text}`);
  return value;
}

function formatUint64(name: string, value: bigint): string {
  if (typeof value !== "bigint" || value < 0n || value > MAX_U64) {
    throw new LocalError("invalid_argument", integerRefusal(name, value, 0n, MAX_U64));
  }
  return value.toString();
}

function parseBase64(uri: string, name: string, text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) throw invalid(uri, `${name} is not base64`);
  const digits = text.replace(/=+$/, "").replaceAll("-", "+").replaceAll("_", "/");
  if (text.endsWith("=") && text.length % 4 !== 0 || digits.length % 4 === 1) {
    throw invalid(uri, `${name} is not base64: it has ${text.length} characters`);
  }
  return Uint8Array.from(atob(digits), (c) => c.charCodeAt(0));
}

function formatBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function percentDecode(uri: string, text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 0x25) {
      bytes[length++] = code;
      continue;
    }
    const digits = text.slice(i + 1, i + 3);
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) {
      throw invalid(uri, `a % is followed by two hexadecimal digits, found ${JSON.stringify("%" + digits)}`);
    }
    bytes[length++] = parseInt(digits, 16);
    i += 2;
  }
  return bytes.slice(0, length);
}

/** Everything but unreserved characters is encoded, also `/`: URL parsers would take `.` and `..` segments away. */
function percentEncode(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9._~-]/.test(character) ? character : "%" + byte.toString(16).toUpperCase().padStart(2, "0");
  }
  return text;
}

/** True for an IPv4 address or a host name of letters, digits, `-`, `_` and dots. */
function isHostName(host: string): boolean {
  if (/^[0-9.]+$/.test(host)) {
    const parts = host.split(".");
    return parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
  }
  return host.length <= 253 &&
    /^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/.test(host) &&
    host.split(".").every((label) => label.length <= 63);
}

/** True for an IPv6 address (RFC 4291) without a zone. */
function isIpv6(text: string): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  let groups = 0;
  for (let h = 0; h < halves.length; h++) {
    if (halves[h] === "") continue;
    const pieces = halves[h].split(":");
    for (let i = 0; i < pieces.length; i++) {
      const last = h === halves.length - 1 && i === pieces.length - 1;
      if (last && pieces[i].includes(".")) {
        if (!isHostName(pieces[i]) || !/^[0-9.]+$/.test(pieces[i])) return false;
        groups += 2;
      } else if (/^[0-9a-fA-F]{1,4}$/.test(pieces[i])) {
        groups++;
      } else {
        return false;
      }
    }
  }
  return halves.length === 2 ? groups <= 7 : groups === 8;
}

/** One way to fetch a stream: from one server, or its metadata from one and its bodies from another. */
export interface Alternative {
  /** Server of the metadata; of the bodies too if `body` is null. */
  readonly metadata: UcxUri;
  /** Server of the bodies, on a connection of their own; `null` if one connection carries both. */
  readonly body: UcxUri | null;
}

/**
 * Groups the `ucx:` locations of one stream into alternatives, in order of preference.
 *
 * Without roles, one location serves both and two are metadata, then body. With roles, each is `both` on its own or
 * stands in an adjacent pair of `metadata` and `body`.
 *
 * @param locations URIs of one endpoint; those with another scheme are skipped
 * @throws {DipcError} `invalid_uri` if one is malformed, or the roles do not match
 */
export function groupLocations(locations: readonly (string | URL)[]): Alternative[] {
  const texts = locations.map(String).filter((text) => /^ucx:/i.test(text));
  const uris = texts.map(parseUri);
  const withRole = uris.filter((uri) => uri.role !== null).length;
  if (withRole === 0) {
    if (uris.length === 1) return [{ metadata: uris[0], body: null }];
    if (uris.length === 2) return [{ metadata: uris[0], body: uris[1] }];
    if (uris.length === 0) return [];
    throw invalid(
      texts[0],
      `it is one of ${uris.length} locations without a role; add role=… to more than two locations`,
    );
  }
  const alternatives: Alternative[] = [];
  for (let i = 0; i < uris.length; i++) {
    const uri = uris[i];
    if (uri.role === null) throw invalid(texts[i], "it has no role, but other locations of the same stream have one");
    if (uri.role === "both") {
      alternatives.push({ metadata: uri, body: null });
      continue;
    }
    const partner = uri.role === "metadata" ? "body" : "metadata";
    if (i + 1 >= uris.length || uris[i + 1].role !== partner) {
      throw invalid(texts[i], `role=${uri.role} needs a location with role=${partner} next to it`);
    }
    alternatives.push(
      uri.role === "metadata" ? { metadata: uri, body: uris[i + 1] } : { metadata: uris[i + 1], body: uri },
    );
    i++;
  }
  return alternatives;
}
