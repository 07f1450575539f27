/**
 * What surrounds every call of a client: headers, credentials, cookies, middleware, deadlines.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { refusal } from "../options.ts";
import type { FlightCall, FlightCallOptions, FlightClientOptions, FlightMiddleware } from "./client_options.ts";
import { CookieJar } from "./cookies.ts";

/** One call, ready to be made. */
export interface PreparedCall {
  /** Headers to send. */
  readonly headers: Headers;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
  /** Longest time of the whole call, in milliseconds. */
  readonly deadlineMs?: number;
  /** To be called with the server's headers. */
  onHeaders(headers: Headers): void;
  /** To be called once at the end. */
  onEnd(trailers: Headers, error: unknown): void;
}

/** What the calls of one client have in common. */
export class CallContext {
  readonly #headers: Headers;
  readonly #middleware: readonly FlightMiddleware[];
  readonly #cookies: CookieJar | null;

  /** @param options The client's */
  constructor(options: FlightClientOptions) {
    this.#headers = new Headers(options.headers);
    if (options.token !== undefined) this.#headers.set("authorization", `Bearer ${options.token}`);
    this.#middleware = options.middleware ?? [];
    this.#cookies = options.cookies === false ? null : new CookieJar();
  }

  /** Sends a header with every later call. */
  setHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  /**
   * Makes a call ready.
   *
   * @param method Its name, such as `"DoGet"`
   * @param call Its own options
   * @param defaultDeadlineMs Longest time of the whole call, where its options do not say
   * @throws what a middleware's `onCall` throws
   */
  async prepare(method: string, call: FlightCallOptions, defaultDeadlineMs?: number): Promise<PreparedCall> {
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
      deadlineMs: call.timeoutMs === undefined ? defaultDeadlineMs : deadlineOf(call.timeoutMs),
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

/** The deadline of a call; `undefined` where a timer cannot wait for as long. */
function deadlineOf(timeoutMs: number): number | undefined {
  if (!(timeoutMs > 0)) {
    throw new DipcError(
      "invalid_argument",
      refusal("timeoutMs of a call", timeoutMs, "a number of milliseconds above 0"),
    );
  }
  return timeoutMs > MAX_TIMER_MS ? undefined : timeoutMs;
}
