/**
 * Cookies of one Flight server: kept until they expire, and sent back with every call (RFC 6265, without paths and
 * domains: a client talks to one service of one server).
 *
 * @module
 */

/** Maximum number of cookies, and characters of one: the minimum that RFC 6265 demands, so that a server cannot fill memory. */
const MAX_COOKIES = 50;
const MAX_COOKIE_CHARACTERS = 4096;

interface Cookie {
  readonly value: string;
  /** Milliseconds since 1970; Infinity if it does not expire. */
  readonly expires: number;
}

/** The cookies of one client. */
export class CookieJar {
  readonly #cookies = new Map<string, Cookie>();

  /**
   * Applies the `set-cookie` headers of an answer.
   *
   * @param headers Headers or trailers
   * @param now Milliseconds since 1970
   */
  take(headers: Headers, now: number = Date.now()): void {
    for (const line of headers.getSetCookie()) this.#set(line, now);
  }

  /** The value of the `cookie` header, or `null` if there is none to send. */
  header(now: number = Date.now()): string | null {
    for (const [name, { expires }] of this.#cookies) if (expires <= now) this.#cookies.delete(name);
    if (this.#cookies.size === 0) return null;
    return [...this.#cookies].map(([name, { value }]) => `${name}=${value}`).join("; ");
  }

  #set(line: string, now: number): void {
    if (line.length > MAX_COOKIE_CHARACTERS) return;
    const [pair, ...attributes] = line.split(";");
    const equals = pair.indexOf("=");
    if (equals < 1) return;
    const name = pair.slice(0, equals).trim();
    const expires = expiry(attributes, now);
    this.#cookies.delete(name);
    if (name === "" || expires <= now || this.#cookies.size >= MAX_COOKIES) return;
    this.#cookies.set(name, { value: pair.slice(equals + 1).trim(), expires });
  }
}

/** `Max-Age` takes precedence over `Expires`, in any order. */
function expiry(attributes: readonly string[], now: number): number {
  let expires = Infinity;
  let maxAge: number | null = null;
  for (const attribute of attributes) {
    const equals = attribute.indexOf("=");
    if (equals < 0) continue;
    const name = attribute.slice(0, equals).trim().toLowerCase();
    const value = attribute.slice(equals + 1).trim();
    if (name === "max-age" && /^-?\d{1,15}$/.test(value)) maxAge = now + 1000 * Number(value);
    if (name === "expires" && !Number.isNaN(Date.parse(value))) expires = Date.parse(value);
  }
  return maxAge ?? expires;
}
