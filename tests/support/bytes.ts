/**
 * Bytes in tests: joined, written as digits or text, and random.
 *
 * @module
 */

/** Puts bytes one after the other. */
export function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return joinAll(parts);
}

/** The same for so many that they cannot be arguments. */
export function joinAll(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** Bytes written as hexadecimal digits, blanks ignored. */
export function hex(digits: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(digits.replaceAll(/\s/g, ""));
}

/** A text in UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Bytes that are random and cannot be repeated. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  // More than this cannot be had at once.
  const most = 65_536;
  for (let at = 0; at < length; at += most) crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + most)));
  return bytes;
}

/**
 * A message of gRPC: a flag, the length, the content.
 *
 * @param length Bytes that are announced
 * @param flag 1: compressed
 */
export function grpcMessage(content: Uint8Array, length = content.byteLength, flag = 0): Uint8Array<ArrayBuffer> {
  const prefix = new Uint8Array(5);
  prefix[0] = flag;
  new DataView(prefix.buffer).setUint32(1, length);
  return join(prefix, content);
}
