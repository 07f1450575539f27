/**
 * Texts in UTF-8 as they are written to JSON and CSV: copied, with what must be quoted or escaped.
 *
 * @module
 */
import { type TextOutput, Token } from "./output.ts";

/** What a byte means for the text that it is in. */
export const Flag = {
  /** JSON has it as an escape. */
  escape: 1,
  /** CSV has the text in quotes. */
  quote: 2,
  /** Part of a character that is not ASCII, whose bytes must be checked. */
  wide: 4,
} as const;

const DOUBLE_QUOTE = 0x22, BACKSLASH = 0x5c;

/** Flags of each byte. */
const FLAGS = new Uint8Array(256);
FLAGS.fill(Flag.wide, 0x80);
FLAGS.fill(Flag.escape, 0, 0x20);
FLAGS[BACKSLASH] = Flag.escape;
FLAGS[DOUBLE_QUOTE] = Flag.escape | Flag.quote;
// DuckDB takes each of ; | and the tab for the delimiter if it finds them often enough outside quotes.
for (const character of ",;|\t\r\n") FLAGS[character.charCodeAt(0)] |= Flag.quote;

/** Flags of the first byte of a text: pandas skips lines of blanks, DuckDB guesses comments and other quotes. */
const FIRST_FLAGS = FLAGS.slice();
for (const character of " #'") FIRST_FLAGS[character.charCodeAt(0)] |= Flag.quote;

/** What JSON has for a byte. */
const ESCAPES: readonly Token[] = Array.from(
  { length: 0x60 },
  (_, byte) => new Token(JSON.stringify(String.fromCharCode(byte)).slice(1, -1)),
);
const EMPTY_FIELD = new Token('""');

/** All flags of some bytes together. */
export function flagsOf(bytes: Uint8Array, start: number, end: number): number {
  let flags = 0;
  for (let i = start; i < end; i++) flags |= FLAGS[bytes[i]];
  return flags;
}

/** Whether a field that begins with this byte is quoted for it. */
export function quotesFirst(byte: number): boolean {
  return (FIRST_FLAGS[byte] & Flag.quote) !== 0;
}

/** Adds a text. */
export type PutText = (out: TextOutput, bytes: Uint8Array, start: number, end: number) => void;

/** Adds a text as it is. */
export const putPlainText: PutText = (out, bytes, start, end) => {
  if ((flagsOf(bytes, start, end) & Flag.wide) !== 0 && !isUtf8(bytes, start, end)) {
    const mended = mend(bytes, start, end);
    out.copy(mended, 0, mended.byteLength);
  } else out.copy(bytes, start, end);
};

/** Adds a text as a string of JSON. */
export const putJsonText: PutText = (out, bytes, start, end) => {
  out.reserve(end - start + 2);
  const flags = flagsOf(bytes, start, end);
  if ((flags & Flag.wide) !== 0 && !isUtf8(bytes, start, end)) {
    const mended = mend(bytes, start, end);
    return putJsonText(out, mended, 0, mended.byteLength);
  }
  out.reserve(1);
  out.putByte(DOUBLE_QUOTE);
  if ((flags & Flag.escape) === 0) out.copy(bytes, start, end);
  else putEscaped(out, bytes, start, end);
  out.reserve(1);
  out.putByte(DOUBLE_QUOTE);
};

/** Adds a text as a field of CSV. */
export const putCsvText: PutText = (out, bytes, start, end) => {
  if (start === end) return out.token(EMPTY_FIELD);
  out.reserve(end - start);
  const flags = flagsOf(bytes, start, end) | FIRST_FLAGS[bytes[start]];
  if ((flags & Flag.wide) !== 0 && !isUtf8(bytes, start, end)) {
    const mended = mend(bytes, start, end);
    return putCsvText(out, mended, 0, mended.byteLength);
  }
  const from = out.at;
  out.copy(bytes, start, end);
  if ((flags & Flag.quote) !== 0) quoteFrom(out, from);
};

/** Puts everything from a place to the end into quotes if CSV needs them there. */
export function quoteField(out: TextOutput, from: number): void {
  if ((flagsOf(out.bytes, from, out.at) & Flag.quote) !== 0) quoteFrom(out, from);
}

function putEscaped(out: TextOutput, bytes: Uint8Array, start: number, end: number): void {
  let more = 0;
  for (let i = start; i < end; i++) {
    if ((FLAGS[bytes[i]] & Flag.escape) !== 0) more += ESCAPES[bytes[i]].byteLength - 1;
  }
  out.reserve(end - start + more);
  let from = start;
  for (let i = start; i < end; i++) {
    if ((FLAGS[bytes[i]] & Flag.escape) === 0) continue;
    out.copy(bytes, from, i);
    out.token(ESCAPES[bytes[i]]);
    from = i + 1;
  }
  out.copy(bytes, from, end);
}

/** Puts everything from a place to the end into quotes, and doubles the quotes in it. */
function quoteFrom(out: TextOutput, from: number): void {
  let quotes = 0;
  for (let i = from; i < out.at; i++) if (out.bytes[i] === DOUBLE_QUOTE) quotes++;
  out.reserve(quotes + 2);
  const { bytes } = out;
  let to = out.at + quotes + 2;
  const end = to;
  bytes[--to] = DOUBLE_QUOTE;
  for (let i = out.at - 1; i >= from; i--) {
    bytes[--to] = bytes[i];
    if (bytes[i] === DOUBLE_QUOTE) bytes[--to] = DOUBLE_QUOTE;
  }
  bytes[from] = DOUBLE_QUOTE;
  out.at = end;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** A text whose bytes are not UTF-8, with U+FFFD for those that are wrong. */
function mend(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return encoder.encode(decoder.decode(bytes.subarray(start, end)));
}

/** Whether bytes are UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end;) {
    const first = bytes[i++];
    if (first < 0x80) continue;
    const more = first < 0xc2 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
    if (more < 0 || i + more > end) return false;
    const second = bytes[i];
    const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < least || second > most) return false;
    for (let k = 1; k < more; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return false;
    i += more;
  }
  return true;
}
