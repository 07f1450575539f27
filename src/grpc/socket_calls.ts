/**
 * System calls on the runtime's TCP sockets, if the program may call native code.
 *
 * @module
 */
import { EAGAIN, EINTR, errnoText } from "../../ffi/files.ts";
import { findConnection, receiveNow, sendNow } from "../../ffi/tcp_sockets.ts";
import type { SocketCalls } from "../http2/deno_transport.ts";
import { FFI_PERMISSION, isGranted } from "../permissions.ts";

/**
 * The calls on a socket, for as long as it is open.
 *
 * @returns `null` if native code may not be called, or it is not known which of the system's sockets this is
 */
export function socketCalls({ localAddr, remoteAddr }: Deno.TcpConn): SocketCalls | null {
  if (!isGranted(FFI_PERMISSION.descriptor)) return null;
  const fd = descriptorOf(localAddr, remoteAddr);
  if (fd === null) return null;
  return {
    receive: (into) => bytesOf(receiveNow(fd, into)),
    send: (pieces) => bytesOf(sendNow(fd, pieces)),
  };
}

function descriptorOf(own: Deno.NetAddr, peer: Deno.NetAddr): number | null {
  try {
    return findConnection(own.port, peer);
  } catch {
    return null; // not the C library that is known
  }
}

function bytesOf(result: number): number {
  if (result >= 0) return result;
  if (result === -EAGAIN || result === -EINTR) return 0;
  // As the runtime writes it.
  throw new Error(`${errnoText(-result)} (os error ${-result})`);
}
