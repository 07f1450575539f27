/**
 * Socket addresses: from a host name or literal address to what UCX accepts, and back.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { addressOf, cString, libc } from "../../../ffi/libc.ts";
import { CallMemory } from "../../../ffi/raw_memory.ts";
import type { SockAddr } from "../../../ffi/ucp_structs.ts";
import { withDeadline } from "../../deadline.ts";
import { integerRefusal, isIntegerIn } from "../../options.ts";
import type { PeerAddress } from "../transport.ts";

const AF_INET = 2, AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCKADDR_IN_BYTES = 16, SOCKADDR_IN6_BYTES = 28;
// struct addrinfo of glibc on 64-bit systems
const ADDRINFO = { size: 48, family: 4, socktype: 8, addrlen: 16, addr: 24, next: 40 };

/** Offsets in the memory of a call of getaddrinfo: the hints, the result, the port, and then the host. */
const HINTS = 0, RESULT = 64, SERVICE = 72, NODE = 80;

/**
 * Resolves a host name, IPv4 or IPv6 address.
 *
 * @param peer Host and port
 * @returns Its addresses in the system's order of preference, at least one
 * @throws {DipcError} `unreachable` if the name is unknown, `invalid_argument` for a port out of range
 */
export async function resolveAddress(peer: PeerAddress): Promise<SockAddr[]> {
  if (!isIntegerIn(peer.port, 0, 65535)) {
    throw new LocalError("invalid_argument", integerRefusal("a port", peer.port, 0, 65535));
  }
  const c = libc();
  const [node, service] = [cString(peer.host), cString(String(peer.port))];
  using memory = new CallMemory(NODE + node.byteLength);
  memory.bytes.set(service, SERVICE);
  memory.bytes.set(node, NODE);
  const call = new DataView(memory.bytes.buffer);
  call.setInt32(HINTS + ADDRINFO.socktype, SOCK_STREAM, true);
  const at = (offset: number): bigint => memory.address + BigInt(offset);
  const status = await c.getaddrinfo(at(NODE), at(SERVICE), at(HINTS), at(RESULT));
  if (status !== 0) {
    const text = c.gai_strerror(status);
    const reason = text === null ? `error ${status}` : new Deno.UnsafePointerView(text).getCString();
    throw new LocalError("unreachable", `cannot resolve the host name ${JSON.stringify(peer.host)}: ${reason}`);
  }
  const addresses: SockAddr[] = [];
  const scratch = new Uint8Array(128);
  const view = new DataView(scratch.buffer);
  const first = call.getBigUint64(RESULT, true);
  for (let info = first; info !== 0n; info = view.getBigUint64(ADDRINFO.next, true)) {
    c.memcpy(addressOf(scratch), info, BigInt(ADDRINFO.size));
    const family = view.getInt32(ADDRINFO.family, true);
    if (family !== AF_INET && family !== AF_INET6) continue;
    const length = family === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
    const bytes = new Uint8Array(128);
    c.memcpy(addressOf(bytes), view.getBigUint64(ADDRINFO.addr, true), BigInt(length));
    addresses.push({ bytes, length });
  }
  c.freeaddrinfo(first);
  if (addresses.length === 0) {
    throw new LocalError(
      "unreachable",
      `cannot resolve the host name ${JSON.stringify(peer.host)}: it has no IPv4 or IPv6 address`,
    );
  }
  return addresses;
}

/**
 * Resolves the hosts of all servers of a stream, until a timeout or the caller's signal.
 *
 * @param peers Hosts and ports
 * @param options Longest wait in milliseconds, and what cancels it
 * @param resolve Resolves one host
 * @returns The addresses of each, at least one
 * @throws {DipcError} `timeout`, `cancelled`, and as {@linkcode resolveAddress} does
 */
export async function resolveAddresses(
  peers: readonly PeerAddress[],
  options: { timeoutMs: number; signal?: AbortSignal },
  resolve: (peer: PeerAddress) => Promise<SockAddr[]> = resolveAddress,
): Promise<SockAddr[][]> {
  const { timeoutMs, signal } = options;
  const names = peers.map(({ host }) => host).join(" and ");
  const end = Promise.withResolvers<never>();
  const onAbort = () => {
    end.reject(
      new LocalError("cancelled", `cannot look up ${names}: the signal was aborted`, { cause: signal!.reason }),
    );
  };
  const onTimeout = (): never => {
    throw new LocalError("timeout", `cannot look up ${names}: no answer within ${timeoutMs} ms; check the DNS`);
  };
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  try {
    const found = Promise.all(peers.map((peer) => resolve(peer)));
    return await withDeadline(Promise.race([end.promise, found]), timeoutMs, onTimeout);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * What to try to reach all servers of a stream, one after the other: an address of each, all of one family, in the
 * system's order of preference.
 *
 * @param resolved The addresses of each server
 * @param withIpv6 Whether IPv6 can be used
 * @returns Sets of addresses; none if the servers have no family in common
 */
export function candidateTargets(resolved: readonly SockAddr[][], withIpv6: boolean): SockAddr[][] {
  const candidates: SockAddr[][] = [];
  for (const ipv6 of new Set(resolved[0].map(isIpv6))) {
    if (ipv6 && !withIpv6) continue;
    const lists = resolved.map((addresses) => addresses.filter((address) => isIpv6(address) === ipv6));
    if (lists.some((list) => list.length === 0)) continue;
    const count = Math.max(...lists.map((list) => list.length));
    for (let i = 0; i < count; i++) candidates.push(lists.map((list) => list[Math.min(i, list.length - 1)]));
  }
  return candidates;
}

/**
 * Whether an address stays within this machine: 127.0.0.0/8 or ::1.
 *
 * @param address A socket address
 */
export function isLoopback(address: SockAddr): boolean {
  const bytes = address.bytes;
  if (bytes[0] === AF_INET) return bytes[4] === 127;
  for (let i = 8; i < 23; i++) {
    // ::ffff:127.x is IPv4 loopback, mapped to IPv6
    if (bytes[i] !== 0) return i === 18 && bytes[18] === 0xff && bytes[19] === 0xff && bytes[20] === 127;
  }
  return bytes[23] === 1;
}

/**
 * Whether an address is an IPv6 address.
 *
 * @param address A socket address
 */
export function isIpv6(address: SockAddr): boolean {
  return address.bytes[0] === AF_INET6;
}
