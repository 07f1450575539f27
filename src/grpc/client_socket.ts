/**
 * Opens the socket of a connection to a server: plain or by TLS, directly or through a proxy.
 *
 * @module
 */
import * as net from "node:net";
import tls from "node:tls";
import { DipcError, LocalError } from "../errors.ts";
import { DenoTransport } from "../http2/deno_transport.ts";
import { NodeTransport, type Transport } from "../http2/transport.ts";
import { textOf } from "../text.ts";
import { socketCalls } from "./socket_calls.ts";
import { connectRequest, type ProxyAddress, proxyFor, readTunnelAnswer } from "./proxy.ts";
import type { GrpcTarget } from "./target.ts";
import type { FlightTlsOptions } from "./tls.ts";

/**
 * Connects to a server.
 *
 * @param target Its address
 * @param options Certificates, if it is reached by TLS
 * @param signal Stops connecting
 * @throws What the system, TLS or a proxy reports
 */
export async function openTransport(
  target: GrpcTarget,
  options: FlightTlsOptions,
  signal: AbortSignal,
): Promise<Transport> {
  const proxy = target.socketPath === null ? proxyFor(target.host) : null;
  return await (target.tls ? connectSecure(target, options, proxy, signal) : connectPlain(target, proxy, signal));
}

async function connectPlain(
  { socketPath, host, port }: GrpcTarget,
  proxy: ProxyAddress | null,
  signal: AbortSignal,
): Promise<Transport> {
  const connecting = socketPath === null
    ? Deno.connect({ hostname: proxy?.host ?? host, port: proxy?.port ?? port, signal })
    : Deno.connect({ transport: "unix", path: socketPath });
  const socket = await unlessAborted<Deno.Conn>(connecting, signal, (late) => late.close()).catch((error) => {
    throw proxy === null ? error : unreachable(proxy, error);
  });
  if (socketPath === null) (socket as Deno.TcpConn).setNoDelay(true);
  if (proxy !== null) {
    const stop = (): void => socket.close();
    signal.addEventListener("abort", stop);
    try {
      await socket.write(connectRequest(proxy, host, port));
      const byte = new Uint8Array(1);
      await readTunnelAnswer(proxy, async () => await socket.read(byte) === null ? null : byte[0]);
    } catch (error) {
      if (!signal.aborted) stop();
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }
  return new DenoTransport(socket, socketPath === null ? () => socketCalls(socket as Deno.TcpConn) : undefined);
}

/** By Node's TLS, because Deno's own cannot skip the check of the server's certificate for `insecureSkipVerify`. */
async function connectSecure(
  { host, port }: GrpcTarget,
  { ca, cert, key, serverName, insecureSkipVerify }: FlightTlsOptions,
  proxy: ProxyAddress | null,
  signal: AbortSignal,
): Promise<Transport> {
  const tunnel = proxy === null ? null : await openTunnel(proxy, host, port, signal);
  const socket = tls.connect({
    ...(tunnel === null ? { host, port } : { socket: tunnel }),
    ca: typeof ca === "string" || ca === undefined ? ca : [...ca],
    cert,
    key,
    // SNI only allows names, not addresses.
    servername: serverName ?? (net.isIP(host) === 0 ? host : undefined),
    // Otherwise the socket is all that Node knows of the server.
    ...(tunnel === null ? {} : { host }),
    rejectUnauthorized: insecureSkipVerify !== true,
    ALPNProtocols: ["h2"],
  });
  const transport = new NodeTransport(socket);
  socket.setNoDelay(true);
  const connecting = new Promise<Transport>((resolve, reject) => {
    socket.once("secureConnect", () => {
      // Node is configured to end such a connection itself; credentials must not depend on that alone.
      if (insecureSkipVerify !== true && !socket.authorized) {
        reject(new Error("the server's certificate was not verified"));
      } else if (socket.alpnProtocol === "h2") resolve(transport);
      else reject(new Error("the server does not speak HTTP/2 (ALPN h2)"));
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed during the handshake")));
  });
  const stop = (): void => transport.destroy();
  connecting.catch(stop);
  signal.addEventListener("abort", stop);
  return await unlessAborted(connecting, signal, stop).finally(() => signal.removeEventListener("abort", stop));
}

/** A socket of Node through a proxy to a server. */
async function openTunnel(proxy: ProxyAddress, host: string, port: number, signal: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host: proxy.host, port: proxy.port });
  const stop = (): void => void socket.destroy();
  signal.addEventListener("abort", stop);
  const { promise: ended, reject } = Promise.withResolvers<never>();
  ended.catch(() => {});
  socket.on("error", (error) => reject(unreachable(proxy, error)));
  socket.once("close", () => reject(new Error(`the proxy ${proxy.shown} closed the connection`)));
  try {
    await Promise.race([new Promise<void>((resolve) => socket.once("connect", () => resolve())), ended]);
    socket.write(connectRequest(proxy, host, port));
    await readTunnelAnswer(proxy, async () => {
      for (;;) {
        const byte = socket.read(1) as Uint8Array | null;
        if (byte !== null) return byte[0];
        await Promise.race([new Promise<void>((resolve) => socket.once("readable", () => resolve())), ended]);
      }
    });
    socket.removeAllListeners("readable");
    return socket;
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function unreachable({ shown }: ProxyAddress, error: unknown): unknown {
  // What names a permission stays as it is.
  return /^Requires \w+ access/.test(textOf(error))
    ? error
    : new Error(`the proxy ${shown}: ${textOf(error)}`, { cause: error });
}

/** Awaits a promise unless a signal aborts first; a later value is passed to `drop`. */
function unlessAborted<T>(coming: Promise<T>, signal: AbortSignal, drop: (late: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    coming.then((it) => {
      signal.removeEventListener("abort", onAbort);
      if (signal.aborted) drop(it);
      else resolve(it);
    }, (error) => {
      signal.removeEventListener("abort", onAbort);
      reject(error);
    });
  });
}

const AUTHORITY_ADVICE = "give the authority that signed the server's certificate: tls.ca, or --tls-ca FILE";
/** What to do about an error of TLS, by its code. */
const TLS_ADVICE: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: AUTHORITY_ADVICE,
  UNABLE_TO_GET_ISSUER_CERT: AUTHORITY_ADVICE,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: AUTHORITY_ADVICE,
  SELF_SIGNED_CERT_IN_CHAIN: AUTHORITY_ADVICE,
  DEPTH_ZERO_SELF_SIGNED_CERT: AUTHORITY_ADVICE,
  ERR_TLS_CERT_ALTNAME_INVALID: "give the name in its certificate: tls.serverName, or --tls-server-name NAME",
  CERT_HAS_EXPIRED: "the server needs a new certificate",
};

/** The error for a connection that could not be opened. */
export function connectError(uri: string, error: unknown): DipcError {
  if (error instanceof DipcError) return error;
  const text = textOf(error);
  // Deno's own text names the flag.
  if (/^Requires \w+ access/.test(text)) {
    return new LocalError("permission_denied", `cannot connect to ${uri}: ${text}`, { cause: error });
  }
  const code = String((error as { code?: unknown } | null)?.code);
  const advice = TLS_ADVICE[code] ??
    (/^the proxy /.test(text)
      ? "check the proxy, or name the host in no_proxy"
      : "check that a Flight server is listening there");
  return new LocalError("unreachable", `cannot connect to ${uri}: ${text}; ${advice}`, { cause: error });
}
