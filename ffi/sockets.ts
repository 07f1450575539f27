/**
 * The sockets of this process, as the system sees them: those that a native library has opened, too.
 *
 * @module
 */
import { formatAddress } from "./interfaces.ts";
import { EFD_CLOEXEC_NONBLOCK, type Libc, libc, namesIn } from "./libc.ts";

/** `SHUT_RDWR` of shutdown. */
const BOTH_DIRECTIONS = 2;
/** `O_CLOEXEC` of dup3. */
const CLOSE_ON_EXEC = 0o2000000;
/** Bytes of the longest socket address. */
const ADDRESS_BYTES = 128;

/** `SOL_SOCKET` and `SO_ACCEPTCONN` of getsockopt. */
const SOL_SOCKET = 1, SO_ACCEPTCONN = 30;

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
