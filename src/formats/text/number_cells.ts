/**
 * Cells of numbers: integers, floating-point numbers and decimals.
 *
 * @module
 */
import type { Data, Decimal } from "apache-arrow";
import { decimalText, wordsToBigInt } from "../time_text.ts";
import { asciiCell, type Cell, quoted, type TextForm, wordsOf } from "./cell.ts";
import { type TextOutput, Token } from "./output.ts";

const HYPHEN = 0x2d, POINT = 0x2e, ZERO = 0x30;
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
    out.reserve(NUMBER_BYTES);
    if (high < SAFE_HIGH && high >= -SAFE_HIGH) {
      return out.putInteger(high === low >> 31 ? low : high * 4294967296 + (low >>> 0));
    }
    if (high >= 0) return putWords(out, low >>> 0, high);
    out.putByte(HYPHEN);
    putWords(out, -low >>> 0, (low === 0 ? -high : ~high) >>> 0);
  };
}

function unsigned64(words: Int32Array): Cell {
  return (out, row) => {
    const low = words[2 * row] >>> 0, high = words[2 * row + 1] >>> 0;
    out.reserve(NUMBER_BYTES);
    if (high < SAFE_HIGH) out.putUnsigned(high * 4294967296 + low);
    else putWords(out, low, high);
  };
}

/** Adds an unsigned integer of two unsigned words, divided by 10⁹ in steps of which each is exact. */
function putWords(out: TextOutput, low: number, high: number): void {
  const first = Math.floor(high / 1e9);
  const middle = (high - first * 1e9) * 65536 + (low >>> 16);
  const second = Math.floor(middle / 1e9);
  const rest = (middle - second * 1e9) * 65536 + (low & 0xffff);
  const third = Math.floor(rest / 1e9);
  out.putUnsigned(first * 4294967296 + second * 65536 + third);
  out.putPadded(rest - third * 1e9, 9);
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
  if (isNegative) out.putByte(HYPHEN);
  const whole = Math.floor(scaled / scale);
  out.putUnsigned(whole);
  const fraction = scaled - whole * scale;
  if (fraction === 0) return;
  out.putByte(POINT);
  out.putPadded(fraction, digits);
  while (out.bytes[out.at - 1] === ZERO) out.at--;
}

/** Powers of ten, from 10⁰ on; all are exact as doubles. */
const POWERS = Array.from({ length: 16 }, (_, exponent) => Number(`1e${exponent}`));
/** Digits of a decimal that any number of single precision keeps, and that tell any two of them apart. */
const KEPT_DIGITS_32 = 6, ALL_DIGITS_32 = 9;
/** Below this, single precision has all integers. */
const ALL_INTEGERS_32 = 2 ** 24;

function putFloat32(out: TextOutput, value: number, form: TextForm): void {
  out.reserve(NUMBER_BYTES);
  const size = Math.abs(value);
  if (size < ALL_INTEGERS_32 && Math.floor(size) === size && (value !== 0 || 1 / value > 0)) {
    return out.putInteger(value);
  }
  if (size < 1e6 && size >= 1e-6 && putFraction32(out, value, size)) return;
  const text = (): string => floatText(shortest(value, KEPT_DIGITS_32, ALL_DIGITS_32, Math.fround));
  out.ascii(Number.isFinite(value) ? text() : nonFinite(value, form));
}

/** Adds a number of 10⁻⁶ to 10⁶ in as few digits as it needs. */
function putFraction32(out: TextOutput, value: number, size: number): boolean {
  // Digits before the point, or minus the zeros after it.
  let whole = 0;
  while (size >= POWERS[whole]) whole++;
  while (whole <= 0 && size * POWERS[1 - whole] < 1) whole--;
  for (let decimals = KEPT_DIGITS_32 - whole; decimals <= ALL_DIGITS_32 - whole; decimals++) {
    const scaled = Math.round(size * POWERS[decimals]);
    if (Math.fround(scaled / POWERS[decimals]) !== size) continue;
    putScaled(out, value < 0, scaled, POWERS[decimals], decimals);
    return true;
  }
  return false;
}

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
/** Largest scale, and smallest, whose decimals of so many digits no double makes 0 or infinite. */
const MAX_JSON_SCALE = 290;

/** Decimals, with all the digits of their scale. */
export function decimalCell(data: Data, form: TextForm): Cell {
  const { scale, bitWidth, precision } = data.type as Decimal;
  const raw = data.values as Uint8Array;
  const words = new Int32Array(raw.buffer, raw.byteOffset, raw.byteLength >> 2);
  const count = bitWidth / 32;
  const unsigned = new Uint32Array(words.buffer, words.byteOffset, words.length);
  const exact = asciiCell((row) => decimalText(wordsToBigInt(unsigned, row * count, count), scale));
  const cell = scale >= 0 && scale <= MAX_JSON_DIGITS ? shortDecimals(words, count, scale, exact) : exact;
  const isExact = precision <= MAX_JSON_DIGITS && Math.abs(scale) <= MAX_JSON_SCALE;
  return form === "json" && !isExact ? quoted(cell) : cell;
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
    if (value < 0) out.putByte(HYPHEN);
    if (scale === 0) return out.putUnsigned(size);
    // Below 2⁵³ the quotient is never rounded up to the next integer.
    const whole = Math.floor(size / divisor);
    out.putUnsigned(whole);
    out.putByte(POINT);
    out.putPadded(size - whole * divisor, scale);
  };
}
