/**
 * The sockets of this process, as the system sees them: those that a native library has opened, too.
 *
 * @module
 */
import { formatAddress } from "./interfaces.ts";
import { addressOf, type Libc, libc, namesIn } from "./libc.ts";
import { EFD_CLOEXEC_NONBLOCK } from "./libc_symbols.ts";

/** `SHUT_RDWR` of shutdown. */
const BOTH_DIRECTIONS = 2;
/** `O_CLOEXEC` of dup3. */
const CLOSE_ON_EXEC = 0o2000000;
/** Bytes of the longest socket address. */
const ADDRESS_BYTES = 128;

/** `SOL_SOCKET`, and of its options `SO_ACCEPTCONN` and `SO_ATTACH_FILTER`. */
const SOL_SOCKET = 1, SO_ACCEPTCONN = 30, SO_ATTACH_FILTER = 26;
/** `IPPROTO_TCP` and `TCP_INFO`; `tcpi_unacked` of a socket that listens is the number of connections that wait to be accepted. */
const IPPROTO_TCP = 6, TCP_INFO = 11, TCPI_UNACKED = 24, TCP_INFO_BYTES = 256;
/**
 * A program of the kernel's packet filter (`struct sock_filter`: code, jump if true, jump if false, number) that drops whatever begins
 * a connection: a segment with SYN and without ACK, bits 1 and 4 of byte 13 of its header.
 */
const DROP_NEW: readonly [code: number, isTrue: number, isFalse: number, k: number][] = [
  [0x30, 0, 0, 13], // load a byte
  [0x54, 0, 0, 0x12], // and
  [0x15, 0, 1, 0x02], // is it equal?
  [0x06, 0, 0, 0], // then none of it is let through,
  [0x06, 0, 0, 0xffff_ffff], // otherwise all
];

/** A socket that is or was connected. */
export interface ConnectedSocket {
  /** Its file descriptor. */
  readonly descriptor: number;
  /** Address of the other end, as {@linkcode peerKey} writes it; empty once the connection is over. */
  readonly peer: string;
}

/** An address with its port as one text. */
export function peerKey(address: Uint8Array): string {
  const { host, port } = formatAddress(address);
  return `${host} ${port}`;
}

/**
 * The TCP sockets of this process that do not listen.
 *
 * @param port Only those with this port at their own end
 */
export function connectedSockets(port: number): ConnectedSocket[] {
  const c = libc();
  const found: ConnectedSocket[] = [];
  const address = new Uint8Array(ADDRESS_BYTES), length = new Uint32Array(1);
  const lengthBytes = new Uint8Array(length.buffer);
  const ask = (name: "getsockname" | "getpeername", descriptor: number): boolean => {
    length[0] = ADDRESS_BYTES;
    return c[name](descriptor, address, lengthBytes) === 0 && isInternet(address);
  };
  for (const name of namesIn("/proc/self/fd")) {
    const descriptor = Number(name);
    if (!ask("getsockname", descriptor) || formatAddress(address).port !== port || isListening(descriptor)) continue;
    found.push({ descriptor, peer: ask("getpeername", descriptor) ? peerKey(address) : "" });
  }
  return found;
}

function isListening(descriptor: number): boolean {
  const value = new Uint32Array(1), length = Uint32Array.of(4);
  const bytes = (array: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => new Uint8Array(array.buffer);
  return libc().getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, bytes(value), bytes(length)) === 0 && value[0] !== 0;
}

/**
 * The TCP socket of this process that listens at an address.
 *
 * @param address A socket address with its port
 * @returns its file descriptor; `null` if there is none
 */
export function listeningSocket(address: Uint8Array): number | null {
  const key = peerKey(address), found = new Uint8Array(ADDRESS_BYTES), length = new Uint32Array(1);
  for (const name of namesIn("/proc/self/fd")) {
    length[0] = ADDRESS_BYTES;
    const descriptor = Number(name);
    const isNamed = libc().getsockname(descriptor, found, new Uint8Array(length.buffer)) === 0 && isInternet(found);
    if (isNamed && peerKey(found) === key && isListening(descriptor)) return descriptor;
  }
  return null;
}

/** How many connections wait to be accepted; 0 if that cannot be known. */
export function waitingConnections(listening: number): number {
  const info = new Uint32Array(TCP_INFO_BYTES / 4), length = Uint32Array.of(TCP_INFO_BYTES);
  const bytes = (array: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => new Uint8Array(array.buffer);
  const isKnown = libc().getsockopt(listening, IPPROTO_TCP, TCP_INFO, bytes(info), bytes(length)) === 0;
  return isKnown ? info[TCPI_UNACKED / 4] : 0;
}

/**
 * Lets no further connection begin at a socket that listens, for as long as it lives. Whoever connects hears nothing, which is as if
 * the packet were lost: its system tries again after a second. Connections that have begun go on. Best effort.
 */
export function holdConnections(listening: number): void {
  // struct sock_fprog: the number of instructions, and at byte 8 their address.
  const bytes = new Uint8Array(128), view = new DataView(bytes.buffer), start = 16;
  view.setUint16(0, DROP_NEW.length, true);
  view.setBigUint64(8, addressOf(bytes) + BigInt(start), true);
  DROP_NEW.forEach(([code, isTrue, isFalse, k], i) => {
    const at = start + 8 * i;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, isTrue);
    view.setUint8(at + 3, isFalse);
    view.setUint32(at + 4, k, true);
  });
  libc().setsockopt(listening, SOL_SOCKET, SO_ATTACH_FILTER, bytes, 16);
}

/** `AF_INET` or `AF_INET6`. */
function isInternet(address: Uint8Array): boolean {
  return (address[0] === 2 || address[0] === 10) && address[1] === 0;
}

/** Ends a connection: whoever reads it learns that it is over. */
export function endConnection(descriptor: number): void {
  libc().shutdown(descriptor, BOTH_DIRECTIONS);
}

/**
 * Takes a socket from a library that does not notice its end: in its place there is something that never becomes readable. The
 * number stays in use, because the library may close it.
 *
 * @param descriptor The socket
 * @param port Port at its own end: looked at once more, because a number that was closed meanwhile may be something else now
 * @returns whether it was there
 */
export function replaceSocket(descriptor: number, port: number): boolean {
  const c: Libc = libc();
  const silent = c.eventfd(0, EFD_CLOEXEC_NONBLOCK);
  if (silent < 0) return false;
  const address = new Uint8Array(ADDRESS_BYTES), length = Uint32Array.of(ADDRESS_BYTES);
  const isSame = c.getsockname(descriptor, address, new Uint8Array(length.buffer)) === 0 && isInternet(address) &&
    formatAddress(address).port === port && c.dup3(silent, descriptor, CLOSE_ON_EXEC) >= 0;
  c.close(silent);
  return isSame;
}
