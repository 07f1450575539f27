/**
 * Unix sockets that keep the bounds of messages (`SOCK_SEQPACKET`), pass a file descriptor, and tell who the peer is: one symbol
 * table and the layouts that it needs, no policy.
 *
 * @module
 */
import { fileErrno } from "./files.ts";
import { addressOf, libc } from "./libc.ts";
import { CallMemory } from "./raw_memory.ts";

const SYMBOLS = {
  // int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int listen(int sockfd, int backlog)
  listen: { parameters: ["i32", "i32"], result: "i32" },
  // int accept4(int sockfd, struct sockaddr *addr, socklen_t *addrlen, int flags)
  accept4: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  // ssize_t send(int sockfd, const void *buf, size_t len, int flags)
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  // ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags)
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  // ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags)
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout), on a thread of Deno's pool
  pollLater: { name: "poll", parameters: ["usize", "usize", "i32"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** Offsets of the fields used, and sizes, on 64-bit Linux with glibc; a test compares them with what a compiler says. */
export const SOCKET_LAYOUT = {
  sockaddr_un: { sun_family: 0, sun_path: 2, size: 110 },
  iovec: { iov_base: 0, iov_len: 8, size: 16 },
  msghdr: { msg_name: 0, msg_iov: 16, msg_iovlen: 24, msg_control: 32, msg_controllen: 40, msg_flags: 48, size: 56 },
  cmsghdr: { cmsg_len: 0, cmsg_level: 8, cmsg_type: 12, size: 16 },
  ucred: { pid: 0, uid: 4, gid: 8, size: 12 },
  pollfd: { fd: 0, events: 4, revents: 6, size: 8 },
} as const;

/** Constants of sys/socket.h, sys/un.h and poll.h, by their names there; the same test compares them. */
export const SOCKET_CONSTANTS = {
  AF_UNIX: 1,
  SOCK_SEQPACKET: 5,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_PEERCRED: 17,
  SCM_RIGHTS: 1,
  MSG_CTRUNC: 8,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
  POLLIN: 1,
} as const;

const { sockaddr_un, iovec, msghdr, cmsghdr, ucred, pollfd } = SOCKET_LAYOUT;
const { AF_UNIX, SOCK_SEQPACKET, SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL } = SOCKET_CONSTANTS;

/** Descriptors that one message may carry and that are then closed, except the first. */
const MAX_DESCRIPTORS = 16;
const BACKLOG = 64;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function sockets(): NonNullable<typeof library> {
  if (library !== undefined) return library;
  libc(); // throws a clear error if the C library cannot be opened
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/**
 * The address of a socket.
 *
 * @param name A path if it begins with `/`, otherwise a name in the abstract namespace of Linux; at most 107 bytes
 */
function addressFor(name: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(name);
  // A name in the abstract namespace begins with a zero byte, and ends with the address; a path ends with a zero byte.
  const address = new Uint8Array(sockaddr_un.sun_path + 1 + bytes.byteLength);
  address[sockaddr_un.sun_family] = AF_UNIX;
  address.set(bytes, name.startsWith("/") ? sockaddr_un.sun_path : sockaddr_un.sun_path + 1);
  return address;
}

/** What a call returned: a number of 0 or more, or minus `errno`. */
function result(value: number): number {
  return value < 0 ? -fileErrno() : value;
}

function openSocket(): number {
  return result(libc().socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

/**
 * Opens a socket that listens; calls on it do not wait.
 *
 * @param name A path, or a name in the abstract namespace
 * @returns its descriptor, or minus `errno`
 */
export function listenUnix(name: string): number {
  return withSocket((fd) => {
    const address = addressFor(name);
    const bound = result(sockets().bind(fd, address, address.byteLength));
    return bound < 0 ? bound : result(sockets().listen(fd, BACKLOG));
  });
}

/**
 * Connects to a socket; calls on it do not wait.
 *
 * @param name A path, or a name in the abstract namespace
 * @returns its descriptor, or minus `errno`
 */
export function connectUnix(name: string): number {
  return withSocket((fd) => {
    const address = addressFor(name);
    return result(libc().connect(fd, address, address.byteLength));
  });
}

function withSocket(prepare: (fd: number) => number): number {
  const fd = openSocket();
  if (fd < 0) return fd;
  const status = prepare(fd);
  if (status >= 0) return fd;
  libc().close(fd);
  return status;
}

/** Accepts a connection; calls on it do not wait. @returns its descriptor, or minus `errno` */
export function acceptUnix(fd: number): number {
  return result(sockets().accept4(fd, 0n, 0n, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

/** Who is at the other end of a socket: the process that connected or that listens. */
export interface PeerCredentials {
  /** Its process, 0 if that is in another PID namespace. */
  readonly pid: number;
  /** Its effective user, as this user namespace numbers it. */
  readonly uid: number;
}

/** The credentials of a peer, `null` if the system does not tell. */
export function peerCredentials(fd: number): PeerCredentials | null {
  const value = new Uint8Array(ucred.size), length = Uint32Array.of(ucred.size);
  const { SOL_SOCKET, SO_PEERCRED } = SOCKET_CONSTANTS;
  if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, new Uint8Array(length.buffer)) !== 0) return null;
  const view = new DataView(value.buffer);
  return { pid: view.getInt32(ucred.pid, true), uid: view.getUint32(ucred.uid, true) };
}

/** Sends a message without waiting. @returns bytes sent, or minus `errno` */
export function sendUnix(fd: number, message: Uint8Array<ArrayBuffer>): number {
  return result(Number(sockets().send(fd, message, BigInt(message.byteLength), MSG_DONTWAIT | MSG_NOSIGNAL)));
}

/** Offsets of the parts of a call in its memory: after the header the vector, the control message, the content. */
const IOV_AT = 64, CONTROL_AT = 128, CONTENT_AT = 256;

/** A message header in memory of its own, which does not move. */
function headerFor(contentBytes: number, controlBytes: number): { memory: Uint8Array<ArrayBuffer>; view: DataView } {
  const memory = new Uint8Array(CONTENT_AT + contentBytes);
  const view = new DataView(memory.buffer);
  const at = addressOf(memory);
  view.setBigUint64(msghdr.msg_iov, at + BigInt(IOV_AT), true);
  view.setBigUint64(msghdr.msg_iovlen, 1n, true);
  view.setBigUint64(msghdr.msg_control, at + BigInt(CONTROL_AT), true);
  view.setBigUint64(msghdr.msg_controllen, BigInt(controlBytes), true);
  view.setBigUint64(IOV_AT + iovec.iov_base, at + BigInt(CONTENT_AT), true);
  view.setBigUint64(IOV_AT + iovec.iov_len, BigInt(contentBytes), true);
  return { memory, view };
}

/** Bytes of a control message with so many descriptors, with its padding. */
function controlSpace(descriptors: number): number {
  return cmsghdr.size + Math.ceil(4 * descriptors / 8) * 8;
}

/**
 * Sends a message and a descriptor, without waiting. The receiver gets a descriptor of its own.
 *
 * @returns bytes sent, or minus `errno`
 */
export function sendDescriptor(fd: number, message: Uint8Array, descriptor: number): number {
  const { memory, view } = headerFor(message.byteLength, controlSpace(1));
  memory.set(message, CONTENT_AT);
  view.setBigUint64(CONTROL_AT + cmsghdr.cmsg_len, BigInt(cmsghdr.size + 4), true);
  view.setInt32(CONTROL_AT + cmsghdr.cmsg_level, SOCKET_CONSTANTS.SOL_SOCKET, true);
  view.setInt32(CONTROL_AT + cmsghdr.cmsg_type, SOCKET_CONSTANTS.SCM_RIGHTS, true);
  view.setInt32(CONTROL_AT + cmsghdr.size, descriptor, true);
  return result(Number(sockets().sendmsg(fd, memory, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

/** A message that was received. */
export interface ReceivedMessage {
  /** Its bytes; none at the end of the connection. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether it was longer than the room for it. */
  readonly isCut: boolean;
  /** The descriptors that came with it; the caller closes them. */
  readonly descriptors: readonly number[];
}

/** Receives messages, into memory of its own that is used again. */
export class MessageReceiver {
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #maxBytes: number;

  /** @param maxBytes Room for a message */
  constructor(maxBytes: number) {
    const { memory, view } = headerFor(maxBytes, 0);
    this.#memory = memory;
    this.#view = view;
    this.#maxBytes = maxBytes;
  }

  /**
   * Receives a message without waiting.
   *
   * @returns the message, valid until the next one is received; or minus `errno`
   */
  receive(fd: number): ReceivedMessage | number {
    const { MSG_CMSG_CLOEXEC, MSG_TRUNC, MSG_CTRUNC } = SOCKET_CONSTANTS;
    const view = this.#view;
    view.setBigUint64(msghdr.msg_controllen, BigInt(controlSpace(MAX_DESCRIPTORS)), true);
    const length = result(Number(sockets().recvmsg(fd, this.#memory, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)));
    if (length < 0) return length;
    const flags = view.getInt32(msghdr.msg_flags, true);
    return {
      bytes: this.#memory.subarray(CONTENT_AT, CONTENT_AT + Math.min(length, this.#maxBytes)),
      isCut: (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
      descriptors: descriptorsIn(view, Number(view.getBigUint64(msghdr.msg_controllen, true))),
    };
  }
}

/** The descriptors in control messages of so many bytes, which the kernel wrote. */
function descriptorsIn(view: DataView, controlBytes: number): number[] {
  const found: number[] = [];
  for (let at = 0; at + cmsghdr.size <= controlBytes;) {
    const length = Number(view.getBigUint64(CONTROL_AT + at + cmsghdr.cmsg_len, true));
    const isRights = view.getInt32(CONTROL_AT + at + cmsghdr.cmsg_level, true) === SOCKET_CONSTANTS.SOL_SOCKET &&
      view.getInt32(CONTROL_AT + at + cmsghdr.cmsg_type, true) === SOCKET_CONSTANTS.SCM_RIGHTS;
    if (isRights) {
      for (let i = cmsghdr.size; i + 4 <= length; i += 4) found.push(view.getInt32(CONTROL_AT + at + i, true));
    }
    at += Math.max(cmsghdr.size, Math.ceil(length / 8) * 8);
  }
  return found;
}

/**
 * Waits on another thread until a descriptor is readable, its connection is over, or the time is.
 *
 * @param timeoutMs Longest wait, in milliseconds
 * @returns whether it is readable
 */
export async function readable(fd: number, timeoutMs: number): Promise<boolean> {
  using memory = new CallMemory(pollfd.size);
  const view = new DataView(memory.bytes.buffer);
  view.setInt32(pollfd.fd, fd, true);
  view.setInt16(pollfd.events, SOCKET_CONSTANTS.POLLIN, true);
  return await sockets().pollLater(memory.address, 1n, Math.ceil(timeoutMs)) > 0;
}
