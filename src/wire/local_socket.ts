/**
 * Connections between processes of one machine that keep the bounds of messages, can pass a descriptor, and tell whose the peer is.
 * Nothing waits but {@linkcode LocalSocket.readable}.
 *
 * @module
 */
import { type DipcErrorCode, LocalError } from "../errors.ts";
import { EAGAIN, errnoText } from "../../ffi/files.ts";
import { libc } from "../../ffi/libc.ts";
import { effectiveUser } from "../../ffi/shared_memory.ts";
import {
  acceptUnix,
  connectUnix,
  listenUnix,
  type MessageReceiver,
  peerCredentials,
  readable,
  sendDescriptor,
  sendUnix,
} from "../../ffi/unix_sockets.ts";

export { MessageReceiver } from "../../ffi/unix_sockets.ts";

/** What became of a message that was to be sent. */
export type SendOutcome = "sent" | "full" | "gone";

/** A message as it was received; valid until the next one is. */
export interface LocalMessage {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether parts of it are missing, because there was no room. */
  readonly isCut: boolean;
  /** Descriptors that came with it; the receiver closes them. */
  readonly descriptors: readonly number[];
}

/** A socket that listens, or one end of a connection. Its owner closes it. */
export class LocalSocket {
  /** Its file descriptor. */
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Listens.
   *
   * @param name A path if it begins with `/`, otherwise a name in the abstract namespace of Linux
   * @throws {DipcError} `unreachable`
   */
  static listen(name: string): LocalSocket {
    return opened(listenUnix(name), "unreachable", "listen on a local socket");
  }

  /**
   * Connects.
   *
   * @param name A path, or a name in the abstract namespace
   * @throws {DipcError} `unreachable`
   */
  static connect(name: string): LocalSocket {
    return opened(connectUnix(name), "unreachable", "reach the server's socket", ELSEWHERE);
  }

  /** @ignore */
  static _of(fd: number): LocalSocket {
    return new LocalSocket(fd);
  }

  /** The next client that waits; `null` if there is none. */
  accept(): LocalSocket | null {
    const fd = acceptUnix(this.fd);
    return fd < 0 ? null : new LocalSocket(fd);
  }

  /** The process of the peer, as this PID namespace numbers it; 0 if it does not. */
  get peerProcess(): number {
    return peerCredentials(this.fd)?.pid ?? 0;
  }

  /** The effective user of the peer, as this user namespace numbers it; −1 if the system does not tell. */
  get peerUser(): number {
    return peerCredentials(this.fd)?.uid ?? -1;
  }

  /** Whether the peer is of the user of this process. */
  get isOwnUser(): boolean {
    return this.peerUser === effectiveUser();
  }

  /** Sends a message. */
  send(message: Uint8Array<ArrayBuffer>): SendOutcome {
    const sent = sendUnix(this.fd, message);
    return sent >= 0 ? "sent" : sent === -EAGAIN ? "full" : "gone";
  }

  /** Sends a message and a descriptor, of which the peer gets one of its own. */
  sendDescriptor(message: Uint8Array, descriptor: number): SendOutcome {
    const sent = sendDescriptor(this.fd, message, descriptor);
    return sent >= 0 ? "sent" : sent === -EAGAIN ? "full" : "gone";
  }

  /** Receives a message; `null` if there is none now, `"gone"` after the end of the connection. */
  receive(receiver: MessageReceiver): LocalMessage | null | "gone" {
    const message = receiver.receive(this.fd);
    if (typeof message === "number") return message === -EAGAIN ? null : "gone";
    if (message.bytes.byteLength > 0) return message;
    for (const descriptor of message.descriptors) closeDescriptor(descriptor);
    return "gone";
  }

  /** Waits for a message or the end of the connection. @returns whether one came in time */
  readable(timeoutMs: number): Promise<boolean> {
    return readable(this.fd, timeoutMs);
  }

  /** Closes it; once. */
  close(): void {
    closeDescriptor(this.fd);
  }
}

/** Closes a descriptor of this process. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

const ELSEWHERE = "it is not on this machine, is in another network namespace, or has ended";

function opened(fd: number, code: DipcErrorCode, what: string, why = "the system refuses it"): LocalSocket {
  if (fd >= 0) return LocalSocket._of(fd);
  throw new LocalError(code, `cannot ${what}: ${errnoText(-fd)}; ${why}`);
}
