/**
 * Tickets: opaque, signed leave to fetch one dataset until some time, once or many times.
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

/** How every ticket starts. */
const PREFIX = "dipc1.";
/** Flag: good for one time. */
const ONCE = 1;
const NONCE_AT = 1 + 8;
const NAME_AT = NONCE_AT + 16;
/** Longest name of a dataset in a ticket, in bytes. */
const MAX_NAME_BYTES = 2048;
/** Longest ticket, in bytes: what is longer is refused before anything is computed. */
export const MAX_TICKET_BYTES = 4096;
/** Used tickets are looked through for expired ones from this number on. */
const FIRST_SWEEP = 1024;

/** Options of {@linkcode Tickets.open}. */
export interface TicketOptions {
  /**
   * Secrets of at least 32 bytes. The first one signs; all of them are accepted, so that a key can be replaced while
   * tickets of the old one are still good. Servers with the same key accept each other's tickets; which one-time tickets
   * were used is known to each of them alone. Default: a random one, made at the start and gone with the process.
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
   * @param options How long and how often it is good, where that differs from what was set when opened
   * @returns The ticket, ASCII, and when it ends
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
        `a ticket for a dataset: its name may have ${MAX_NAME_BYTES} bytes at most, this one has ${name.byteLength}`,
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
   * @param role Which half of the stream is asked for
   * @throws {DipcError} `permission_denied`
   */
  async verify(ticket: Uint8Array, role: StreamRole): Promise<TicketClaims> {
    const content = await this.keyring.verify(PREFIX, ticket, MAX_TICKET_BYTES);
    if (content === null || content.byteLength < NAME_AT) {
      throw new DipcError(
        "permission_denied",
        "the ticket is none that this server accepts: it was altered, or comes from elsewhere; ask for one (GetFlightInfo)",
      );
    }
    const claims: TicketClaims = {
      dataset: new TextDecoder().decode(content.subarray(NAME_AT)),
      expiresAtMs: Number(new DataView(content.buffer).getBigUint64(1, true)),
      once: content[0] === ONCE,
      nonce: content.subarray(NONCE_AT, NAME_AT).toHex(),
    };
    if (claims.expiresAtMs <= this.#now()) {
      throw new DipcError("permission_denied", "the ticket has expired: ask for a new one (GetFlightInfo)");
    }
    this.#checkUnspent(claims, role);
    return claims;
  }

  /**
   * Uses a one-time ticket up for one half of the stream, or for both. To be called when the first body goes out, so that a
   * refused or failed attempt costs nothing; of two attempts at the same time the second one fails here.
   *
   * @param claims What {@linkcode verify} said
   * @param role Which half of the stream is sent
   * @throws {DipcError} `permission_denied` where it was used before, `busy` where too many used tickets are remembered
   */
  spend(claims: TicketClaims, role: StreamRole): void {
    this.#checkUnspent(claims, role);
    if (claims.once) this.#remember(claims, PARTS[role]);
  }

  /**
   * Refuses a ticket from now on.
   *
   * @param claims What {@linkcode verify} said
   * @throws {DipcError} `busy` where too many tickets are remembered
   */
  revoke(claims: TicketClaims): void {
    this.#remember(claims, REVOKED);
  }

  #checkUnspent(claims: TicketClaims, role: StreamRole): void {
    const parts = this.#spent.get(claims.nonce)?.parts ?? 0;
    if ((parts & REVOKED) !== 0) {
      throw new DipcError("permission_denied", "the ticket was cancelled: ask for a new one");
    }
    if ((parts & UNSENT[role]) !== 0) {
      throw new DipcError("permission_denied", "the ticket was good for one time and has been used: ask for a new one");
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
      throw new DipcError("busy", "the server remembers as many used tickets as it may: try again later");
    }
    this.#spent.set(nonce, { parts, expiresAtMs });
  }

  /** Forgets tickets that have expired: they are refused for that. */
  #forget(): void {
    const now = this.#now();
    for (const [nonce, { expiresAtMs }] of this.#spent) if (expiresAtMs <= now) this.#spent.delete(nonce);
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#spent.size);
  }
}

/** Whether bytes look like a ticket of {@linkcode Tickets}, good or not. */
export function looksLikeTicket(bytes: Uint8Array): boolean {
  return startsWith(bytes, PREFIX);
}
