/**
 * One HTTP/2 connection to a Flight server, opened when it is first needed and again where it was lost between calls.
 *
 * @module
 */
import * as http2 from "node:http2";
import * as net from "node:net";
import { DipcError } from "../errors.ts";
import type { FlightTlsOptions } from "./client_options.ts";
import type { FlightLocation } from "./location.ts";
import { endLater } from "./session_end.ts";

/** What the server may send of one stream without being read: what a reader that has stopped holds at most, per stream. */
export const STREAM_WINDOW_BYTES = 2 ** 20;
/**
 * What it may send of all streams. The largest there is, because a stream that is not read would otherwise stop the others;
 * what is held is bounded by the streams' windows.
 */
const CONNECTION_WINDOW_BYTES = 2 ** 31 - 1;
/** Longest HTTP/2 frame that is taken: fewer and larger pieces than the 16 KiB of the specification's start (RFC 9113, 4.2). */
const FRAME_BYTES = 2 ** 20;
/**
 * How long a stream that is given up is left unread before it is reset, where others run beside it. What arrives for a stream
 * that was reset counts against the connection, and nghttp2 ends it after about a thousand frames; a server that is not read stops
 * once the stream's window is full.
 */
const LINGER_MS = 250;
/** How long a connection that is closed may take to say so before it is cut. */
const CLOSE_MS = 1000;

/** Options of a {@linkcode FlightConnection}. */
export interface ConnectionOptions {
  /** Certificates. */
  tls?: FlightTlsOptions;
  /** Longest wait for the connection, in milliseconds. */
  timeoutMs: number;
}

/** A connection; calls are streams on it. */
export class FlightConnection {
  /** Scheme, host and port, as http2 wants them. */
  readonly #authority: string;
  readonly #location: FlightLocation;
  readonly #options: ConnectionOptions;
  #session: http2.ClientHttp2Session | null = null;
  /** Those that were opened and have not closed. */
  readonly #sessions = new Set<http2.ClientHttp2Session>();
  /** Number of open streams. */
  readonly #streams = new WeakMap<http2.Http2Session, number>();
  #opening: Promise<http2.ClientHttp2Session> | null = null;
  #closed = false;
  /** Whether any call was answered. */
  #hasAnswered = false;

  /**
   * @param location Where the server is
   * @param options Certificates, timeout
   */
  constructor(location: FlightLocation, options: ConnectionOptions) {
    this.#location = location;
    this.#options = options;
    const host = location.host.includes(":") ? `[${location.host}]` : location.host || "localhost";
    this.#authority =
      new URL(`${location.tls ? "https" : "http"}://${host}${location.port === 0 ? "" : `:${location.port}`}`).origin;
  }

  /**
   * Connects, where there is no connection.
   *
   * @param signal Gives up
   * @throws {DipcError} `unreachable`, `permission_denied`, `timeout`, `closed`, `cancelled`
   */
  async connect(signal?: AbortSignal): Promise<void> {
    await this.#ready(signal);
  }

  /**
   * Starts a call: opens a stream, on a new connection where there is none.
   *
   * @param path Of the method
   * @param headers Headers of the call
   * @throws {DipcError} `unreachable`, `timeout`, `closed`
   */
  async request(path: string, headers: http2.OutgoingHttpHeaders): Promise<http2.ClientHttp2Stream> {
    const session = await this.#ready();
    try {
      const stream = session.request({ ...headers, ":method": "POST", ":path": path });
      stream.once("response", () => this.#hasAnswered = true);
      this.#count(session, 1);
      stream.once("close", () => this.#count(session, -1));
      return stream;
    } catch (error) {
      throw new DipcError("unreachable", `no call can be started at ${this.#location.uri}: ${textOf(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * Resets a stream that the server may still be sending. A connection without other streams is not used again, so that what
   * is under way harms nobody.
   *
   * @param stream The stream; its readers are gone
   */
  abandon(stream: http2.ClientHttp2Stream): void {
    const { session } = stream;
    const reset = (): void => {
      if (!stream.closed && !stream.destroyed) stream.close(http2.constants.NGHTTP2_CANCEL);
    };
    if (session === undefined || session.destroyed || stream.closed) return reset();
    if ((this.#streams.get(session) ?? 0) > 1) {
      stream.pause();
      const timer = setTimeout(reset, LINGER_MS);
      stream.once("close", () => clearTimeout(timer));
      return;
    }
    reset();
    if (this.#session === session) this.#session = null;
    session.close();
  }

  /**
   * The error for a call whose connection or stream has gone without an answer.
   *
   * @param what What was being done
   * @param why What is known
   * @param cause The error that told
   */
  lost(what: string, why: string, cause?: unknown): DipcError {
    // What nghttp2 makes of bytes that are no HTTP/2.
    if (nodeCodeOf(cause) === "ERR_HTTP2_ERROR") {
      return new DipcError("protocol", `${what}: the server broke HTTP/2: ${why}`, { cause });
    }
    // A server that wants a certificate and got none closes the connection after the handshake, when it looks open here.
    if (!this.#hasAnswered) {
      const tls = this.#location.tls ? "; does the server want a certificate of the client?" : "";
      return new DipcError("unreachable", `${what} was not answered, the server closed the connection: ${why}${tls}`, {
        cause,
      });
    }
    return new DipcError("connection_lost", `${what} ended before its status was there: ${why}`, { cause });
  }

  /** Ends all streams and the connection. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening?.catch(() => null);
    this.#session = null;
    await Promise.all([...this.#sessions].map(destroyed));
  }

  #count(session: http2.Http2Session, by: number): void {
    this.#streams.set(session, (this.#streams.get(session) ?? 0) + by);
  }

  #ready(signal?: AbortSignal): http2.ClientHttp2Session | Promise<http2.ClientHttp2Session> {
    if (this.#closed) throw new DipcError("closed", `the connection to ${this.#location.uri} was closed`);
    // The event of a destroyed session comes later than the destruction.
    if (this.#session !== null && !this.#session.destroyed && !this.#session.closed) return this.#session;
    this.#session = null;
    return this.#opening ??= this.#open(signal).finally(() => this.#opening = null);
  }

  async #open(signal?: AbortSignal): Promise<http2.ClientHttp2Session> {
    const { uri } = this.#location;
    const session = http2.connect(this.#authority, this.#sessionOptions());
    endLater(session);
    let failure: unknown = null;
    // Always there: an error that nobody listens to ends the process.
    session.on("error", (error: unknown) => failure ??= error);
    try {
      await this.#connected(session, signal);
      if (this.#closed) throw new DipcError("closed", `the connection to ${uri} was closed`);
      if (session.destroyed) throw connectError(uri, failure ?? "it was closed at once");
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    } catch (error) {
      session.destroy();
      throw error;
    }
    const forget = (): void => {
      if (this.#session === session) this.#session = null;
    };
    // Streams report what a lost connection means to them; new ones get a new connection.
    session.on("error", forget);
    session.on("goaway", forget);
    session.on("close", () => {
      forget();
      this.#sessions.delete(session);
    });
    this.#sessions.add(session);
    return this.#session = session;
  }

  #sessionOptions(): http2.ClientSessionOptions | http2.SecureClientSessionOptions {
    const { socketPath, tls, host } = this.#location;
    const settings = { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: FRAME_BYTES };
    if (socketPath !== null) return { settings, createConnection: () => net.connect(socketPath) };
    if (!tls) return { settings };
    const options = this.#options.tls ?? {};
    const ca = typeof options.ca === "string" || options.ca === undefined ? options.ca : [...options.ca];
    return {
      settings,
      ca,
      cert: options.cert,
      key: options.key,
      // An address is no name that TLS could ask for.
      servername: options.serverName ?? (net.isIP(host) === 0 ? host : undefined),
      rejectUnauthorized: options.insecureSkipVerify !== true,
      ALPNProtocols: ["h2"],
    };
  }

  #connected(session: http2.ClientHttp2Session, signal?: AbortSignal): Promise<void> {
    const { uri } = this.#location;
    const { timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const done = (error?: DipcError): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        session.off("connect", onConnect);
        session.off("error", onError);
        session.off("close", onClose);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onConnect = (): void => done();
      const onError = (error: unknown): void => done(connectError(uri, error));
      const onClose = (): void =>
        done(new DipcError("unreachable", `no connection to ${uri}: it was closed at once; is it a Flight server?`));
      const onAbort = (): void =>
        done(new DipcError("cancelled", `connecting to ${uri} was cancelled`, { cause: signal!.reason }));
      const timer = setTimeout(
        () => done(new DipcError("timeout", `no connection to ${uri} within ${timeoutMs / 1000} s`)),
        timeoutMs,
      );
      if (signal?.aborted) return onAbort();
      signal?.addEventListener("abort", onAbort);
      session.on("connect", onConnect);
      session.on("error", onError);
      session.on("close", onClose);
    });
  }
}

function connectError(uri: string, error: unknown): DipcError {
  const text = textOf(error);
  // Deno's own text names the flag.
  if (/^Requires \w+ access/.test(text)) {
    return new DipcError("permission_denied", `connecting to ${uri}: ${text}`, { cause: error });
  }
  return new DipcError("unreachable", `no connection to ${uri}: ${text}; is a Flight server listening there?`, {
    cause: error,
  });
}

/** Destroys a session, and waits until it says so. */
async function destroyed(session: http2.ClientHttp2Session): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => resolve(), CLOSE_MS);
    session.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    session.destroy();
  });
}

/** The code of the error of node's modules that led to an error, such as `"EPIPE"`; `null` where there is none. */
export function nodeCodeOf(error: unknown): string | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && typeof cause.code === "string" && /^E[A-Z0-9_]+$/.test(cause.code)) return cause.code;
  }
  return null;
}

/** What an error of node's modules says. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
