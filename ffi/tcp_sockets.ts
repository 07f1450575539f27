/**
 * System calls on the TCP sockets that the runtime has opened: they receive into memory and send from memory that is anywhere, and
 * never wait. No policy here.
 *
 * @module
 */
import { fileErrno, fileLibrary } from "./files.ts";
import { addressOf } from "./libc.ts";
import { connectedSockets } from "./sockets.ts";
import { SOCKET_CONSTANTS, SOCKET_LAYOUT } from "./unix_sockets.ts";

const SYMBOLS = {
  // What is moved is below 2 GiB, so that the results fit.
  // ssize_t recv(int sockfd, void *buf, size_t len, int flags)
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  // ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags)
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const { iovec, msghdr } = SOCKET_LAYOUT;
const { MSG_DONTWAIT, MSG_NOSIGNAL } = SOCKET_CONSTANTS;

/** Pieces that one call sends; what follows them is left for the next one. */
const MAX_PIECES = 128;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function calls(): NonNullable<typeof library> {
  if (library !== undefined) return library;
  fileLibrary(); // before the calls: opening it sets errno
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/**
 * Finds the descriptor of a TCP connection of this process.
 *
 * @param ownPort Port of this end
 * @param peer The other end
 * @returns `null` if there is none, or it is not clear which one it is
 */
export function findConnection(ownPort: number, peer: Deno.NetAddr): number | null {
  const wanted = canonical(peer.hostname);
  const found = connectedSockets(ownPort).filter(({ peer: key }) => {
    const [host, port] = key.split(" ");
    return Number(port) === peer.port && canonical(host) === wanted;
  });
  return found.length === 1 ? found[0].descriptor : null;
}

/** An address as the URL standard writes it: IPv6 has several spellings. */
function canonical(host: string): string {
  return host.includes(":") ? new URL(`http://[${host}]`).hostname : host;
}

/** A message header and, behind it, its vector, in memory that does not move. */
const message = new Uint8Array(msghdr.size + MAX_PIECES * iovec.size);
const fields = new BigUint64Array(message.buffer);

/**
 * Receives what has come, without waiting.
 *
 * @param fd A connected socket
 * @param into Memory for it, not empty and below 2 GiB
 * @returns Number of bytes, 0 at the end of the connection, or minus `errno`: `EAGAIN` if nothing has come
 */
export function receiveNow(fd: number, into: Uint8Array<ArrayBuffer>): number {
  const received = calls().recv(fd, into, BigInt(into.byteLength), MSG_DONTWAIT);
  return received < 0 ? -fileErrno() : received;
}

/**
 * Sends as much as the system takes, without waiting.
 *
 * @param fd A connected socket
 * @param pieces The bytes in order, below 2 GiB, each piece part of an array of 65 bytes or more
 * @returns Number of bytes, or minus `errno`: `EAGAIN` if the system takes nothing now
 */
export function sendNow(fd: number, pieces: readonly Uint8Array<ArrayBuffer>[]): number {
  const count = Math.min(pieces.length, MAX_PIECES);
  fields[msghdr.msg_iov / 8] = addressOf(message) + BigInt(msghdr.size);
  fields[msghdr.msg_iovlen / 8] = BigInt(count);
  for (let i = 0, at = msghdr.size / 8; i < count; i++, at += iovec.size / 8) {
    fields[at + iovec.iov_base / 8] = addressOf(pieces[i]);
    fields[at + iovec.iov_len / 8] = BigInt(pieces[i].byteLength);
  }
  const sent = calls().sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -fileErrno() : sent;
}
