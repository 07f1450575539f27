/**
 * Cells of text and of binary values.
 *
 * @module
 */
import type { Data } from "apache-arrow";
import type { Cell, TextForm } from "./cell.ts";
import { Flag, flagsOf, putCsvText, putJsonText, putPlainText, type PutText, quotesFirst } from "./characters.ts";
import { type TextOutput, Token } from "./output.ts";
import { locatorOf, type Packed, packedValues, type Span } from "./spans.ts";

const PUT: Readonly<Record<TextForm, PutText>> = { json: putJsonText, csv: putCsvText, plain: putPlainText };

/** Columns with more bytes are looked at value by value only: their values are long. */
const MAX_SCANNED_BYTES = 16 * 1024 * 1024;

/** Text, quoted and escaped as the form needs it; `isSparse` as in `CellFactory.cell`. */
export function textCell(data: Data, form: TextForm, isSparse: boolean): Cell {
  const packed = isSparse ? null : packedValues(data);
  if (packed !== null) {
    const { bytes, offsets } = packed;
    const first = offsets[0], end = offsets[data.length];
    const flags = end - first > MAX_SCANNED_BYTES ? -1 : flagsOf(bytes, first, end);
    if ((flags & (Flag.wide | (form === "json" ? Flag.escape : Flag.quote))) === 0) return simpleTexts(packed, form);
  }
  const locate = locatorOf(data);
  const put = PUT[form];
  const span: Span = { bytes: new Uint8Array(0), start: 0, end: 0 };
  return (out, row) => {
    locate(row, span);
    put(out, span.bytes, span.start, span.end);
  };
}

/** Longer texts are copied by a call of the engine. */
const SHORT_BYTES = 48;

/** Adds bytes by whole words, if there are enough after them. */
function putWords(out: TextOutput, source: DataView, start: number, length: number): void {
  const { view, at } = out;
  for (let i = 0; i < length; i += 4) view.setUint32(at + i, source.getUint32(start + i, true), true);
  out.at = at + length;
}

/** Texts of a column in which nothing has to be escaped or checked; only what a field begins with may need quotes. */
function simpleTexts({ bytes, offsets }: Packed, form: TextForm): Cell {
  const source = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isJson = form === "json", isCsv = form === "csv";
  return (out, row) => {
    const start = offsets[row], end = offsets[row + 1];
    const length = end - start;
    if (isCsv && (length === 0 || quotesFirst(bytes[start]))) return putCsvText(out, bytes, start, end);
    out.reserve(length + 2);
    if (isJson) out.putByte(0x22);
    if (length <= SHORT_BYTES && end + 3 <= bytes.byteLength) putWords(out, source, start, length);
    else out.copy(bytes, start, end);
    if (isJson) out.putByte(0x22);
  };
}

/** ASCII codes of the digits of base 64 and base 16. */
const BASE64 = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const HEX = new TextEncoder().encode("0123456789abcdef");
/** What hexadecimal fields begin with: without it readers would take `00` and `12e4` for numbers. */
const HEX_PREFIX = new Token("\\x");

/** Binary values: base 64 in JSON, hexadecimal elsewhere, in CSV after `\x`. */
export function binaryCell(data: Data, form: TextForm): Cell {
  const locate = locatorOf(data);
  const span: Span = { bytes: new Uint8Array(0), start: 0, end: 0 };
  return (out, row) => {
    locate(row, span);
    if (form === "json") return putBase64(out, span);
    if (form === "csv") out.token(HEX_PREFIX);
    putHex(out, span);
  };
}

function putHex(out: TextOutput, { bytes, start, end }: Span): void {
  out.reserve(2 * (end - start));
  const target = out.bytes;
  let at = out.at;
  for (let i = start; i < end; i++) {
    target[at++] = HEX[bytes[i] >> 4];
    target[at++] = HEX[bytes[i] & 15];
  }
  out.at = at;
}

/** A string of base 64 with padding. */
function putBase64(out: TextOutput, { bytes, start, end }: Span): void {
  out.reserve(4 * Math.ceil((end - start) / 3) + 2);
  const target = out.bytes;
  let at = out.at;
  target[at++] = 0x22;
  for (let i = start; i < end; i += 3) {
    const left = end - i;
    const three = bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    target[at++] = BASE64[three >> 18];
    target[at++] = BASE64[(three >> 12) & 63];
    target[at++] = left > 1 ? BASE64[(three >> 6) & 63] : 0x3d;
    target[at++] = left > 2 ? BASE64[three & 63] : 0x3d;
  }
  target[at++] = 0x22;
  out.at = at;
}
