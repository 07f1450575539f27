/**
 * Signed texts: what a server sends to a client and expects back unaltered, checked with HMAC-SHA-256.
 *
 * A text is a prefix that tells its kind, and in base64url without padding: key id (8 bytes), content, signature of
 * prefix, key id and content (32 bytes). There is exactly one text for each content, key and prefix.
 *
 * @module
 */
import { constantTimeEqual, startsWith } from "../bytes.ts";
import { DipcError } from "../errors.ts";

const KEY_ID_BYTES = 8;
const MAC_BYTES = 32;
/** Shortest key, in bytes: that of the hash (RFC 2104, section 3). */
const MIN_KEY_BYTES = 32;
/** A key's id is the signature of this text, cut to 8 bytes. */
const KEY_ID_TEXT = "dipc key id";

interface Key {
  readonly id: Uint8Array;
  readonly hmac: CryptoKey;
}

const encoder = new TextEncoder();

/** The keys of a server: the first one signs, all of them are accepted. */
export class Keyring {
  #keys: readonly Key[];

  /** @ignore Use {@linkcode Keyring.open}. */
  constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /**
   * Imports keys.
   *
   * @param secrets Secrets of at least 32 bytes; default a new random one, which is lost when the process ends
   * @throws {DipcError} `invalid_argument` for no key or a short one
   */
  static async open(secrets?: readonly Uint8Array[]): Promise<Keyring> {
    return new Keyring(await importKeys(secrets ?? [crypto.getRandomValues(new Uint8Array(MIN_KEY_BYTES))]));
  }

  /**
   * Replaces the keys. Texts signed with one that is still among them stay valid.
   *
   * @param secrets The secret to sign with, then others to accept
   * @throws {DipcError} `invalid_argument`
   */
  async rotate(secrets: readonly Uint8Array[]): Promise<void> {
    this.#keys = await importKeys(secrets);
  }

  /**
   * Signs a content.
   *
   * @param prefix Kind of the text, ASCII
   * @param content Bytes to sign
   * @returns The text as bytes, ASCII
   */
  async sign(prefix: string, content: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    const [key] = this.#keys;
    const bytes = new Uint8Array(KEY_ID_BYTES + content.byteLength + MAC_BYTES);
    bytes.set(key.id);
    bytes.set(content, KEY_ID_BYTES);
    const signed = KEY_ID_BYTES + content.byteLength;
    bytes.set(await signature(key, prefix, bytes.subarray(0, signed)), signed);
    return encoder.encode(prefix + toText(bytes));
  }

  /**
   * Checks a text.
   *
   * @param prefix Expected kind of the text
   * @param text The text as received from a client
   * @param maxBytes Maximum length of the text in bytes; a longer one is rejected before anything is computed
   * @returns The signed content, or `null` if it is not a text of that kind with a valid signature
   */
  async verify(prefix: string, text: Uint8Array, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const bytes = text.byteLength > maxBytes ? null : decode(prefix, text);
    if (bytes === null || bytes.byteLength < KEY_ID_BYTES + MAC_BYTES) return null;
    const key = this.#keys.find(({ id }) => constantTimeEqual(id, bytes.subarray(0, KEY_ID_BYTES)));
    if (key === undefined) return null;
    const signed = bytes.byteLength - MAC_BYTES;
    const expected = await signature(key, prefix, bytes.subarray(0, signed));
    return constantTimeEqual(expected, bytes.subarray(signed)) ? bytes.slice(KEY_ID_BYTES, signed) : null;
  }
}

function decode(prefix: string, text: Uint8Array): Uint8Array<ArrayBuffer> | null {
  if (!startsWith(text, prefix)) return null;
  let encoded = "";
  for (let i = prefix.length; i < text.byteLength; i++) encoded += String.fromCharCode(text[i]);
  try {
    const bytes = Uint8Array.fromBase64(encoded, { alphabet: "base64url" });
    // Base64 has several texts for some bytes (spare bits, spaces): only the one that was issued is valid.
    return toText(bytes) === encoded ? bytes : null;
  } catch {
    return null;
  }
}

function toText(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

async function importKeys(secrets: readonly Uint8Array[]): Promise<Key[]> {
  if (secrets.length === 0) throw new DipcError("invalid_argument", "cannot sign: there is no key; pass at least one");
  const keys: Key[] = [];
  for (const secret of secrets) {
    if (secret.byteLength < MIN_KEY_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `cannot sign with a key: it has ${secret.byteLength} bytes, but needs ${MIN_KEY_BYTES} or more; ` +
          "crypto.getRandomValues(new Uint8Array(32)) makes one",
      );
    }
    const hmac = await crypto.subtle.importKey("raw", secret.slice(), { name: "HMAC", hash: "SHA-256" }, false, [
      "sign",
    ]);
    const id = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, encoder.encode(KEY_ID_TEXT)));
    keys.push({ id: id.slice(0, KEY_ID_BYTES), hmac });
  }
  return keys;
}

async function signature(key: Key, prefix: string, bytes: Uint8Array): Promise<Uint8Array> {
  const signed = new Uint8Array(prefix.length + bytes.byteLength);
  encoder.encodeInto(prefix, signed);
  signed.set(bytes, prefix.length);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key.hmac, signed));
}
