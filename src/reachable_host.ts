/**
 * The host that a server names in URIs: never a wildcard address, which every machine takes for itself.
 *
 * @module
 */
import { ownAddress } from "../ffi/interfaces.ts";
import { LocalError } from "./errors.ts";
import { isGranted } from "./permissions.ts";

/** How a client has reached a server. */
export interface Approach {
  /** Host and port that the client requested, as it wrote them; empty if it did not say. */
  readonly authority: string;
  /** Address of the server's end of the connection; empty if that is not known. */
  readonly localAddress: string;
}

/** A host, and the port if the client knows the server by another than the server does. */
export interface ReachableHost {
  /** Host name or address, IPv6 without brackets. */
  readonly host: string;
  readonly port?: number;
}

/** Whether a host stands for all addresses of a machine: `0.0.0.0`, `::`, and other ways to write them. */
export function isWildcardHost(host: string): boolean {
  return /^(?:0+(?:\.0+){0,3})?$/.test(host) || /^(?=.*:)[0:]+(?:0\.0\.0\.0)?$|^::ffff:(?:0\.0\.0\.0|0:0)$/i.test(host);
}

/**
 * Checks the host that a server is to name.
 *
 * @param host The option `advertise`
 * @throws {DipcError} `invalid_argument` for a wildcard address
 */
export function advertisedHost(host: string | undefined): string | undefined {
  if (host === undefined || !isWildcardHost(host)) return host;
  throw new LocalError(
    "invalid_argument",
    `cannot advertise ${
      JSON.stringify(host)
    }: every client takes it for its own machine; give the name or address of this one`,
  );
}

/**
 * The host that a server names to a client: the address it is bound to; if that is a wildcard, the host that the client requested,
 * otherwise an address of this machine.
 *
 * @param bound Host name or address that the server is bound to
 * @param families Whether the server can be reached by addresses of both families if it is bound to `::`
 * @param approach How the client has reached the server, if it has
 */
export function reachableHost(bound: string, families: "one" | "both", approach?: Approach): ReachableHost {
  if (!isWildcardHost(bound)) return { host: bound };
  const ipv6 = bound.includes(":");
  const fits = (host: string): boolean => {
    const isAddress = host.includes(":") || /^[\d.]+$/.test(host);
    return !isWildcardHost(host) && (!isAddress || (ipv6 && families === "both") || host.includes(":") === ipv6);
  };
  const requested = parseAuthority(approach?.authority ?? "");
  if (requested !== null && fits(requested.host)) return requested;
  const local = (approach?.localAddress ?? "").replace(/^::ffff:(?=\d+\.)/i, "");
  // A link-local address means nothing without the name of an interface of the client's.
  if (fits(local) && !/^fe80:|%/i.test(local)) return { host: local };
  const own = machineAddress(ipv6) ?? (ipv6 && families === "both" ? machineAddress(false) : null);
  return { host: own ?? (ipv6 ? "::1" : "127.0.0.1") };
}

function parseAuthority(text: string): ReachableHost | null {
  try {
    const { hostname, host, port, pathname, username, search, hash } = new URL(`http://${text}`);
    if (text === "" || username + search + hash !== "" || pathname !== "/") return null;
    // `port` is empty for the default port of the scheme.
    const number = port !== "" ? Number(port) : /:80$/.test(text) && host === hostname ? 80 : undefined;
    if (number === 0) return null;
    return { host: hostname.replace(/^\[|\]$/g, ""), port: number };
  } catch {
    return null;
  }
}

/** An address of this machine, found by the means that the program is permitted. */
function machineAddress(ipv6: boolean): string | null {
  if (isGranted({ name: "ffi" })) return ownAddress(ipv6);
  if (!isGranted({ name: "sys", kind: "networkInterfaces" })) return null;
  const family = ipv6 ? "IPv6" : "IPv4";
  const isReachable = (each: Deno.NetworkInterfaceInfo): boolean =>
    each.family === family && each.name !== "lo" && !each.address.startsWith("fe80:");
  return Deno.networkInterfaces().find(isReachable)?.address ?? null;
}
