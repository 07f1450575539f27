/**
 * Cells of numbers: integers, floating-point numbers and decimals.
 *
 * @module
 */
import type { Data, Decimal } from "apache-arrow";
import { decimalText, wordsToBigInt } from "../time_text.ts";
import { asciiCell, bigintOf, type Cell, quoted, type TextForm, wordsOf } from "./cell.ts";
import { type TextOutput, Token } from "./output.ts";

/** Room for any number that is written without a text of its own. */
const NUMBER_BYTES = 40;

/** Integers, as decimal numbers with all their digits. */
export function integerCell(data: Data): Cell {
  const { isSigned, bitWidth } = data.type as unknown as { isSigned: boolean; bitWidth: number };
  if (bitWidth === 64) return isSigned ? signed64(wordsOf(data)) : unsigned64(wordsOf(data));
  // One kind of array for each loop: a loop that sees several is many times slower.
  if (bitWidth < 32 || isSigned) {
    const values = bitWidth === 32 ? data.values as Int32Array : new Int32Array(data.values as Int16Array);
    return (out, row) => {
      out.reserve(NUMBER_BYTES);
      out.putInteger(values[row]);
    };
  }
  const values = data.values as Uint32Array;
  return (out, row) => {
    out.reserve(NUMBER_BYTES);
    out.putUnsigned(values[row]);
  };
}

/** High words below this, and from its negative, belong to integers that a double holds exactly. */
const SAFE_HIGH = 2 ** 21;

function signed64(words: Int32Array): Cell {
  return (out, row) => {
    const low = words[2 * row], high = words[2 * row + 1];
    if (high >= SAFE_HIGH || high < -SAFE_HIGH) return out.ascii(String(bigintOf(low, high)));
    out.reserve(NUMBER_BYTES);
    out.putInteger(high === low >> 31 ? low : high * 4294967296 + (low >>> 0));
  };
}

function unsigned64(words: Int32Array): Cell {
  return (out, row) => {
    const low = words[2 * row], high = words[2 * row + 1];
    if (high >= SAFE_HIGH || high < 0) return out.ascii(String(BigInt.asUintN(64, bigintOf(low, high))));
    out.reserve(NUMBER_BYTES);
    out.putUnsigned(high * 4294967296 + (low >>> 0));
  };
}

/** Floating-point numbers, in the fewest digits that give the same number of their precision again. */
export function floatCell(data: Data, form: TextForm): Cell {
  const { precision } = data.type as unknown as { precision: number };
  if (precision === 2) {
    const values = data.values as Float64Array;
    return (out, row) => putFloat(out, values[row], form);
  }
  if (precision === 1) {
    const values = data.values as Float32Array;
    return (out, row) => putFloat32(out, values[row], form);
  }
  const raw = data.values as Uint16Array;
  const bits = new Uint16Array(raw.buffer, raw.byteOffset, raw.byteLength >> 1);
  return (out, row) => out.token(halves[form][bits[row]] ??= halfToken(bits[row], form));
}

const NULL = "null";

/** Not a number, and the infinities: JSON has no numbers for them. */
function nonFinite(value: number, form: TextForm): string {
  return form === "json" ? NULL : String(value);
}

/** A number of double precision. Those of 10¹⁶ and more have an exponent: without one, readers take them for integers. */
function floatText(value: number): string {
  if (value === 0 && 1 / value < 0) return "-0.0";
  return Math.abs(value) >= 1e16 ? value.toExponential() : String(value);
}

function putFloat(out: TextOutput, value: number, form: TextForm): void {
  out.reserve(NUMBER_BYTES);
  const size = Math.abs(value);
  if (size < 1e9 && (value !== 0 || 1 / value > 0)) {
    // Up to six digits after the point: fifteen at most, which no other fifteen share their double with.
    const millionths = Math.round(size * 1e6);
    if (millionths / 1e6 === size) return putScaled(out, value < 0, millionths, 1e6, 6);
  }
  out.ascii(Number.isFinite(value) ? floatText(value) : nonFinite(value, form));
}

/** Adds `scaled / scale` without zeros at its end. */
function putScaled(out: TextOutput, isNegative: boolean, scaled: number, scale: number, digits: number): void {
  if (isNegative) out.putByte(0x2d);
  const whole = Math.floor(scaled / scale);
  out.putUnsigned(whole);
  const fraction = scaled - whole * scale;
  if (fraction === 0) return;
  out.putByte(0x2e);
  out.putPadded(fraction, digits);
  while (out.bytes[out.at - 1] === 0x30) out.at--;
}

function putFloat32(out: TextOutput, value: number, form: TextForm): void {
  out.reserve(NUMBER_BYTES);
  const size = Math.abs(value);
  if (size < 1e5 && (value !== 0 || 1 / value > 0)) {
    // Six digits at most, which no other six share their number of single precision with.
    const digits = size < 10 ? 5 : size < 100 ? 4 : size < 1000 ? 3 : size < 10_000 ? 2 : 1;
    const scale = SCALES[digits];
    const scaled = Math.round(size * scale);
    if (scaled < 1e6 && Math.fround(scaled / scale) === size) return putScaled(out, value < 0, scaled, scale, digits);
  }
  out.ascii(Number.isFinite(value) ? floatText(shortest(value, 6, 9, Math.fround)) : nonFinite(value, form));
}

const SCALES = [1, 10, 100, 1000, 10_000, 100_000];

/** The number with the fewest digits that rounds to the same value. */
function shortest(value: number, least: number, most: number, round: (value: number) => number): number {
  if (value === 0) return value; // with its sign
  for (let precision = least; precision <= most; precision++) {
    const candidate = Number(value.toPrecision(precision));
    if (round(candidate) === value) return candidate;
  }
  return value;
}

/** Texts of the 65,536 numbers of half precision, made when they are first needed. */
const halves: Record<TextForm, Token[]> = { json: [], csv: [], plain: [] };

function halfToken(bits: number, form: TextForm): Token {
  const view = new DataView(new ArrayBuffer(2));
  view.setUint16(0, bits);
  const value = view.getFloat16(0);
  return new Token(
    Number.isFinite(value) ? floatText(shortest(value, 2, 5, Math.f16round)) : nonFinite(value, form),
  );
}

/** Most digits of a decimal that every double holds: readers of JSON would round longer ones, or fail. */
const MAX_JSON_DIGITS = 15;

/** Decimals, with all the digits of their scale. */
export function decimalCell(data: Data, form: TextForm): Cell {
  const { scale, bitWidth, precision } = data.type as Decimal;
  const raw = data.values as Uint8Array;
  const words = new Int32Array(raw.buffer, raw.byteOffset, raw.byteLength >> 2);
  const count = bitWidth / 32;
  const unsigned = new Uint32Array(words.buffer, words.byteOffset, words.length);
  const exact = asciiCell((row) => decimalText(wordsToBigInt(unsigned, row * count, count), scale));
  const cell = scale >= 0 && scale <= MAX_JSON_DIGITS ? shortDecimals(words, count, scale, exact) : exact;
  return form === "json" && precision > MAX_JSON_DIGITS ? quoted(cell) : cell;
}

/** Decimals whose digits a double holds; others are left to `exact`. */
function shortDecimals(words: Int32Array, count: number, scale: number, exact: Cell): Cell {
  const divisor = 10 ** scale;
  return (out, row) => {
    const at = row * count;
    const low = words[at], sign = words[at + count - 1] >> 31;
    const high = count === 1 ? sign : words[at + 1];
    let isShort = high < SAFE_HIGH && high >= -SAFE_HIGH;
    for (let i = 2; i < count; i++) isShort &&= words[at + i] === sign;
    if (!isShort || high >> 31 !== sign) return exact(out, row);
    out.reserve(NUMBER_BYTES);
    const value = high * 4294967296 + (low >>> 0);
    const size = Math.abs(value);
    if (value < 0) out.putByte(0x2d);
    if (scale === 0) return out.putUnsigned(size);
    // Below 2⁵³ the quotient is never rounded up to the next integer.
    const whole = Math.floor(size / divisor);
    out.putUnsigned(whole);
    out.putByte(0x2e);
    out.putPadded(size - whole * divisor, scale);
  };
}
