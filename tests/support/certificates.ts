/**
 * Makes certificates for tests of TLS, each time anew: an authority, and certificates of servers and clients that it signs.
 *
 * X.509 as of RFC 5280, keys and signatures by WebCrypto; nothing has to be installed.
 *
 * @module
 */
import { join } from "./bytes.ts";

/** A certificate and its private key, both as PEM text. */
export interface Certified {
  cert: string;
  key: string;
}

const DAY_MS = 86_400_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;

/** DER, X.690: tag, length, contents. */
function der(tag: number, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const head = [tag];
  if (length < 0x80) head.push(length);
  else if (length < 0x100) head.push(0x81, length);
  else head.push(0x82, length >> 8, length & 0xFF);
  return join(Uint8Array.from(head), ...parts);
}

const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const octets = (...parts: Uint8Array[]) => der(0x04, ...parts);
const text = (tag: number, value: string) => der(tag, new TextEncoder().encode(value));
const boolean = () => der(0x01, Uint8Array.of(0xFF));

/** A positive INTEGER: no leading zeros but one if the first bit is set. */
function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.byteLength - 1 && bytes[start] === 0) start++;
  const rest = bytes.subarray(start);
  return der(0x02, rest[0] & 0x80 ? Uint8Array.of(0) : new Uint8Array(), rest);
}

function objectId(dotted: string): Uint8Array {
  const [first, second, ...others] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of others) {
    const digits = [arc & 0x7F];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift(left & 0x7F | 0x80);
    bytes.push(...digits);
  }
  return der(0x06, Uint8Array.from(bytes));
}

/** UTCTime, for years before 2050. */
const time = (date: Date) => text(0x17, date.toISOString().replace(/^\d\d|[-:T]|\.\d+/g, ""));
const name = (commonName: string) => sequence(der(0x31, sequence(objectId("2.5.4.3"), text(0x0C, commonName))));
const SIGNATURE = sequence(objectId("1.2.840.10045.4.3.2"));

function pem(label: string, bytes: ArrayBuffer | Uint8Array): string {
  let binary = "";
  for (const byte of new Uint8Array(bytes as ArrayBuffer)) binary += String.fromCharCode(byte);
  return `-----BEGIN ${label}-----\n${btoa(binary).replace(/.{64}/g, "$&\n")}\n-----END ${label}-----\n`;
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return critical ? sequence(objectId(id), boolean(), octets(value)) : sequence(objectId(id), octets(value));
}

/** An authority that signs certificates. Peers trust its own certificate. */
export class Authority {
  readonly #name: string;
  readonly #keys: CryptoKeyPair;
  /** Its certificate, PEM. */
  readonly cert: string;

  private constructor(name: string, keys: CryptoKeyPair, cert: string) {
    this.#name = name;
    this.#keys = keys;
    this.cert = cert;
  }

  /** A new authority. */
  static async create(name = "dipc test authority"): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const cert = await sign({ issuer: name, subject: name, keys, by: keys.privateKey, isAuthority: true });
    return new Authority(name, keys, cert);
  }

  /** A certificate for `localhost` and 127.0.0.1, for servers and clients. */
  async issue(subject: string, options: { expired?: boolean } = {}): Promise<Certified> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const by = this.#keys.privateKey;
    const cert = await sign({ issuer: this.#name, subject, keys, by, isAuthority: false, ...options });
    return { cert, key: pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", keys.privateKey)) };
  }
}

interface ToSign {
  issuer: string;
  subject: string;
  keys: CryptoKeyPair;
  by: CryptoKey;
  isAuthority: boolean;
  expired?: boolean;
}

/** RFC 5280 section 4.1. */
async function sign({ issuer, subject, keys, by, isAuthority, expired }: ToSign): Promise<string> {
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = serial[0] & 0x7F | 1;
  const start = new Date(Date.now() - (expired ? 3 : 1) * DAY_MS);
  const end = new Date(Date.now() + (expired ? -1 : 1) * DAY_MS);
  const extensions = [
    extension("2.5.29.19", true, isAuthority ? sequence(boolean()) : sequence()),
    // keyCertSign and cRLSign, or digitalSignature.
    extension("2.5.29.15", true, der(0x03, isAuthority ? Uint8Array.of(1, 0x06) : Uint8Array.of(7, 0x80))),
  ];
  if (!isAuthority) {
    extensions.push(
      extension("2.5.29.37", false, sequence(objectId("1.3.6.1.5.5.7.3.1"), objectId("1.3.6.1.5.5.7.3.2"))),
      extension("2.5.29.17", false, sequence(text(0x82, "localhost"), der(0x87, Uint8Array.of(127, 0, 0, 1)))),
    );
  }
  const body = sequence(
    der(0xA0, integer(Uint8Array.of(2))),
    integer(serial),
    SIGNATURE,
    name(issuer),
    sequence(time(start), time(end)),
    name(subject),
    new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey)),
    der(0xA3, sequence(...extensions)),
  );
  const pair = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, by, body));
  const signature = sequence(integer(pair.subarray(0, 32)), integer(pair.subarray(32)));
  return pem("CERTIFICATE", sequence(body, SIGNATURE, der(0x03, Uint8Array.of(0), signature)));
}
