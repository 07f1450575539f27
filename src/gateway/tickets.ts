/**
 * The tickets that a gateway gives out in place of those of its engines: signed and expiring, each says which engine has the data,
 * where, and for whom. Only the gateway that gave one out, or one with the same key, accepts it.
 *
 * A ticket is ASCII text: `dipcg1.` and a signed content (`flight/signing.ts`), which is expiry (8 bytes, milliseconds since 1970,
 * little-endian), the number of the client's credentials (8 bytes), the length of the engine's name (1 byte), the name, and a
 * FlightEndpoint with the engine's own ticket and locations.
 *
 * @module
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { startsWith } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import * as proto from "../flight/gen/flight_pb.ts";
import { Keyring } from "../flight/signing.ts";
import { integerIn } from "../options.ts";
import type { TicketOptions } from "../serving/tickets.ts";

const PREFIX = "dipcg1.";
const CREDENTIALS_AT = 8, NAME_LENGTH_AT = 16, NAME_AT = 17;
/** Longest ticket of an engine, with its locations, in bytes. */
const MAX_INNER_BYTES = 2 ** 20;
/** Longest ticket of the gateway, in bytes: base64, and room for the rest. */
const MAX_TICKET_BYTES = Math.ceil(MAX_INNER_BYTES / 3) * 4 + 1024;
/** Who has sent no credentials has this number. */
const NOBODY = 0n;

/** What a ticket stands for. */
export interface EngineTicket {
  /** Name of the engine. */
  readonly engine: string;
  /** The engine's own ticket. */
  readonly ticket: Uint8Array;
  /** Locations as the engine named them. */
  readonly locations: readonly string[];
  /** Number of the client's credentials. */
  readonly credentials: bigint;
  /** Whether the engine promises that its ticket is good more than once. */
  readonly mayRepeat: boolean;
}

/** Gives out tickets, and reads them. */
export class GatewayTickets {
  readonly #keyring: Keyring;
  readonly #lifetimeMs: number;

  private constructor(keyring: Keyring, lifetimeMs: number) {
    this.#keyring = keyring;
    this.#lifetimeMs = lifetimeMs;
  }

  /**
   * Imports the keys.
   *
   * @throws {DipcError} `invalid_argument` for no key, a short key or a bad number
   */
  static async open({ keys, lifetimeMs = 3_600_000 }: Pick<TicketOptions, "keys" | "lifetimeMs"> = {}) {
    return new GatewayTickets(await Keyring.open(keys), integerIn("lifetimeMs", lifetimeMs, 1));
  }

  /** How long a ticket is valid, in milliseconds. */
  get lifetimeMs(): number {
    return this.#lifetimeMs;
  }

  /**
   * Makes a ticket.
   *
   * @param inner What it stands for
   * @param expiresAtMs When the engine's own ticket expires, in milliseconds since 1970; `Infinity` if that is not known
   * @returns The ticket, and when it expires; `null` if the engine's is too long
   */
  async wrap(
    { engine, ticket, locations, credentials }: Omit<EngineTicket, "mayRepeat">,
    expiresAtMs: number,
  ): Promise<{ ticket: Uint8Array<ArrayBuffer>; expiresAtMs: number } | null> {
    const endpoint = toBinary(
      proto.FlightEndpointSchema,
      create(proto.FlightEndpointSchema, {
        ticket: { ticket },
        location: locations.map((uri) => ({ uri })),
        expirationTime: expiresAtMs === Infinity ? undefined : timestampFromMs(expiresAtMs),
      }),
    );
    if (endpoint.byteLength > MAX_INNER_BYTES) return null;
    const until = Math.min(Date.now() + this.#lifetimeMs, Math.max(0, expiresAtMs));
    const name = new TextEncoder().encode(engine);
    const content = new Uint8Array(NAME_AT + name.byteLength + endpoint.byteLength);
    const view = new DataView(content.buffer);
    view.setBigUint64(0, BigInt(Math.floor(until)), true);
    view.setBigUint64(CREDENTIALS_AT, credentials, true);
    content[NAME_LENGTH_AT] = name.byteLength;
    content.set(name, NAME_AT);
    content.set(endpoint, NAME_AT + name.byteLength);
    return { ticket: await this.#keyring.sign(PREFIX, content), expiresAtMs: until };
  }

  /** Whether bytes look like a ticket of a gateway, valid or not. */
  isOne(ticket: Uint8Array): boolean {
    return startsWith(ticket, PREFIX);
  }

  /**
   * Reads a ticket.
   *
   * @throws {DipcError} `permission_denied`
   */
  async unwrap(ticket: Uint8Array): Promise<EngineTicket> {
    const content = await this.#keyring.verify(PREFIX, ticket, MAX_TICKET_BYTES);
    if (content === null) throw refused("it was altered, or another server issued it");
    const view = new DataView(content.buffer);
    if (Number(view.getBigUint64(0, true)) <= Date.now()) throw refused("it has expired");
    const nameEnd = NAME_AT + content[NAME_LENGTH_AT];
    const endpoint = fromBinary(proto.FlightEndpointSchema, content.subarray(nameEnd));
    return {
      engine: new TextDecoder().decode(content.subarray(NAME_AT, nameEnd)),
      ticket: endpoint.ticket?.ticket ?? new Uint8Array(0),
      locations: endpoint.location.map(({ uri }) => uri),
      credentials: view.getBigUint64(CREDENTIALS_AT, true),
      mayRepeat: endpoint.expirationTime !== undefined,
    };
  }
}

/** Most sets of credentials that are remembered; the least recently used one is forgotten first. */
const MAX_CREDENTIALS = 10_000;
/** Most characters of them together. */
const MAX_CREDENTIAL_CHARACTERS = 32 * 2 ** 20;

/** Who was given tickets: UCX has no headers, so that a fetch by it goes to the engine with those of the call that got the ticket. */
export class Credentials {
  /** By number, the least recently used one first. */
  readonly #known = new Map<bigint, { readonly key: string; readonly headers: [string, string][] }>();
  readonly #numbers = new Map<string, bigint>();
  #characters = 0;

  /** The number of a set of headers. */
  numberOf(headers: [name: string, value: string][]): bigint {
    if (headers.length === 0) return NOBODY;
    const key = JSON.stringify(headers);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      do [number] = crypto.getRandomValues(new BigUint64Array(1)); while (number === NOBODY);
      this.#numbers.set(key, number);
      this.#characters += key.length;
    }
    this.#known.delete(number);
    this.#known.set(number, { key, headers });
    this.#trim();
    return number;
  }

  /**
   * The headers of a number.
   *
   * @throws {DipcError} `permission_denied` if they are not known any more
   */
  headersOf(number: bigint): Headers {
    if (number === NOBODY) return new Headers();
    const found = this.#known.get(number);
    if (found === undefined) throw refused("the credentials that it was requested with are not known any more");
    return new Headers(found.headers);
  }

  #trim(): void {
    for (const [number, { key }] of this.#known) {
      if (this.#known.size <= MAX_CREDENTIALS && this.#characters <= MAX_CREDENTIAL_CHARACTERS) return;
      this.#known.delete(number);
      this.#numbers.delete(key);
      this.#characters -= key.length;
    }
  }
}

function refused(why: string): DipcError {
  return new DipcError(
    "permission_denied",
    `cannot accept the ticket: ${why}; request a new one (GetFlightInfo)`,
  );
}
