/**
 * The context of every call of a client: headers, credentials, cookies, middleware, deadlines.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { refusal } from "../options.ts";
import type { FlightCall, FlightCallOptions, FlightClientOptions, FlightMiddleware } from "./client_options.ts";
import { CookieJar } from "./cookies.ts";

/** One prepared call. */
export interface PreparedCall {
  /** Headers to send. */
  readonly headers: Headers;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** Longest time of the whole call, in milliseconds. */
  readonly deadlineMs?: number;
  /** Longest time of the call once the server can take it, in milliseconds. */
  readonly answerMs?: number;
  /** Must be called with the server's headers. */
  onHeaders(headers: Headers): void;
  /** Must be called once at the end. */
  onEnd(trailers: Headers, error: unknown): void;
}

/** What the calls of one client share. */
export class CallContext {
  readonly #headers: Headers;
  readonly #middleware: readonly FlightMiddleware[];
  readonly #cookies: CookieJar | null;

  /**
   * @param options Options of the client
   * @param cookies Cookies that another client has too
   * @throws {DipcError} `invalid_argument` for a token that cannot be sent
   */
  constructor(options: FlightClientOptions, cookies?: CookieJar | null) {
    this.#headers = new Headers(options.headers);
    if (options.token !== undefined) this.#headers.set("authorization", `Bearer ${checkedToken(options.token)}`);
    this.#middleware = options.middleware ?? [];
    this.#cookies = options.cookies === false ? null : cookies ?? new CookieJar();
  }

  /** The cookies of the server; `null` if none are kept. */
  get cookies(): CookieJar | null {
    return this.#cookies;
  }

  /** Sends a header with every later call. */
  setHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  /**
   * Prepares a call.
   *
   * @param method Name of the method, such as `"DoGet"`
   * @param call Options of the call
   * @param answerMs Longest time of the call once the server can take it in milliseconds, unless its options have a deadline
   * @throws What a middleware's `onCall` throws
   */
  async prepare(method: string, call: FlightCallOptions, answerMs?: number): Promise<PreparedCall> {
    const headers = new Headers(this.#headers);
    for (const [name, value] of new Headers(call.headers)) headers.set(name, value);
    const cookies = this.#cookies?.header() ?? null;
    if (cookies !== null) {
      headers.set("cookie", headers.has("cookie") ? `${headers.get("cookie")}; ${cookies}` : cookies);
    }
    const seen: FlightCall = { method, headers };
    for (const middleware of this.#middleware) await middleware.onCall?.(seen);
    return {
      headers,
      signal: call.signal,
      ...(call.timeoutMs === undefined ? { answerMs } : { deadlineMs: deadlineOf(call.timeoutMs) }),
      onHeaders: (received) => {
        this.#cookies?.take(received);
        for (const middleware of this.#middleware.toReversed()) middleware.onHeaders?.(seen, received);
        call.onHeaders?.(received);
      },
      onEnd: (trailers, error) => {
        this.#cookies?.take(trailers);
        for (const middleware of this.#middleware.toReversed()) middleware.onEnd?.(seen, trailers, error ?? undefined);
        call.onTrailers?.(trailers);
      },
    };
  }
}

/** A token goes into a header, whose values are visible ASCII. The message leaves the token out: it is a secret. */
function checkedToken(token: string): string {
  if (/^[\x20-\x7e]*$/.test(token)) return token;
  throw new DipcError(
    "invalid_argument",
    "cannot use the token: it has characters that a header cannot hold; give one of visible ASCII characters",
  );
}

/** The deadline of a call; `undefined` if it is longer than a timer can wait. */
function deadlineOf(timeoutMs: number): number | undefined {
  if (!(timeoutMs > 0)) {
    throw new DipcError(
      "invalid_argument",
      refusal("timeoutMs of a call", timeoutMs, "a number of milliseconds above 0"),
    );
  }
  return timeoutMs > MAX_TIMER_MS ? undefined : timeoutMs;
}
