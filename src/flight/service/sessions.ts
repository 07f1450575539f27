/**
 * Options that clients set for all their later calls. A client is identified by a cookie, as by Arrow's own servers.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { SessionValue } from "../model.ts";
import type { ServerCall } from "../../grpc/server_call.ts";

/** Name of the cookie, the same as that of Arrow's servers. */
const COOKIE = "arrow_flight_session_id";
const MAX_OPTIONS = 256;
/** Maximum number of characters of all names and values of a session. */
const MAX_SIZE = 64 * 1024;

/** One session. */
export interface Session {
  /** Unguessable identifier. */
  readonly id: string;
  /** User who began it; others cannot use it. */
  readonly user: string | null;
  /** Options by name. */
  readonly options: Map<string, SessionValue>;
}

/** All sessions of a server; the least recently used ones make room for new ones. */
export class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #maxSessions: number;

  /** @param maxSessions Maximum number of sessions */
  constructor(maxSessions: number) {
    this.#maxSessions = maxSessions;
  }

  /** The session of the call's cookie, or `null`. */
  find(call: ServerCall, user: string | null): Session | null {
    const id = cookieOf(call.headers.get("cookie") ?? "");
    const session = id === null ? undefined : this.#sessions.get(id);
    if (session === undefined || session.user !== user) return null;
    // Sessions are in the order of their last use.
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** The session of the call; a new one if there is none. */
  begin(call: ServerCall, user: string | null): Session {
    const known = this.find(call, user);
    if (known !== null) return known;
    for (const id of this.#sessions.keys()) {
      if (this.#sessions.size < this.#maxSessions) break;
      this.#sessions.delete(id);
    }
    const id = crypto.getRandomValues(new Uint8Array(16)).toHex();
    const session: Session = { id, user, options: new Map() };
    this.#sessions.set(id, session);
    call.responseHeaders.append("set-cookie", `${COOKIE}=${id}; HttpOnly; SameSite=Strict`);
    return session;
  }

  /** Ends a session and makes the client drop its cookie. */
  close(call: ServerCall, session: Session): void {
    this.#sessions.delete(session.id);
    call.responseHeaders.append("set-cookie", `${COOKIE}=; Max-Age=0`);
  }
}

/**
 * Sets options of a session.
 *
 * @param session Session to change
 * @param options Names and values; `null` removes an option
 * @throws {DipcError} `limit_exceeded` if they are too many or too long; then nothing is set
 */
export function setOptions(session: Session, options: ReadonlyMap<string, SessionValue>): void {
  const next = new Map(session.options);
  for (const [name, value] of options) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  let size = 0;
  for (const [name, value] of next) size += name.length + sizeOf(value);
  if (next.size > MAX_OPTIONS || size > MAX_SIZE) {
    throw new DipcError(
      "limit_exceeded",
      `cannot set the options: a session has at most ${MAX_OPTIONS} options of ${MAX_SIZE} characters in all, these would be ${next.size} of ${size}`,
    );
  }
  session.options.clear();
  for (const [name, value] of next) session.options.set(name, value);
}

function sizeOf(value: SessionValue): number {
  if (typeof value === "string") return value.length;
  if (Array.isArray(value)) return value.reduce((sum: number, each: string) => sum + each.length + 1, 0);
  return 8;
}

function cookieOf(header: string): string | null {
  for (const part of header.split(";")) {
    const at = part.indexOf("=");
    if (part.slice(0, at).trim() === COOKIE) return part.slice(at + 1).trim();
  }
  return null;
}
