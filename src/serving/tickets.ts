/**
 * Tickets: opaque, signed permission to fetch one dataset until they expire, once or many times.
 *
 * A ticket is ASCII text, so that it can be an argument of a command: `dipc1.` and a signed content (`signing.ts`), which
 * is flags (1 byte), expiry (8 bytes, milliseconds since 1970, little-endian), nonce (16 bytes) and the dataset's name.
 *
 * @module
 */
import { startsWith } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { integerIn } from "../options.ts";
import type { StreamRole } from "../protocol/role.ts";
import { Keyring } from "../flight/signing.ts";

/** Start of every ticket. */
const PREFIX = "dipc1.";
/** Flag: good for one use. */
const ONCE = 1;
const NONCE_AT = 1 + 8;
const NAME_AT = NONCE_AT + 16;
/** Longest name of a dataset in a ticket, in bytes. */
const MAX_NAME_BYTES = 2048;
/** Longest ticket, in bytes: a longer one is rejected before anything is computed. */
export const MAX_TICKET_BYTES = 4096;
/** Number of used tickets above which expired ones are removed. */
const FIRST_SWEEP = 1024;

/** Options of {@linkcode Tickets.open}. */
export interface TicketOptions {
  /**
   * Secrets of at least 32 bytes. The first one signs; all of them are accepted, so that a key can be replaced while
   * tickets of the old one are still valid. Servers with the same key accept each other's tickets; which one-time tickets
   * were used is known only to the server that accepted them. Default: a random one, made at the start and gone with the process.
   */
  keys?: readonly Uint8Array[];
  /** How long a ticket is valid, in milliseconds. Default 3,600,000, an hour. */
  lifetimeMs?: number;
  /** Whether tickets are good for one use. Default false. */
  once?: boolean;
  /** One-time tickets that were used and have not expired yet, at most; further ones are refused. Default 100,000. */
  maxSpent?: number;
  /** The time in milliseconds since 1970. Default `Date.now`. */
  now?: () => number;
}

/** The content of a ticket. */
export interface TicketClaims {
  /** Name of the dataset. */
  readonly dataset: string;
  /** When it expires, in milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Whether it is good for one use. */
  readonly once: boolean;
  /** Distinguishes it from all others: 32 hexadecimal digits. */
  readonly nonce: string;
}

/** Parts of a stream, as bits. */
const METADATA = 1, BODIES = 2, REVOKED = 4;
/** Which parts a role sends. */
const PARTS: Readonly<Record<StreamRole, number>> = { metadata: METADATA, body: BODIES, both: METADATA | BODIES };
/** Which parts must not have been sent before: a whole stream may follow metadata whose bodies never went out. */
const UNSENT: Readonly<Record<StreamRole, number>> = { metadata: METADATA, body: BODIES, both: BODIES };

/** Issues tickets, checks them, and remembers which ones were used up. */
export class Tickets {
  /** The keys, to rotate them. */
  readonly keyring: Keyring;
  readonly #lifetimeMs: number;
  readonly #once: boolean;
  readonly #maxSpent: number;
  readonly #now: () => number;
  /** Parts sent with each one-time ticket, by nonce, and when it may be forgotten. */
  readonly #spent = new Map<string, { parts: number; readonly expiresAtMs: number }>();
  #sweepAt = FIRST_SWEEP;

  /** @ignore Use {@linkcode Tickets.open}. */
  constructor(keyring: Keyring, options: TicketOptions) {
    this.keyring = keyring;
    this.#lifetimeMs = integerIn("lifetimeMs", options.lifetimeMs ?? 3_600_000, 1);
    this.#once = options.once ?? false;
    this.#maxSpent = integerIn("maxSpent", options.maxSpent ?? 100_000, 1);
    this.#now = options.now ?? Date.now;
  }

  /**
   * Imports the keys.
   *
   * @param options Keys and lifetime
   * @throws {DipcError} `invalid_argument` for no key, a short key or a bad number
   */
  static async open(options: TicketOptions = {}): Promise<Tickets> {
    return new Tickets(await Keyring.open(options.keys), options);
  }

  /** Tickets remembered as used up. */
  get spentCount(): number {
    return this.#spent.size;
  }

  /**
   * Makes a ticket.
   *
   * @param dataset Name of the dataset
   * @param options How long and how often it is valid, if that differs from what was set when opened
   * @returns The ticket, ASCII, and when it expires
   * @throws {DipcError} `invalid_argument` for a name of more than 2,048 bytes
   */
  async issue(
    dataset: string,
    options: { lifetimeMs?: number; once?: boolean } = {},
  ): Promise<{ ticket: Uint8Array<ArrayBuffer>; expiresAtMs: number }> {
    const name = new TextEncoder().encode(dataset);
    if (name.byteLength > MAX_NAME_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `cannot issue a ticket: the dataset's name has ${name.byteLength} bytes, at most ${MAX_NAME_BYTES} are allowed`,
      );
    }
    const expiresAtMs = this.#now() + integerIn("lifetimeMs", options.lifetimeMs ?? this.#lifetimeMs, 1);
    const content = new Uint8Array(NAME_AT + name.byteLength);
    content[0] = options.once ?? this.#once ? ONCE : 0;
    new DataView(content.buffer).setBigUint64(1, BigInt(expiresAtMs), true);
    crypto.getRandomValues(content.subarray(NONCE_AT, NAME_AT));
    content.set(name, NAME_AT);
    return { ticket: await this.keyring.sign(PREFIX, content), expiresAtMs };
  }

  /**
   * Checks a ticket: signature, expiry, and that it was not used up before.
   *
   * @param ticket As it came from the client
   * @param role Half of the stream that is requested
   * @throws {DipcError} `permission_denied`
   */
  async verify(ticket: Uint8Array, role: StreamRole): Promise<TicketClaims> {
    const content = await this.keyring.verify(PREFIX, ticket, MAX_TICKET_BYTES);
    if (content === null || content.byteLength < NAME_AT) {
      throw new DipcError(
        "permission_denied",
        "cannot accept the ticket: it was altered, or another server issued it; request a new one (GetFlightInfo)",
      );
    }
    const claims: TicketClaims = {
      dataset: new TextDecoder().decode(content.subarray(NAME_AT)),
      expiresAtMs: Number(new DataView(content.buffer).getBigUint64(1, true)),
      once: content[0] === ONCE,
      nonce: content.subarray(NONCE_AT, NAME_AT).toHex(),
    };
    if (claims.expiresAtMs <= this.#now()) {
      throw new DipcError(
        "permission_denied",
        "cannot accept the ticket: it has expired; request a new one (GetFlightInfo)",
      );
    }
    this.#checkUnspent(claims, role);
    return claims;
  }

  /**
   * Uses a one-time ticket up for one half of the stream, or for both. To be called when the first body is sent, so that a
   * rejected or failed attempt costs nothing; of two concurrent attempts the second one fails here.
   *
   * @param claims Result of {@linkcode verify}
   * @param role Half of the stream that is sent
   * @throws {DipcError} `permission_denied` if it was used before, `busy` if too many used tickets are remembered
   */
  spend(claims: TicketClaims, role: StreamRole): void {
    this.#checkUnspent(claims, role);
    if (claims.once) this.#remember(claims, PARTS[role]);
  }

  /**
   * Rejects a ticket from now on.
   *
   * @param claims Result of {@linkcode verify}
   * @throws {DipcError} `busy` if too many tickets are remembered
   */
  revoke(claims: TicketClaims): void {
    this.#remember(claims, REVOKED);
  }

  #checkUnspent(claims: TicketClaims, role: StreamRole): void {
    const parts = this.#spent.get(claims.nonce)?.parts ?? 0;
    if ((parts & REVOKED) !== 0) {
      throw new DipcError("permission_denied", "cannot accept the ticket: it was cancelled; request a new one");
    }
    if ((parts & UNSENT[role]) !== 0) {
      throw new DipcError(
        "permission_denied",
        "cannot accept the ticket: it was good for one use and has been used; request a new one",
      );
    }
  }

  #remember({ nonce, expiresAtMs }: TicketClaims, parts: number): void {
    const known = this.#spent.get(nonce);
    if (known !== undefined) {
      known.parts |= parts;
      return;
    }
    if (this.#spent.size >= Math.min(this.#sweepAt, this.#maxSpent)) this.#forget();
    if (this.#spent.size >= this.#maxSpent) {
      throw new DipcError(
        "busy",
        "cannot accept the ticket: the server remembers as many used tickets as it may; try again later",
      );
    }
    this.#spent.set(nonce, { parts, expiresAtMs });
  }

  /** Forgets tickets that have expired: those are rejected anyway. */
  #forget(): void {
    const now = this.#now();
    for (const [nonce, { expiresAtMs }] of this.#spent) if (expiresAtMs <= now) this.#spent.delete(nonce);
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#spent.size);
  }
}

/** Whether bytes look like a ticket of {@linkcode Tickets}, valid or not. */
export function looksLikeTicket(bytes: Uint8Array): boolean {
  return startsWith(bytes, PREFIX);
}
