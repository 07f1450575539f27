/**
 * What fuzz targets have in common: checks, text with one character per byte, and input that comes in pieces.
 *
 * @module
 */
import { equalBytes } from "../../../src/bytes.ts";
import { DipcError } from "../../../src/errors.ts";
import { Http2Error } from "../../../src/http2/errors.ts";

/** Encodes text as UTF-8. */
export const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** Makes a finding unless a condition holds. */
export function check(what: string, isRight: boolean): void {
  if (!isRight) throw new Error(what);
}

/** Makes a finding unless both are the same. */
export function same(what: string, a: Uint8Array | null, b: Uint8Array | null): void {
  if (a === null || b === null ? a !== b : !equalBytes(a, b)) throw new Error(`${what} changed on the way`);
}

/** Text with one character per byte; of short inputs. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

/** The bytes of text with one character per byte. */
export function fromLatin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * Hands bytes over in pieces of a length, each of which is overwritten afterwards: nobody may keep it.
 *
 * @param pieceBytes Length of each piece but the last one; 0 for all at once
 */
export function inPieces(bytes: Uint8Array, pieceBytes: number, push: (piece: Uint8Array) => void): void {
  const step = pieceBytes === 0 ? Math.max(1, bytes.byteLength) : pieceBytes;
  for (let at = 0; at < bytes.byteLength; at += step) {
    const piece = bytes.slice(at, at + step);
    push(piece);
    piece.fill(0xDD);
  }
}

/** Runs code of HTTP/2, whose refusals become answers. */
export function answering<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof Http2Error) throw new DipcError("protocol", `${error.code}: ${error.message}`);
    throw error;
  }
}
