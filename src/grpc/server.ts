/**
 * A gRPC server on HTTP/2: connections, their limits, and how they end. It does not know what the calls do.
 *
 * gRPC is framed here, and not by a library, because that bounds what a client that does not read can hold, and is faster:
 * bodies go to HTTP/2 without a copy.
 *
 * @module
 */
import type { TLSSocket } from "node:tls";
import { withDeadline } from "../deadline.ts";
import { asDipcError, DipcError } from "../errors.ts";
import { patientTimeout, type PatientTimer } from "../patience.ts";
import { netPermission, requirePermissions } from "../permissions.ts";
import { ServerConnection } from "../http2/server_connection.ts";
import { Http2Code } from "../http2/errors.ts";
import type { ServerStream } from "../http2/server_stream.ts";
import { DenoTransport } from "../http2/deno_transport.ts";
import { NodeTransport, type Transport } from "../http2/transport.ts";
import { textOf } from "../text.ts";
import { Acceptor } from "./acceptor.ts";
import { SecureAcceptor } from "./secure_acceptor.ts";
import { socketCalls } from "./socket_calls.ts";
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
  /** Called when a connection is over, with its number. */
  onConnectionEnd?(connection: number): void;
}

/** Flow-control windows: bytes that a client may send before they are read. */
const STREAM_WINDOW = 2 ** 20;
const CONNECTION_WINDOW = 8 * 2 ** 20;
/** How long a client may take to close its side of a connection that has been ended, in milliseconds. */
const LINGER_MS = 500;
/**
 * Connections that may be open beyond `maxConnections`: those that have made no call yet, and those that learn by the status of their
 * call that the server is full, for clients show its text, and no other. Further ones are cut.
 */
const MAX_BEYOND = 64;
/** A connection that has not sent a byte after this many milliseconds is dropped if another one needs its file descriptor. */
const SILENT_MS = 1000;
/** Connections whose file descriptors are kept free once those have run out. */
const SPARE_CONNECTIONS = 4;
/** Shortest time between two reports of such, in milliseconds. */
const CUT_REPORT_MS = 1000;

interface Connection {
  readonly http2: ServerConnection;
  /** Number of the connection, from 1. */
  readonly number: number;
  /** Address of the server's end. */
  readonly localAddress: string;
  /** When it was accepted, of `performance.now()`. */
  readonly sinceMs: number;
  calls: number;
  timer: PatientTimer | undefined;
}

/** A listening server. */
export class GrpcServer {
  readonly #options: GrpcServerOptions;
  #acceptor: Acceptor | SecureAcceptor | null = null;
  /** The same, if the server has certificates. */
  #secure: SecureAcceptor | null = null;
  /** Connections that have made a call: these are counted. One that is silent takes no client's place. */
  readonly #connections = new Set<Connection>();
  /** Connections that have made none. */
  readonly #uncalled = new Set<Connection>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** Connections that there are file descriptors for, once they have run out. */
  #room = Infinity;
  /** When a connection that was cut was last reported, of `performance.now()`. */
  #cutReportedMs = -Infinity;
  /** Connections so far. */
  #accepted = 0;
  #closing: Promise<void> | null = null;
  /** Resolves when no connection is left. */
  #onEmpty: (() => void) | null = null;

  /** @ignore Use {@linkcode GrpcServer.listen}. */
  constructor(options: GrpcServerOptions) {
    this.#options = options;
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
    await server.#listen();
    return server;
  }

  async #listen(): Promise<void> {
    const { address, port, tls, requestTimeoutMs } = this.#options;
    const onError = (error: unknown): void => this.#report(error);
    if (tls === undefined) {
      const onSocket = (socket: Deno.TcpConn): void => {
        socket.setNoDelay(true);
        this.#onTransport(new DenoTransport(socket, () => socketCalls(socket)), socket.localAddr.hostname, null);
      };
      this.#acceptor = new Acceptor({ address, port, onSocket, onExhausted: () => this.#onExhausted(), onError });
      return;
    }
    this.#acceptor = this.#secure = await SecureAcceptor.listen({
      ...{ address, port, tls, onError },
      timeoutMs: requestTimeoutMs,
      hasRoom: () => this.#hasRoom(),
      onSocket: (socket) => this.#onSecure(socket),
      onFailure: (error, certificateError) =>
        this.#report(certificateError === null ? error : unverified(certificateError)),
    });
  }

  /** The port bound to. */
  get port(): number {
    return this.#acceptor!.port;
  }

  /** Calls under way. */
  get activeCalls(): number {
    return this.#running.size;
  }

  /** A connection that has not finished its TLS handshake counts like any other. */
  #hasRoom(): boolean {
    const open = this.#open + (this.#secure?.handshakes ?? 0);
    return open < Math.min(this.#options.maxConnections + MAX_BEYOND, this.#room + SPARE_CONNECTIONS);
  }

  /** All connections. */
  get #open(): number {
    return this.#connections.size + this.#uncalled.size;
  }

  get #mostConnections(): number {
    return Math.min(this.#options.maxConnections, this.#room);
  }

  /** No file descriptor is left: makes room, and keeps some free from now on, so that whoever comes next hears that it is full. */
  #onExhausted(): void {
    this.#room = Math.max(1, this.#open - SPARE_CONNECTIONS);
    // A connection that has come just now is the last to go: its call is under way.
    const spent = [...this.#uncalled.values().filter(isSilent), ...this.#connections.values().filter(isUnused)];
    for (const { http2 } of [...spent, ...this.#uncalled].slice(0, SPARE_CONNECTIONS)) {
      http2.destroy(Http2Code.enhanceYourCalm);
    }
  }

  #onSecure(socket: TLSSocket): void {
    socket.setNoDelay(true);
    const problem = this.#handshakeProblem(socket);
    if (problem === null) {
      return this.#onTransport(new NodeTransport(socket), socket.localAddress ?? "", subjectOf(socket));
    }
    socket.on("error", () => {});
    socket.destroy();
    this.#report(problem);
  }

  /** What is wrong with a handshake that TLS has accepted, or `null`. */
  #handshakeProblem(socket: TLSSocket): DipcError | null {
    // The runtime is configured to end such a connection itself; who may call must not depend on that alone.
    if (this.#options.tls?.clientCa !== undefined && socket.authorized !== true) {
      return unverified(socket.authorizationError as unknown);
    }
    if (socket.alpnProtocol === "h2") return null;
    const what = "the client did not offer HTTP/2 (ALPN h2) in its TLS handshake";
    return new DipcError("protocol", `cannot accept a connection: ${what}`);
  }

  #onTransport(transport: Transport, localAddress: string, peerSubject: string | null): void {
    const number = ++this.#accepted;
    if (!this.#hasRoom() && !this.#dropSilent()) return this.#cut(transport);
    const connection: Connection = {
      http2: new ServerConnection(transport, {
        maxStreams: this.#options.maxCalls,
        streamWindow: STREAM_WINDOW,
        connectionWindow: CONNECTION_WINDOW,
        maxHeaderBytes: this.#options.maxHeaderBytes,
        lingerMs: LINGER_MS,
        peerSubject,
        onStream: (stream) => this.#onStream(connection, stream),
        onTooLong: (stream, name) => this.#refuse(connection, stream, tooLong(name, this.#options.maxHeaderBytes)),
        onClose: (error) => {
          connection.timer?.stop();
          this.#connections.delete(connection);
          this.#uncalled.delete(connection);
          if (this.#open < this.#room / 2) this.#room = Infinity;
          if (this.#open === 0) this.#onEmpty?.();
          this.#options.onConnectionEnd?.(number);
          // Health checks come and go without a byte.
          if (error !== null && connection.http2.hasReceived) this.#report(error, number);
        },
      }),
      number,
      localAddress,
      sinceMs: performance.now(),
      calls: 0,
      timer: undefined,
    };
    this.#uncalled.add(connection);
    // A handshake that ends while the server is shutting down.
    if (this.#closing !== null) return connection.http2.close();
    this.#endUnused(connection, this.#options.requestTimeoutMs);
  }

  /** Drops the oldest connection that has not sent a byte: a client of HTTP/2 speaks at once. */
  #dropSilent(): boolean {
    const { value: oldest } = this.#uncalled.values().filter(isSilent).next();
    if (oldest === undefined) return false;
    this.#uncalled.delete(oldest);
    oldest.http2.destroy(Http2Code.noError);
    return true;
  }

  /** Counts a connection at its first call. @returns whether there is room */
  #count(connection: Connection): boolean {
    if (this.#connections.has(connection)) return true;
    if (this.#connections.size >= this.#mostConnections) return false;
    this.#uncalled.delete(connection);
    this.#connections.add(connection);
    return true;
  }

  /** Ends a connection that makes no call within a time, which other bytes that arrive do not extend. */
  #endUnused(connection: Connection, timeoutMs: number): void {
    connection.timer?.stop();
    connection.timer = patientTimeout(timeoutMs, () => {
      this.#report(
        new DipcError("timeout", `cannot keep a connection open: the client made no call within ${timeoutMs} ms`),
        connection.number,
      );
      connection.http2.destroy(Http2Code.noError);
    });
  }

  /** Ends a connection that does not even learn why. */
  #cut(transport: Transport): void {
    transport.destroy();
    const now = performance.now();
    if (now - this.#cutReportedMs < CUT_REPORT_MS) return;
    this.#cutReportedMs = now;
    this.#report(this.#full());
  }

  #onStream(connection: Connection, stream: ServerStream): void {
    if (!this.#count(connection)) {
      this.#refuse(connection, stream, this.#full());
      return connection.http2.close();
    }
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
    connection.timer?.stop();
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
    return new DipcError(
      "busy",
      `cannot accept a connection: all ${this.#mostConnections} of the server are in use (maxConnections); try again later`,
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
    this.#acceptor?.close();
    // Announces to every client that its connection accepts no further call.
    for (const { http2, timer } of [...this.#connections, ...this.#uncalled]) {
      timer?.stop();
      http2.close();
    }
    if (this.#running.size > 0 && timeoutMs > 0) await withDeadline(Promise.all(this.#running), timeoutMs);
    this.#stop.abort(new DipcError("closed", "cannot complete the call: the server is shutting down"));
    await Promise.all(this.#running);
    const empty = new Promise<void>((resolve) => this.#onEmpty = resolve);
    const open = [...this.#connections, ...this.#uncalled];
    for (const { http2 } of open) http2.destroy();
    if (open.length > 0) await empty;
  }
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

/** Whether a connection has not sent a byte for some time. */
function isSilent({ http2, sinceMs }: Connection): boolean {
  return !http2.hasReceived && performance.now() - sinceMs >= SILENT_MS;
}

/** Whether a connection has no call. */
function isUnused({ calls }: Connection): boolean {
  return calls === 0;
}

/** The error for a client without a certificate that is verified; the cause is the code that the runtime gives, if any. */
function unverified(cause: unknown): DipcError {
  const why = cause ? `was not verified (${textOf(cause)})` : "is missing or was not verified";
  return new DipcError(
    "permission_denied",
    `cannot accept a connection: the client's certificate ${why}; give the client one that the authority in ` +
      "tls.clientCa has signed",
  );
}

function subjectOf(socket: TLSSocket): string | null {
  const subject = socket.getPeerCertificate()?.subject as { CN?: string } | undefined;
  return subject?.CN ?? null;
}
