/**
 * Tickets: opaque, signed leave to fetch one dataset until some time, once or many times.
 *
 * A ticket is ASCII text, so that it can be an argument of a command and the path of a URI: `dipc1.` and, in base64url
 * without padding, version (1 byte), flags (1 byte), key id (8 bytes), expiry (8 bytes, milliseconds since 1970,
 * little-endian), nonce (16 bytes), name of the dataset in UTF-8, HMAC-SHA-256 of all that (32 bytes).
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { positiveInteger } from "../limits.ts";
import type { StreamRole } from "../protocol/sender.ts";

/** How every ticket starts. */
const PREFIX = "dipc1.";
const VERSION = 1;
/** Flag: good for one time. */
const ONCE = 1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 16;
const MAC_BYTES = 32;
const EXPIRY_AT = 2 + KEY_ID_BYTES;
const NONCE_AT = EXPIRY_AT + 8;
const NAME_AT = NONCE_AT + NONCE_BYTES;
/** Longest name of a dataset in a ticket, in bytes. */
const MAX_NAME_BYTES = 2048;
/** Longest ticket, in bytes: what is longer is refused before anything is computed. */
export const MAX_TICKET_BYTES: number = PREFIX.length + Math.ceil((NAME_AT + MAX_NAME_BYTES + MAC_BYTES) * 4 / 3);
/** Shortest key, in bytes: that of the hash (RFC 2104, section 3). */
export const MIN_KEY_BYTES = 32;
/** What a key's id is the signature of, cut to 8 bytes. */
const KEY_ID_TEXT = "dipc ticket key";

/** Options of {@linkcode Tickets.open}. */
export interface TicketOptions {
  /**
   * Secrets of at least 32 bytes. The first one signs; all of them are accepted, so that a key can be replaced while
   * tickets of the old one are still good. Several servers with the same key accept each other's tickets. Default: a
   * random one, made now and gone with the process.
   */
  keys?: readonly Uint8Array[];
  /** How long a ticket is good, in milliseconds. Default 3,600,000, an hour. */
  lifetimeMs?: number;
  /** Whether tickets are good for one time. Default false. */
  once?: boolean;
  /** One-time tickets that were used and have not expired yet, at most; further ones are refused. Default 100,000. */
  maxSpent?: number;
  /** The time in milliseconds since 1970. Default `Date.now`. */
  now?: () => number;
}

/** What a ticket says. */
export interface TicketClaims {
  /** Name of the dataset. */
  readonly dataset: string;
  /** When it ends, in milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Whether it is good for one time. */
  readonly once: boolean;
  /** What tells it from all others, 32 hexadecimal digits. */
  readonly nonce: string;
}

interface Key {
  readonly id: Uint8Array;
  readonly hmac: CryptoKey;
}

/** Which parts of a stream a role carries: bit 0 the metadata, bit 1 the bodies. */
const PARTS: Readonly<Record<StreamRole, number>> = { metadata: 1, body: 2, both: 3 };
/** Which parts must not have been sent before: a whole stream may follow metadata whose bodies never came. */
const UNSENT: Readonly<Record<StreamRole, number>> = { metadata: 1, body: 2, both: 2 };

const encoder = new TextEncoder();

/** Issues tickets, checks them, and remembers which one-time tickets were used. */
export class Tickets {
  readonly #lifetimeMs: number;
  readonly #once: boolean;
  readonly #maxSpent: number;
  readonly #now: () => number;
  #keys: readonly Key[];
  /** Parts sent with each one-time ticket, by nonce, and when it may be forgotten. */
  readonly #spent = new Map<string, { parts: number; expiresAtMs: number }>();
  #sweepAt = 1024;

  /** @ignore Use {@linkcode Tickets.open}. */
  constructor(keys: readonly Key[], options: TicketOptions) {
    this.#keys = keys;
    this.#lifetimeMs = positiveInteger("lifetimeMs", options.lifetimeMs ?? 3_600_000);
    this.#once = options.once ?? false;
    this.#maxSpent = positiveInteger("maxSpent", options.maxSpent ?? 100_000);
    this.#now = options.now ?? Date.now;
  }

  /**
   * Imports the keys.
   *
   * @param options Keys and lifetime
   * @throws {DipcError} `invalid_argument` for no key, a short key or a bad number
   */
  static async open(options: TicketOptions = {}): Promise<Tickets> {
    const secrets = options.keys ?? [crypto.getRandomValues(new Uint8Array(MIN_KEY_BYTES))];
    return new Tickets(await importKeys(secrets), options);
  }

  /**
   * Replaces the keys: the first one signs from now on, all of them are accepted.
   *
   * @param secrets At least one, of at least 32 bytes each
   * @throws {DipcError} `invalid_argument`
   */
  async rotate(secrets: readonly Uint8Array[]): Promise<void> {
    this.#keys = await importKeys(secrets);
  }

  /** One-time tickets remembered as used. */
  get spentCount(): number {
    return this.#spent.size;
  }

  /**
   * Makes a ticket.
   *
   * @param dataset Name of the dataset
   * @param options How long and how often it is good, where that differs from what was set when opened
   * @returns the ticket, ASCII
   * @throws {DipcError} `invalid_argument` for a name of more than 2,048 bytes
   */
  async issue(
    dataset: string,
    options: { lifetimeMs?: number; once?: boolean } = {},
  ): Promise<{ ticket: Uint8Array<ArrayBuffer>; expiresAtMs: number }> {
    const name = encoder.encode(dataset);
    if (name.byteLength > MAX_NAME_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `a ticket for a dataset: its name may have ${MAX_NAME_BYTES} bytes at most, this one has ${name.byteLength}`,
      );
    }
    const lifetimeMs = positiveInteger("lifetimeMs", options.lifetimeMs ?? this.#lifetimeMs);
    const expiresAtMs = this.#now() + lifetimeMs;
    const [key] = this.#keys;
    const bytes = new Uint8Array(NAME_AT + name.byteLength + MAC_BYTES);
    bytes[0] = VERSION;
    bytes[1] = options.once ?? this.#once ? ONCE : 0;
    bytes.set(key.id, 2);
    new DataView(bytes.buffer).setBigUint64(EXPIRY_AT, BigInt(expiresAtMs), true);
    crypto.getRandomValues(bytes.subarray(NONCE_AT, NAME_AT));
    bytes.set(name, NAME_AT);
    const signed = NAME_AT + name.byteLength;
    bytes.set(await sign(key, bytes.subarray(0, signed)), signed);
    return { ticket: encoder.encode(PREFIX + toText(bytes)), expiresAtMs };
  }

  /**
   * Checks a ticket: form, signature, expiry. Whether a one-time ticket was used before is said by {@linkcode spent}.
   *
   * @param ticket As it came from the client
   * @throws {DipcError} `permission_denied`; the message never says which part was wrong, except for an expired one
   */
  async verify(ticket: Uint8Array): Promise<TicketClaims> {
    const bytes = decode(ticket);
    if (bytes === null || bytes.byteLength < NAME_AT + MAC_BYTES || bytes[0] !== VERSION || bytes[1] > ONCE) {
      throw refused();
    }
    const key = this.#keys.find(({ id }) => equalBytes(id, bytes.subarray(2, EXPIRY_AT)));
    if (key === undefined) throw refused();
    const signed = bytes.byteLength - MAC_BYTES;
    const mac = await sign(key, bytes.subarray(0, signed));
    if (!equalBytes(mac, bytes.subarray(signed))) throw refused();
    // From here on the bytes are our own.
    const expiresAtMs = Number(new DataView(bytes.buffer).getBigUint64(EXPIRY_AT, true));
    if (expiresAtMs <= this.#now()) {
      throw new DipcError("permission_denied", "the ticket has expired: ask for a new one (GetFlightInfo)");
    }
    return {
      dataset: new TextDecoder().decode(bytes.subarray(NAME_AT, signed)),
      expiresAtMs,
      once: bytes[1] === ONCE,
      nonce: bytes.subarray(NONCE_AT, NAME_AT).toHex(),
    };
  }

  /**
   * Refuses a one-time ticket whose part of the stream has been sent.
   *
   * @param claims What {@linkcode verify} said
   * @param role Which half of the stream is asked for
   * @throws {DipcError} `permission_denied`
   */
  checkUnspent(claims: TicketClaims, role: StreamRole): void {
    if (!claims.once) return;
    const parts = this.#spent.get(claims.nonce)?.parts ?? 0;
    if ((parts & UNSENT[role]) !== 0) {
      throw new DipcError("permission_denied", "the ticket was good for one time and has been used: ask for a new one");
    }
  }

  /**
   * Uses a one-time ticket up for one half of the stream, or for both. Called when the first body goes out, so that a
   * refused or failed attempt costs nothing; of two attempts at the same time the second one fails here.
   *
   * @param claims What {@linkcode verify} said
   * @param role Which half of the stream is sent
   * @throws {DipcError} `permission_denied` where it was used before, `busy` where too many used tickets are remembered
   */
  spend(claims: TicketClaims, role: StreamRole): void {
    if (!claims.once) return;
    this.checkUnspent(claims, role);
    const known = this.#spent.get(claims.nonce);
    if (known !== undefined) {
      known.parts |= PARTS[role];
      return;
    }
    if (this.#spent.size >= Math.min(this.#sweepAt, this.#maxSpent)) this.#forget();
    if (this.#spent.size >= this.#maxSpent) {
      throw new DipcError("busy", "the server remembers as many used one-time tickets as it may: try again later");
    }
    this.#spent.set(claims.nonce, { parts: PARTS[role], expiresAtMs: claims.expiresAtMs });
  }

  /** Forgets tickets that have expired: they are refused for that. */
  #forget(): void {
    const now = this.#now();
    for (const [nonce, { expiresAtMs }] of this.#spent) if (expiresAtMs <= now) this.#spent.delete(nonce);
    this.#sweepAt = Math.max(1024, 2 * this.#spent.size);
  }
}

/** Whether bytes look like a ticket of {@linkcode Tickets}, good or not. */
export function looksLikeTicket(bytes: Uint8Array): boolean {
  for (let i = 0; i < PREFIX.length; i++) if (bytes[i] !== PREFIX.charCodeAt(i)) return false;
  return true;
}

/** The binary form, or null where it is none. There is one text for each: base64 has several for some bytes. */
function decode(ticket: Uint8Array): Uint8Array<ArrayBuffer> | null {
  if (ticket.byteLength > MAX_TICKET_BYTES || !looksLikeTicket(ticket)) return null;
  let text = "";
  for (let i = PREFIX.length; i < ticket.byteLength; i++) text += String.fromCharCode(ticket[i]);
  if (!/^[\w-]*$/.test(text)) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
    return toText(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

function toText(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function refused(): DipcError {
  return new DipcError(
    "permission_denied",
    "the ticket is none that this server accepts: it was altered, or issued by another server; ask for one (GetFlightInfo)",
  );
}

/** Compares in a time that depends on the lengths alone. */
function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.byteLength ^ b.byteLength;
  for (let i = 0; i < a.byteLength; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

async function importKeys(secrets: readonly Uint8Array[]): Promise<Key[]> {
  if (secrets.length === 0) throw new DipcError("invalid_argument", "tickets need at least one key to sign with");
  const keys: Key[] = [];
  for (const secret of secrets) {
    if (secret.byteLength < MIN_KEY_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `a key for tickets has ${secret.byteLength} bytes, but needs ${MIN_KEY_BYTES} or more: ` +
          "crypto.getRandomValues(new Uint8Array(32)) makes one",
      );
    }
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const hmac = await crypto.subtle.importKey("raw", secret.slice(), algorithm, false, ["sign"]);
    const id = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, encoder.encode(KEY_ID_TEXT)));
    keys.push({ id: id.subarray(0, KEY_ID_BYTES), hmac });
  }
  return keys;
}

async function sign(key: Key, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign("HMAC", key.hmac, bytes));
}
