/**
 * A gRPC server on HTTP/2: connections, their limits, and how they end. What the calls are about is said elsewhere.
 *
 * gRPC is framed here, and not by a library, because it bounds what a client that does not read can hold, and is faster: bodies
 * go to HTTP/2 from where they lie.
 *
 * @module
 */
import http2, {
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { DipcError } from "../../errors.ts";
import { endLater } from "../session_end.ts";
import { refuseCall, REFUSED, ServerCall } from "./call.ts";
import { checkCertificates } from "./certificates.ts";

/** Certificates of a server, in PEM. */
export interface FlightServerTls {
  /** The server's certificate, and those that lead to its authority. */
  cert: string;
  /** The key of `cert`. */
  key: string;
  /** Certificates of the authorities whose clients are let in; with it, a client without a certificate is refused. */
  clientCa?: string;
}

/** What a {@linkcode GrpcServer} is told. */
export interface GrpcServerOptions {
  /** Address to bind. */
  address: string;
  /** Port, 0 for any free one. */
  port: number;
  /** Certificates; without them connections are not encrypted. */
  tls?: FlightServerTls;
  /** What every path starts with: `/package.Service/`. */
  service: string;
  /** Connections at one time. */
  maxConnections: number;
  /** Calls at one time. */
  maxCalls: number;
  /** A connection must make its first call within this many milliseconds, and a call be complete. */
  requestTimeoutMs: number;
  /** A client that takes or sends nothing for this many milliseconds is ended; a connection without calls, too. */
  idleTimeoutMs: number;
  /** Answers one call. Must not reject. */
  onCall(call: ServerCall): Promise<void>;
  /** Told what went wrong with a connection. */
  onError(error: DipcError): void;
}

/** Flow-control windows: bytes that a client may send before they are read. */
const STREAM_WINDOW = 2 ** 20;
const CONNECTION_WINDOW = 8 * 2 ** 20;
/** Longest headers of a call, in bytes. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Longest time that `setTimeout` can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface Connection {
  readonly session: ServerHttp2Session;
  calls: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A listening server. */
export class GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server: Http2Server;
  readonly #connections = new Map<ServerHttp2Session, Connection>();
  /** Connections in the middle of TLS's handshake, by the client's address. */
  readonly #handshakes = new Map<string, { socket: Socket; timer: ReturnType<typeof setTimeout> }>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #closing: Promise<void> | null = null;

  /** @ignore Use {@linkcode GrpcServer.listen}. */
  constructor(options: GrpcServerOptions) {
    this.#options = options;
    const { tls } = options;
    const settings = {
      initialWindowSize: STREAM_WINDOW,
      maxConcurrentStreams: options.maxCalls,
      maxHeaderListSize: MAX_HEADER_BYTES,
      enablePush: false,
    };
    this.#server = tls === undefined ? http2.createServer({ settings }) : http2.createSecureServer({
      settings,
      cert: tls.cert,
      key: tls.key,
      ca: tls.clientCa,
      requestCert: tls.clientCa !== undefined,
      rejectUnauthorized: tls.clientCa !== undefined,
      handshakeTimeout: options.requestTimeoutMs,
      ALPNProtocols: ["h2"],
    }) as unknown as Http2Server;
    const server = this.#server;
    server.on("session", (session) => this.#onSession(session));
    server.on("stream", (stream, headers) => {
      try {
        this.#onStream(stream as ServerHttp2Stream, headers);
      } catch (error) {
        // A stream can be gone before it is looked at; what throws here would end the process.
        this.#report(error);
        stream.destroy();
      }
    });
    const report = (error: unknown): void => this.#report(error);
    server.on("sessionError", report);
    server.on("tlsClientError", report);
    if (tls !== undefined) server.on("connection", (socket) => this.#onHandshake(socket));
  }

  /**
   * Binds.
   *
   * @param options Where, and what to do with calls
   * @throws {DipcError} `unreachable` where the address cannot be bound, `invalid_argument` for a bad certificate
   */
  static async listen(options: GrpcServerOptions): Promise<GrpcServer> {
    if (options.tls !== undefined) checkCertificates(options.tls);
    const server = new GrpcServer(options);
    const { address, port } = options;
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

  /** A connection that has yet to prove that it can do TLS: it has its time and counts like any other. */
  #onHandshake(socket: Socket): void {
    const key = addressOf(socket);
    if (this.#handshakes.size + this.#connections.size >= this.#options.maxConnections) {
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), this.#options.requestTimeoutMs);
    this.#handshakes.set(key, { socket, timer });
    socket.on("error", () => {}); // said by `tlsClientError`
    socket.on("close", () => this.#endHandshake(key));
  }

  #endHandshake(key: string): void {
    clearTimeout(this.#handshakes.get(key)?.timer);
    this.#handshakes.delete(key);
  }

  #onSession(session: ServerHttp2Session): void {
    endLater(session);
    if (session.socket !== undefined) this.#endHandshake(addressOf(session.socket));
    session.on("error", () => {}); // said by `sessionError`
    if (this.#stop.signal.aborted || this.#connections.size >= this.#options.maxConnections) {
      session.destroy(undefined, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    const connection: Connection = { session, calls: 0, timer: undefined };
    this.#connections.set(session, connection);
    session.on("connect", () => {
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW);
    });
    session.on("close", () => {
      clearTimeout(connection.timer);
      this.#connections.delete(session);
    });
    this.#endUnused(connection, this.#options.requestTimeoutMs);
  }

  /** Ends a connection that makes no call within a time. The time is not extended by whatever bytes come meanwhile. */
  #endUnused(connection: Connection, timeoutMs: number): void {
    clearTimeout(connection.timer);
    connection.timer = setTimeout(() => {
      if (connection.session.destroyed) return;
      this.#report(new DipcError("timeout", `a client made no call within ${timeoutMs} ms: its connection was closed`));
      connection.session.destroy();
    }, timeoutMs);
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { service, maxCalls } = this.#options;
    const path = String(headers[":path"] ?? "");
    const contentType = String(headers["content-type"] ?? "");
    if (headers[":method"] !== "POST" || !/^application\/grpc(?:\+proto)?(?:;|$)/.test(contentType)) {
      stream.on("error", () => {});
      stream.respond({ ":status": headers[":method"] === "POST" ? 415 : 405 }, { endStream: true });
      stream.close(http2.constants.NGHTTP2_NO_ERROR);
      return;
    }
    if (!path.startsWith(service)) return refuseCall(stream, ...REFUSED.unknown);
    if (this.#running.size >= maxCalls) return refuseCall(stream, ...REFUSED.full);
    const connection = stream.session === undefined
      ? undefined
      : this.#connections.get(stream.session as ServerHttp2Session);
    if (connection === undefined) {
      stream.destroy();
      return;
    }
    const call = new ServerCall(stream, headers, path.slice(service.length), {
      stop: this.#stop.signal,
      idleTimeoutMs: this.#options.idleTimeoutMs,
    });
    connection.calls++;
    clearTimeout(connection.timer);
    const run = this.#options.onCall(call).finally(() => {
      this.#running.delete(run);
      // Calls may end after their connection.
      const isOpen = this.#connections.has(connection.session) && !connection.session.closed;
      if (--connection.calls === 0 && isOpen && this.#closing === null) {
        this.#endUnused(connection, this.#options.idleTimeoutMs);
      }
    });
    this.#running.add(run);
  }

  #report(error: unknown): void {
    const known = error instanceof DipcError
      ? error
      : new DipcError("protocol", `a connection was closed: ${textOf(error)}`, { cause: error });
    this.#options.onError(known);
  }

  /**
   * Stops accepting, lets running calls finish within a deadline, cuts those that do not. Idempotent.
   *
   * @param timeoutMs The deadline in milliseconds; 0 cuts at once, `Infinity` never
   */
  shutdown(timeoutMs: number): Promise<void> {
    return this.#closing ??= this.#shutdown(timeoutMs);
  }

  async #shutdown(timeoutMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Tells every client that no further call is taken on its connection.
    for (const { session, timer } of this.#connections.values()) {
      clearTimeout(timer);
      session.close();
    }
    if (this.#running.size > 0 && timeoutMs > 0) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const deadline = new Promise<void>((resolve) => {
        if (timeoutMs <= MAX_TIMER_MS) timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([Promise.all(this.#running), deadline]);
      clearTimeout(timer);
    }
    this.#stop.abort(new DipcError("closed", "the server is shutting down"));
    await Promise.all(this.#running);
    for (const session of this.#connections.keys()) session.destroy();
    for (const { socket } of this.#handshakes.values()) socket.destroy();
    await closed;
  }
}

function addressOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
