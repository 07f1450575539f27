/**
 * The network interfaces of this machine and their addresses, from the C library: no policy here.
 *
 * @module
 */
import { addressOf, libc } from "./libc.ts";
import { SOCK_DGRAM_CLOEXEC } from "./libc_symbols.ts";
import type { SockAddr } from "./ucp_structs.ts";

const AF_INET = 2, AF_INET6 = 10;
const SOCKADDR_IN_BYTES = 16, SOCKADDR_IN6_BYTES = 28;
// struct ifaddrs of glibc on 64-bit systems
const IFADDRS = { size: 56n, next: 0, name: 8, flags: 16, addr: 24 };
/** `IFF_UP | IFF_RUNNING` of net/if.h. */
const IFF_ACTIVE = 0x41;

/** An address of this machine and the interface that has it. */
export interface InterfaceAddress {
  /** Name of the interface, such as `"eth0"`. */
  readonly name: string;
  /** The address, without brackets. */
  readonly host: string;
  /** Whether the interface can carry data now. */
  readonly isActive: boolean;
}

/**
 * Host and port of a `struct sockaddr_storage`.
 *
 * @param bytes The structure
 */
export function formatAddress(bytes: Uint8Array): { host: string; port: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const port = view.getUint16(2);
  if (view.getUint16(0, true) === AF_INET) return { host: bytes.subarray(4, 8).join("."), port };
  const groups: string[] = [];
  for (let i = 8; i < 24; i += 2) groups.push(view.getUint16(i).toString(16));
  const host = groups.join(":").replace(/(?:^|:)0(?::0)+(?:$|:)/, "::");
  return { host, port };
}

/** All addresses of this machine, as they are now; empty if the system does not tell. */
export function interfaceAddresses(): InterfaceAddress[] {
  const c = libc();
  const list = new BigUint64Array(16);
  if (c.getifaddrs(new Uint8Array(list.buffer)) !== 0) return [];
  const found: InterfaceAddress[] = [];
  const entry = new Uint8Array(128), address = new Uint8Array(128);
  const view = new DataView(entry.buffer);
  for (let at = list[0]; at !== 0n; at = view.getBigUint64(IFADDRS.next, true)) {
    c.memcpy(addressOf(entry), at, IFADDRS.size);
    const pointer = view.getBigUint64(IFADDRS.addr, true);
    const name = Deno.UnsafePointer.create(view.getBigUint64(IFADDRS.name, true));
    if (pointer === 0n || name === null) continue;
    c.memcpy(addressOf(address), pointer, 2n);
    const family = address[0] | address[1] << 8;
    if (family !== AF_INET && family !== AF_INET6) continue;
    c.memcpy(addressOf(address), pointer, BigInt(family === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES));
    // An alias such as eth0:1 is an address of eth0.
    const device = new Deno.UnsafePointerView(name).getCString().split(":")[0];
    const isActive = (view.getUint32(IFADDRS.flags, true) & IFF_ACTIVE) === IFF_ACTIVE;
    found.push({ name: device, host: formatAddress(address).host, isActive });
  }
  c.freeifaddrs(list[0]);
  return found;
}

/**
 * The address of this machine that packets to `target` are sent from, found without sending any.
 *
 * @returns `null` if there is no way to it
 */
export function sourceAddress(target: SockAddr): string | null {
  const c = libc();
  const socket = c.socket(target.bytes[0], SOCK_DGRAM_CLOEXEC, 0);
  if (socket < 0) return null;
  try {
    if (c.connect(socket, target.bytes, target.length) !== 0) return null;
    const bytes = new Uint8Array(128), length = new Uint32Array(32);
    length[0] = bytes.byteLength;
    if (c.getsockname(socket, bytes, new Uint8Array(length.buffer)) !== 0) return null;
    return formatAddress(bytes).host;
  } finally {
    c.close(socket);
  }
}

/** Addresses of documentation, 192.0.2.1 and 2001:db8::1: hardly a network has them, so the way to them is the way to far away. */
const FAR_IPV4 = [AF_INET, 0, 0, 9, 192, 0, 2, 1];
const FAR_IPV6 = [AF_INET6, 0, 0, 9, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/**
 * An address by which others can reach this machine: the one that packets to far away are sent from, otherwise the first that is
 * neither a loopback nor a link-local address.
 *
 * @param ipv6 Of which family
 * @returns `null` if there is none
 */
export function ownAddress(ipv6: boolean): string | null {
  const bytes = new Uint8Array(128);
  bytes.set(ipv6 ? FAR_IPV6 : FAR_IPV4);
  const source = sourceAddress({ bytes, length: ipv6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES });
  if (source !== null) return source;
  const others = interfaceAddresses().filter(({ name, host }) => name !== "lo" && host.includes(":") === ipv6);
  return others.find(({ host }) => !host.startsWith("fe80:"))?.host ?? null;
}
