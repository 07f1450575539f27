/**
 * A gRPC server on HTTP/2: connections, their limits, and how they end. It does not know what the calls do.
 *
 * gRPC is framed here, and not by a library, because that bounds what a client that does not read can hold, and is faster:
 * bodies go to HTTP/2 without a copy.
 *
 * @module
 */
import net, { type AddressInfo, type Socket } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { withDeadline } from "../deadline.ts";
import { asDipcError, DipcError } from "../errors.ts";
import { netPermission, requirePermissions } from "../permissions.ts";
import { ServerConnection } from "../http2/server_connection.ts";
import { Http2Code } from "../http2/errors.ts";
import type { ServerStream } from "../http2/server_stream.ts";
import { NodeTransport } from "../http2/transport.ts";
import { textOf } from "../text.ts";
import { refuseCall, REFUSED, ServerCall } from "./server_call.ts";
import { checkCertificates } from "./certificates.ts";
import type { FlightServerTls } from "./tls.ts";

/** Options of a {@linkcode GrpcServer}. */
export interface GrpcServerOptions {
  /** Address to bind. */
  address: string;
  /** Port, 0 for any free one. */
  port: number;
  /** Certificates; without them connections are not encrypted. */
  tls?: FlightServerTls;
  /** Prefix of every path: `/package.Service/`. */
  service: string;
  /** Maximum number of concurrent connections. */
  maxConnections: number;
  /** Maximum number of concurrent calls. */
  maxCalls: number;
  /** Longest wait for the first call of a connection, and for a complete request, in milliseconds. */
  requestTimeoutMs: number;
  /** A call whose client accepts or sends nothing for this many milliseconds is ended; so is a connection without calls. */
  idleTimeoutMs: number;
  /** Longest headers of a call, in bytes. */
  maxHeaderBytes: number;
  /** Answers one call. Must not reject. */
  onCall(call: ServerCall): Promise<void>;
  /**
   * Called with the error of a connection, or of a call that is refused before `onCall`.
   *
   * @param error What was wrong
   * @param connection Number of the connection, from 1; 0 if it failed before it had one
   * @param method Name of the call, if it is about one
   */
  onError(error: DipcError, connection: number, method?: string): void;
}

/** Flow-control windows: bytes that a client may send before they are read. */
const STREAM_WINDOW = 2 ** 20;
const CONNECTION_WINDOW = 8 * 2 ** 20;
/** How long a client may take to close its side of a connection that has been ended, in milliseconds. */
const LINGER_MS = 500;
/** Maximum number of connections that are being refused with a GOAWAY; further ones are cut. */
const MAX_REFUSED = 64;

interface Connection {
  readonly http2: ServerConnection;
  /** Number of the connection, from 1. */
  readonly number: number;
  /** Address of the server's end. */
  readonly localAddress: string;
  calls: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A listening server. */
export class GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server: net.Server;
  readonly #connections = new Set<Connection>();
  /** Connections beyond `maxConnections` that are being refused with a GOAWAY. */
  readonly #refused = new Set<ServerConnection>();
  /** Connections in the middle of their TLS handshake, by the client's address. */
  readonly #handshakes = new Map<string, { socket: Socket; timer: ReturnType<typeof setTimeout> }>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** Connections so far. */
  #accepted = 0;
  #closing: Promise<void> | null = null;

  /** @ignore Use {@linkcode GrpcServer.listen}. */
  constructor(options: GrpcServerOptions) {
    this.#options = options;
    const own = options.tls;
    if (own === undefined) {
      this.#server = net.createServer((socket) => this.#onSocket(socket, null));
      return;
    }
    const server = tls.createServer({
      cert: own.cert,
      key: own.key,
      ca: own.clientCa,
      requestCert: own.clientCa !== undefined,
      rejectUnauthorized: own.clientCa !== undefined,
      handshakeTimeout: options.requestTimeoutMs,
      ALPNProtocols: ["h2"],
    }, (socket) => this.#onSecure(socket));
    server.on("connection", (socket) => this.#onHandshake(socket));
    server.on("tlsClientError", (error, socket) => {
      const problem = handshakeError(error, socket, own.clientCa !== undefined);
      if (problem !== null) this.#report(problem);
      socket.destroy(); // which a handshake that took too long does not do
    });
    this.#server = server;
  }

  /**
   * Binds and starts to accept connections.
   *
   * @param options Address, limits and callbacks
   * @throws {DipcError} `unreachable` if the address cannot be bound, `permission_denied` without `--allow-net` for it,
   * `invalid_argument` for a bad certificate
   */
  static async listen(options: GrpcServerOptions): Promise<GrpcServer> {
    if (options.tls !== undefined) checkCertificates(options.tls);
    const { address, port } = options;
    // What node:net throws for a missing permission comes so late that no caller can catch it.
    requirePermissions(`listen on ${address}, port ${port}`, [netPermission(address, port)]);
    const server = new GrpcServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once(
        "error",
        (cause) =>
          reject(
            new DipcError("unreachable", `cannot listen on ${address}, port ${port}: ${textOf(cause)}`, { cause }),
          ),
      );
      server.#server.listen(port, address, () => resolve());
    });
    server.#server.on("error", (error) => server.#report(error));
    return server;
  }

  /** The port bound to. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Calls under way. */
  get activeCalls(): number {
    return this.#running.size;
  }

  /** A connection that has not finished its TLS handshake: it has its timeout and counts like any other. */
  #onHandshake(socket: Socket): void {
    const key = addressOf(socket);
    if (this.#handshakes.size + this.#connections.size >= this.#options.maxConnections) {
      this.#report(this.#full());
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), this.#options.requestTimeoutMs);
    this.#handshakes.set(key, { socket, timer });
    socket.on("error", () => {}); // reported by `tlsClientError`
    socket.on("close", () => this.#endHandshake(key));
  }

  #endHandshake(key: string): void {
    clearTimeout(this.#handshakes.get(key)?.timer);
    this.#handshakes.delete(key);
  }

  #onSecure(socket: TLSSocket): void {
    this.#endHandshake(addressOf(socket));
    const problem = this.#handshakeProblem(socket);
    if (problem === null) return this.#onSocket(socket, subjectOf(socket));
    socket.on("error", () => {});
    socket.destroy();
    this.#report(problem);
  }

  /** What is wrong with a handshake that TLS has accepted, or `null`. */
  #handshakeProblem(socket: TLSSocket): DipcError | null {
    // The runtime is configured to end such a connection itself; who may call must not depend on that alone.
    if (this.#options.tls?.clientCa !== undefined && socket.authorized !== true) {
      return notVerified();
    }
    if (socket.alpnProtocol === "h2") return null;
    const what = "the client did not offer HTTP/2 (ALPN h2) in its TLS handshake";
    return new DipcError("protocol", `cannot accept a connection: ${what}`);
  }

  #onSocket(socket: Socket, peerSubject: string | null): void {
    const number = ++this.#accepted;
    const isFull = this.#connections.size >= this.#options.maxConnections;
    if (isFull) this.#report(this.#full(), number);
    if (isFull && this.#refused.size >= MAX_REFUSED) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const connection: Connection = {
      http2: new ServerConnection(new NodeTransport(socket), {
        maxStreams: this.#options.maxCalls,
        streamWindow: STREAM_WINDOW,
        connectionWindow: CONNECTION_WINDOW,
        maxHeaderBytes: this.#options.maxHeaderBytes,
        lingerMs: LINGER_MS,
        peerSubject,
        onStream: (stream) => this.#onStream(connection, stream),
        onTooLong: (stream, name) => this.#refuse(connection, stream, tooLong(name, this.#options.maxHeaderBytes)),
        onClose: (error) => {
          clearTimeout(connection.timer);
          this.#connections.delete(connection);
          this.#refused.delete(connection.http2);
          // Health checks come and go without a byte.
          if (error !== null && connection.http2.hasReceived) this.#report(error, number);
        },
      }),
      number,
      localAddress: socket.localAddress ?? "",
      calls: 0,
      timer: undefined,
    };
    if (isFull) {
      this.#refused.add(connection.http2);
      return connection.http2.destroy(Http2Code.enhanceYourCalm);
    }
    this.#connections.add(connection);
    // A handshake that ends while the server is shutting down.
    if (this.#closing !== null) return connection.http2.close();
    this.#endUnused(connection, this.#options.requestTimeoutMs);
  }

  /** Ends a connection that makes no call within a time, which other bytes that arrive do not extend. */
  #endUnused(connection: Connection, timeoutMs: number): void {
    clearTimeout(connection.timer);
    connection.timer = setTimeout(() => {
      this.#report(
        new DipcError("timeout", `cannot keep a connection open: the client made no call within ${timeoutMs} ms`),
        connection.number,
      );
      connection.http2.destroy(Http2Code.noError);
    }, timeoutMs);
  }

  #onStream(connection: Connection, stream: ServerStream): void {
    const { service, maxCalls } = this.#options;
    const { method, path, headers } = stream.request;
    if (method !== "POST" || !/^application\/grpc(?:\+proto)?(?:;|$)/.test(headers.get("content-type") ?? "")) {
      stream.respond([[":status", method === "POST" ? "415" : "405"]], true);
      if (!stream.isRemoteEnded) stream.reset(Http2Code.noError);
      return;
    }
    const refused = !path.startsWith(service) ? REFUSED.unknown : this.#running.size >= maxCalls ? REFUSED.full : null;
    if (refused !== null) {
      if (connection.calls === 0 && this.#closing === null) this.#endUnused(connection, this.#options.idleTimeoutMs);
      return this.#refuse(connection, stream, refused());
    }
    const call = new ServerCall(stream, path.slice(service.length), {
      stop: this.#stop.signal,
      idleTimeoutMs: this.#options.idleTimeoutMs,
      localAddress: connection.localAddress,
      connection: connection.number,
    });
    connection.calls++;
    clearTimeout(connection.timer);
    const run = this.#options.onCall(call).finally(() => {
      this.#running.delete(run);
      // Calls may end after their connection.
      if (--connection.calls > 0 || !this.#connections.has(connection) || connection.http2.isClosing) return;
      if (this.#closing === null) this.#endUnused(connection, this.#options.idleTimeoutMs);
    });
    this.#running.add(run);
  }

  /** What is sent to a client is reported here too. */
  #refuse(connection: Connection, stream: ServerStream, error: DipcError): void {
    refuseCall(stream, error);
    const { path } = stream.request;
    this.#options.onError(error, connection.number, path.slice(path.lastIndexOf("/") + 1));
  }

  #full(): DipcError {
    const { maxConnections } = this.#options;
    return new DipcError(
      "busy",
      `cannot accept a connection: all ${maxConnections} of the server are in use (maxConnections); try again later`,
    );
  }

  #report(error: unknown, connection = 0): void {
    this.#options.onError(
      asDipcError(
        error,
        (cause) => new DipcError("protocol", `cannot keep a connection open: ${textOf(cause)}`, { cause }),
      ),
      connection,
    );
  }

  /**
   * Stops accepting, lets running calls finish within a deadline, and cuts those that do not. Idempotent.
   *
   * @param timeoutMs The deadline in milliseconds; 0 cuts at once, `Infinity` never
   */
  shutdown(timeoutMs: number): Promise<void> {
    return this.#closing ??= this.#shutdown(timeoutMs);
  }

  async #shutdown(timeoutMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Announces to every client that its connection accepts no further call.
    for (const { http2, timer } of this.#connections) {
      clearTimeout(timer);
      http2.close();
    }
    if (this.#running.size > 0 && timeoutMs > 0) await withDeadline(Promise.all(this.#running), timeoutMs);
    this.#stop.abort(new DipcError("closed", "cannot complete the call: the server is shutting down"));
    await Promise.all(this.#running);
    for (const { http2 } of [...this.#connections]) http2.destroy();
    for (const { socket } of this.#handshakes.values()) socket.destroy();
    await closed;
  }
}

function notVerified(): DipcError {
  return new DipcError(
    "permission_denied",
    "cannot accept a connection: the client's certificate is missing or was not verified, or the client left in the middle of " +
      "the handshake; give the client one that the authority in tls.clientCa has signed",
  );
}

/** The error of a handshake that has failed; `null` for a client that left without a byte, as health checks do. */
function handshakeError(cause: Error, socket: TLSSocket, wantsCertificate: boolean): Error | null {
  const { code } = cause as { code?: string };
  // The runtime only hangs up on a certificate that it does not accept.
  const isHungUp = code === "ECONNRESET";
  if (isHungUp && ((socket as { _parent?: Socket })._parent?.bytesRead ?? 0) === 0) return null;
  const isAboutCertificate = isHungUp || code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE";
  return wantsCertificate && isAboutCertificate ? notVerified() : cause;
}

/** The error of a call whose headers are too long. */
function tooLong(name: string, maxBytes: number): DipcError {
  const what = name === "authorization"
    ? "the bearer token or password is"
    : `the headers are, with ${JSON.stringify(name)},`;
  return new DipcError(
    "limit_exceeded",
    `cannot answer the call: ${what} too long: all headers of a call may have ${maxBytes} bytes`,
  );
}

function addressOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}

function subjectOf(socket: TLSSocket): string | null {
  const subject = socket.getPeerCertificate()?.subject as { CN?: string } | undefined;
  return subject?.CN ?? null;
}
