/**
 * One HTTP/2 connection to a gRPC server, opened when it is first needed and again if it was lost between calls.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { ClientConnection } from "../http2/client_connection.ts";
import type { ClientStream } from "../http2/client_stream.ts";
import { Http2Code, Http2Error, Http2Reset, Http2TooLong } from "../http2/errors.ts";
import { MAX_WINDOW } from "../http2/settings.ts";
import type { Transport } from "../http2/transport.ts";
import { patientNow, patientTimeout, type PatientTimer } from "../patience.ts";
import { connectError, openTransport } from "./client_socket.ts";
import type { GrpcTarget } from "./target.ts";
import type { FlightTlsOptions } from "./tls.ts";
import { UntakenError } from "./untaken_error.ts";
import { USER_AGENT } from "./user_agent.ts";

/** Receive window of a stream, in bytes: a reader that has stopped holds at most this much per stream, unless it has grown. */
const STREAM_WINDOW_BYTES = 2 ** 20;
/** A connection is not suspected for a silence shorter than this, in milliseconds. */
const SILENCE_MS = 1000;
/** How long a server may take to close its side of a connection that has been closed, in milliseconds. */
const LINGER_MS = 100;
/** Longest headers of an answer, in bytes. */
const MAX_HEADER_BYTES = 64 * 1024;
/** The text of a status, which some servers do not encode. */
const FREE_TEXT: ReadonlySet<string> = new Set(["grpc-message"]);

/** The alerts of TLS about this side's certificate, as the runtime spells them. */
const CERTIFICATE_ALERT =
  /alert: (?:CertificateRequired|BadCertificate|UnsupportedCertificate|CertificateRevoked|CertificateExpired|CertificateUnknown|UnknownCA|AccessDenied)\b/;

/** Options of a {@linkcode GrpcConnection}. */
export interface GrpcConnectionOptions {
  /** Certificates. */
  tls?: FlightTlsOptions;
  /** Longest wait for the connection, and for a server on it that says something, in milliseconds. */
  timeoutMs: number;
  /**
   * Whether no call is made before the server has said something, which takes a round trip. A call to a server that is not there has done
   * nothing then, and can be made to another one. Default false.
   */
  awaitsServer?: boolean;
}

/** A connection; calls are streams on it. */
export class GrpcConnection {
  readonly #location: GrpcTarget;
  readonly #options: GrpcConnectionOptions;
  /** `:authority` of requests. */
  readonly #authority: string;
  #connection: ClientConnection | null = null;
  /** Connections that have not closed; each promise resolves once its connection has. */
  readonly #open = new Map<ClientConnection, Promise<void>>();
  #attempt: Attempt | null = null;
  #isClosed = false;
  /** Whether any call has been answered. */
  #hasAnswered = false;
  /** The connection that was opened last, whether or not it is still open. */
  #latest: ClientConnection | null = null;

  /**
   * @param location Address of the server
   * @param options Certificates and timeout
   */
  constructor(location: GrpcTarget, options: GrpcConnectionOptions) {
    this.#location = location;
    this.#options = options;
    const host = location.host.includes(":") ? `[${location.host}]` : location.host || "localhost";
    this.#authority = location.port === 0 ? host : `${host}:${location.port}`;
  }

  /**
   * Connects, unless there is a usable connection.
   *
   * @param signal Stops waiting for the connection
   * @throws {DipcError} `unreachable`, `permission_denied`, `timeout`, `closed`, `cancelled`
   */
  async connect(signal?: AbortSignal): Promise<void> {
    if (this.#usable() === null) await this.#join(signal);
  }

  /** Address of the server. */
  get target(): GrpcTarget {
    return this.#location;
  }

  /** Whether there is a connection that accepts a call. */
  get isReady(): boolean {
    return this.#usable() !== null;
  }

  /**
   * Starts a call: opens a stream, on a new connection if there is none.
   *
   * @param path Path of the method
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
      ...(headers.has("user-agent") ? [] : [["user-agent", USER_AGENT] as const]),
      ...headers,
    ]);
  }

  /**
   * A call has timed out. A connection that has been silent for as long gets no further call: its peer may have vanished
   * silently, which the system detects only after many minutes.
   *
   * @param waitedMs How long the call has waited, in milliseconds
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
   * The error for a call whose connection or stream ended without a status.
   *
   * @param what The call, such as `"DoGet at grpc://127.0.0.1:8815"`
   * @param cause The reason, if it is known
   * @param isUntaken Whether the server has certainly not processed it
   */
  lost(what: string, cause: Error | null, isUntaken: boolean): DipcError {
    const why = cause?.message ?? "the connection was closed";
    if (cause instanceof DipcError) return cause;
    const options = { cause: cause ?? undefined };
    if (this.#isClosed) return new LocalError("closed", `cannot complete ${what}: the connection was closed`, options);
    if (cause instanceof Http2TooLong) {
      const found = `the headers of the answer are longer than ${MAX_HEADER_BYTES / 1024} KiB`;
      return new LocalError("limit_exceeded", `cannot complete ${what}: ${found}; shorten them at the server`, options);
    }
    // An error that this side has found in what the server sent.
    if (cause instanceof Http2Error) {
      return new LocalError("protocol", `cannot complete ${what}: the server violated HTTP/2: ${why}`, options);
    }
    if (isUntaken && cause instanceof Http2Reset && cause.code === Http2Code.enhanceYourCalm) {
      return new UntakenError(
        "busy",
        `cannot complete ${what}: the server did not accept it: it has too many connections, or this one asked too much of ` +
          `it: ${why}; try again later`,
        options,
      );
    }
    if (isUntaken) {
      return new UntakenError(
        "unreachable",
        `cannot complete ${what}: the server did not accept it: ${why}; it can be retried`,
        options,
      );
    }
    // A server that does not accept a client's certificate, or its absence, closes after the handshake, when it looks open here.
    if (!this.#hasAnswered && this.#location.tls && this.#isCertificateRefused(why)) {
      return new LocalError(
        "permission_denied",
        `cannot complete ${what}: the server does not accept this client's certificate, or that it has none: ${why}; give ` +
          "one that its authority has signed: tls.cert and tls.key, or --tls-cert and --tls-key",
        options,
      );
    }
    if (!this.#hasAnswered) {
      const hint = this.#location.tls ? "; check whether the server requires a client certificate" : "";
      return new LocalError("unreachable", `cannot complete ${what}: it was not answered: ${why}${hint}`, options);
    }
    return new LocalError(
      "connection_lost",
      `cannot complete ${what}: it ended before its status arrived: ${why}`,
      options,
    );
  }

  /** Whether the server's alert says so, or it ended without a byte after it was given a certificate. */
  #isCertificateRefused(why: string): boolean {
    return CERTIFICATE_ALERT.test(why) ||
      (this.#options.tls?.cert !== undefined && this.#latest?.hasReceived === false);
  }

  /** Ends all streams and the connection. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#attempt?.controller.abort(this.#closedError());
    this.#connection = null;
    for (const connection of this.#open.keys()) connection.destroy();
    await Promise.all(this.#open.values());
  }

  #closedError(): DipcError {
    return new LocalError("closed", `cannot use the connection to ${this.#location.uri}: it was closed`);
  }

  #usable(): ClientConnection | null {
    if (this.#isClosed) throw this.#closedError();
    if (this.#connection?.isUsable !== true) this.#connection = null;
    return this.#connection;
  }

  /** Waits for the connection that is being opened, for all callers that need one; it is aborted once no caller waits. */
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
      throw new LocalError("cancelled", `cannot connect to ${this.#location.uri}: the signal was aborted`, {
        cause: error,
      });
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (--attempt.waiting === 0 && this.#attempt === attempt) attempt.controller.abort();
    }
  }

  #begin(): Attempt {
    const controller = new AbortController();
    const { uri } = this.#location;
    const { timeoutMs } = this.#options;
    const startedMs = patientNow();
    const timer = patientTimeout(
      timeoutMs,
      () =>
        controller.abort(
          new LocalError("timeout", `cannot connect to ${uri}: it took longer than ${timeoutMs / 1000} s`),
        ),
    );
    const connection = this.#start(controller.signal, startedMs).finally(() => {
      timer.stop();
      this.#attempt = null;
    });
    // Waiting callers get the error; there may be none left.
    connection.catch(() => {});
    return { connection, controller, waiting: 0 };
  }

  async #start(signal: AbortSignal, startedMs: number): Promise<ClientConnection> {
    let transport: Transport;
    try {
      transport = await openTransport(this.#location, this.#options.tls ?? {}, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw connectError(this.#location.uri, error);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const connection = new ClientConnection(transport, {
      streamWindow: STREAM_WINDOW_BYTES,
      // The maximum, because a stream that is not read would otherwise stop the others; the streams' windows bound what is held.
      connectionWindow: MAX_WINDOW,
      maxHeaderBytes: MAX_HEADER_BYTES,
      freeText: FREE_TEXT,
      lingerMs: LINGER_MS,
      onClose: () => {
        silence.stop();
        this.#open.delete(connection);
        resolve();
      },
    });
    const silence = this.#expectBytes(connection, startedMs);
    this.#open.set(connection, promise);
    if (this.#isClosed) connection.destroy();
    this.#latest = connection;
    if (this.#options.awaitsServer) await this.#greeting(connection, signal);
    return this.#connection = connection;
  }

  /** Waits until the server has said something. */
  async #greeting(connection: ClientConnection, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => connection.destroy();
    signal.addEventListener("abort", onAbort);
    await connection.greeted;
    signal.removeEventListener("abort", onAbort);
    signal.throwIfAborted();
    if (!connection.hasReceived) throw this.lost(`the connection to ${this.#location.uri}`, connection.error, false);
  }

  /** Every server begins with its settings: one that says nothing is not there, even if its machine has taken the connection. */
  #expectBytes(connection: ClientConnection, startedMs: number): PatientTimer {
    const { timeoutMs } = this.#options;
    return patientTimeout(Math.max(1, timeoutMs - (patientNow() - startedMs)), () => {
      if (connection.hasReceived) return;
      const found = `it accepted the connection, and said nothing within ${timeoutMs / 1000} s`;
      connection.fail(new LocalError("timeout", `cannot connect to ${this.#location.uri}: ${found}`));
    });
  }
}

/** A connection that is being opened. */
interface Attempt {
  readonly connection: Promise<ClientConnection>;
  readonly controller: AbortController;
  /** Number of callers that wait for it. */
  waiting: number;
}
