/**
 * One HTTP/2 connection to a gRPC server, opened when it is first needed and again where it was lost between calls.
 *
 * @module
 */
import * as net from "node:net";
import * as tls from "node:tls";
import { DipcError, LocalError } from "../errors.ts";
import { ClientConnection } from "../http2/client_connection.ts";
import type { ClientStream } from "../http2/client_stream.ts";
import { Http2Code, Http2Error, Http2Reset } from "../http2/errors.ts";
import { MAX_WINDOW } from "../http2/settings.ts";
import { DenoTransport, NodeTransport, type Transport } from "../http2/transport.ts";
import { textOf } from "../text.ts";
import type { FlightTlsOptions } from "./tls.ts";

/** What the server may send of one stream without being read: what a reader that has stopped holds at most, per stream. */
export const STREAM_WINDOW_BYTES = 2 ** 20;
/** A shorter silence than this says nothing about a connection, in milliseconds. */
const SILENCE_MS = 1000;
/** How long a server may take to close its side of a connection that has been closed, in milliseconds. */
const LINGER_MS = 100;
/** Longest headers of an answer, in bytes. */
const MAX_HEADER_BYTES = 64 * 1024;

/** Where a server is. */
export interface GrpcTarget {
  /** As the user wrote it, for messages. */
  readonly uri: string;
  /** Whether the connection is encrypted. */
  readonly tls: boolean;
  /** Host name or address; empty with a socket. */
  readonly host: string;
  /** Port; 0 with a socket. */
  readonly port: number;
  /** Path of a Unix socket, or `null`. */
  readonly socketPath: string | null;
}

/** Options of a {@linkcode GrpcConnection}. */
export interface GrpcConnectionOptions {
  /** Certificates. */
  tls?: FlightTlsOptions;
  /** Longest wait for the connection, in milliseconds. */
  timeoutMs: number;
}

/** A connection; calls are streams on it. */
export class GrpcConnection {
  readonly #location: GrpcTarget;
  readonly #options: GrpcConnectionOptions;
  /** Name that requests give the server. */
  readonly #authority: string;
  #connection: ClientConnection | null = null;
  /** Those that have not closed; each promise resolves once its connection has. */
  readonly #open = new Map<ClientConnection, Promise<void>>();
  #attempt: Attempt | null = null;
  #isClosed = false;
  /** Whether any call was answered. */
  #hasAnswered = false;

  /**
   * @param location Where the server is
   * @param options Certificates, timeout
   */
  constructor(location: GrpcTarget, options: GrpcConnectionOptions) {
    this.#location = location;
    this.#options = options;
    const host = location.host.includes(":") ? `[${location.host}]` : location.host || "localhost";
    this.#authority = location.port === 0 ? host : `${host}:${location.port}`;
  }

  /**
   * Connects, where there is no connection.
   *
   * @param signal Gives up
   * @throws {DipcError} `unreachable`, `permission_denied`, `timeout`, `closed`, `cancelled`
   */
  async connect(signal?: AbortSignal): Promise<void> {
    if (this.#usable() === null) await this.#join(signal);
  }

  /** Whether there is a connection that takes a call. */
  get isReady(): boolean {
    return this.#usable() !== null;
  }

  /**
   * Starts a call: opens a stream, on a new connection where there is none.
   *
   * @param path Of the method
   * @param headers Headers of the call
   * @throws {DipcError} `unreachable`, `timeout`, `closed`
   */
  async request(path: string, headers: Headers): Promise<ClientStream> {
    const connection = this.#usable() ?? await this.#join();
    return connection.request([
      [":method", "POST"],
      [":scheme", this.#location.tls ? "https" : "http"],
      [":path", path],
      [":authority", this.#authority],
      ...headers,
    ]);
  }

  /**
   * A call has waited in vain. A connection that has been silent for as long gets no further call: its peer may be gone without
   * a word, which the system finds out only after many minutes.
   *
   * @param waitedMs How long, in milliseconds
   */
  suspect(waitedMs: number): void {
    const connection = this.#connection;
    if (connection === null || waitedMs < SILENCE_MS) return;
    if (performance.now() - connection.receivedMs < waitedMs) return;
    this.#connection = null;
    connection.close();
  }

  /** A call was answered. */
  answered(): void {
    this.#hasAnswered = true;
  }

  /**
   * The error for a call whose connection or stream has gone without an answer.
   *
   * @param what What was being done
   * @param cause What is known
   */
  lost(what: string, cause: Error | null): DipcError {
    const why = cause?.message ?? "the connection was closed";
    const options = { cause: cause ?? undefined };
    if (this.#isClosed) return new LocalError("closed", `${what}: the connection was closed`, options);
    // What this side makes of bytes that are no HTTP/2.
    if (cause instanceof Http2Error) {
      return new LocalError("protocol", `${what}: the server broke HTTP/2: ${why}`, options);
    }
    if (cause instanceof Http2Reset && cause.code === Http2Code.refusedStream) {
      return new LocalError("unreachable", `${what} was not taken and can be made again: ${why}`, options);
    }
    // A server that wants a certificate and got none closes the connection after the handshake, when it looks open here.
    if (!this.#hasAnswered) {
      const hint = this.#location.tls ? "; does the server want a certificate of the client?" : "";
      return new LocalError("unreachable", `${what} was not answered: ${why}${hint}`, options);
    }
    return new LocalError("connection_lost", `${what} ended before its status was there: ${why}`, options);
  }

  /** Ends all streams and the connection. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#attempt?.giveUp.abort(this.#closedError());
    this.#connection = null;
    for (const connection of this.#open.keys()) connection.destroy();
    await Promise.all(this.#open.values());
  }

  #closedError(): DipcError {
    return new LocalError("closed", `the connection to ${this.#location.uri} was closed`);
  }

  #usable(): ClientConnection | null {
    if (this.#isClosed) throw this.#closedError();
    if (this.#connection?.isUsable !== true) this.#connection = null;
    return this.#connection;
  }

  /** Waits for the connection that is being opened, for all who need one; it is given up once nobody waits any more. */
  async #join(signal?: AbortSignal): Promise<ClientConnection> {
    const attempt = this.#attempt ??= this.#begin();
    const gone = Promise.withResolvers<never>();
    const onAbort = (): void => gone.reject(signal!.reason);
    attempt.waiting++;
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort);
    try {
      return await Promise.race([attempt.connection, gone.promise]);
    } catch (error) {
      if (!signal?.aborted || error instanceof DipcError) throw error;
      throw new LocalError("cancelled", `connecting to ${this.#location.uri} was cancelled`, { cause: error });
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (--attempt.waiting === 0 && this.#attempt === attempt) attempt.giveUp.abort();
    }
  }

  #begin(): Attempt {
    const giveUp = new AbortController();
    const { uri } = this.#location;
    const { timeoutMs } = this.#options;
    const timer = setTimeout(
      () => giveUp.abort(new LocalError("timeout", `no connection to ${uri} within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    const connection = this.#start(giveUp.signal).finally(() => {
      clearTimeout(timer);
      this.#attempt = null;
    });
    // Those who wait are told; nobody may be left.
    connection.catch(() => {});
    return { connection, giveUp, waiting: 0 };
  }

  async #start(signal: AbortSignal): Promise<ClientConnection> {
    let transport: Transport;
    try {
      transport = await (this.#location.tls ? this.#connectSecure(signal) : this.#connectPlain(signal));
    } catch (error) {
      signal.throwIfAborted();
      throw connectError(this.#location.uri, error);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const connection = new ClientConnection(transport, {
      streamWindow: STREAM_WINDOW_BYTES,
      // The largest there is, because a stream that is not read would otherwise stop the others; what is held is bounded by the
      // streams' windows.
      connectionWindow: MAX_WINDOW,
      maxHeaderBytes: MAX_HEADER_BYTES,
      lingerMs: LINGER_MS,
      onClose: () => {
        this.#open.delete(connection);
        resolve();
      },
    });
    this.#open.set(connection, promise);
    if (this.#isClosed) connection.destroy();
    return this.#connection = connection;
  }

  async #connectPlain(signal: AbortSignal): Promise<Transport> {
    const { socketPath, host, port } = this.#location;
    const connecting = socketPath === null
      ? Deno.connect({ hostname: host, port, signal })
      : Deno.connect({ transport: "unix", path: socketPath });
    const socket = await unlessAborted<Deno.Conn>(connecting, signal, (late) => late.close());
    if (socketPath === null) (socket as Deno.TcpConn).setNoDelay(true);
    return new DenoTransport(socket);
  }

  /** By Node's TLS, because Deno's own cannot leave the server's certificate unchecked where that is wanted. */
  #connectSecure(signal: AbortSignal): Promise<Transport> {
    const { host, port } = this.#location;
    const { ca, cert, key, serverName, insecureSkipVerify } = this.#options.tls ?? {};
    const socket = tls.connect({
      host,
      port,
      ca: typeof ca === "string" || ca === undefined ? ca : [...ca],
      cert,
      key,
      // An address is no name that TLS could ask for.
      servername: serverName ?? (net.isIP(host) === 0 ? host : undefined),
      rejectUnauthorized: insecureSkipVerify !== true,
      ALPNProtocols: ["h2"],
    });
    const transport = new NodeTransport(socket);
    socket.setNoDelay(true);
    const connecting = new Promise<Transport>((resolve, reject) => {
      socket.once("secureConnect", () => {
        if (socket.alpnProtocol === "h2") resolve(transport);
        else reject(new Error("the server does not speak HTTP/2 (ALPN h2)"));
      });
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the connection was closed at once")));
    });
    const stop = (): void => transport.destroy();
    connecting.catch(stop);
    signal.addEventListener("abort", stop);
    return unlessAborted(connecting, signal, stop).finally(() => signal.removeEventListener("abort", stop));
  }
}

/** A connection that is being opened. */
interface Attempt {
  readonly connection: Promise<ClientConnection>;
  readonly giveUp: AbortController;
  /** How many wait for it. */
  waiting: number;
}

/** Waits for something unless a signal comes first; what comes later is dropped. */
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

function connectError(uri: string, error: unknown): DipcError {
  const text = textOf(error);
  // Deno's own text names the flag.
  if (/^Requires \w+ access/.test(text)) {
    return new LocalError("permission_denied", `connecting to ${uri}: ${text}`, { cause: error });
  }
  return new LocalError("unreachable", `no connection to ${uri}: ${text}; is a Flight server listening there?`, {
    cause: error,
  });
}
