/**
 * Cells of dates, times, timestamps, durations and intervals: ISO 8601, without quotes.
 *
 * @module
 */
import { type Data, Type } from "apache-arrow";
import { dateText, durationText, FRACTION_DIGITS, intervalText, timestampText, timeText } from "../time_text.ts";
import { asciiCell, bigintOf, type Cell, wordsOf } from "./cell.ts";
import type { TextOutput } from "./output.ts";

const DAY_SECONDS = 86_400;
/** The seconds, and days, of 0000-01-01 and 10000-01-01: years outside have more than four digits. */
const FIRST_SECOND = -62_167_219_200, END_SECOND = 253_402_300_800;
const FIRST_DAY = FIRST_SECOND / DAY_SECONDS, END_DAY = END_SECOND / DAY_SECONDS;
/** Room for any date or time whose year has four digits. */
const TIME_BYTES = 40;
const HYPHEN = 0x2d, COLON = 0x3a, POINT = 0x2e, LETTER_T = 0x54, LETTER_Z = 0x5a;

/** Days as `YYYY-MM-DD`. */
export function dateCell(data: Data): Cell {
  const isDays = (data.type as unknown as { unit: number }).unit === 0;
  if (!isDays) return milliseconds(wordsOf(data));
  const days = data.values as Int32Array;
  return (out, row) => putDate(out, days[row]);
}

/** The format forbids milliseconds that are not a multiple of a day, but they occur; their time of day is kept. */
function milliseconds(words: Int32Array): Cell {
  const text = (row: number): string => {
    const value = bigintOf(words[2 * row], words[2 * row + 1]);
    return value % 86_400_000n === 0n ? dateText(Number(value / 86_400_000n)) : timestampText(value, 3, false);
  };
  return asciiCell(text);
}

function putDate(out: TextOutput, days: number): void {
  if (days < FIRST_DAY || days >= END_DAY) return out.ascii(dateText(days));
  out.reserve(TIME_BYTES);
  putNearDate(out, days);
}

/** A day of the years 0 to 9999; see `dateText` for the arithmetic. */
function putNearDate(out: TextOutput, days: number): void {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra =
    ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0;
  const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0));
  const shiftedMonth = ((5 * dayOfYear + 2) / 153) | 0;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  out.putPadded(yearOfEra + era * 400 + (month <= 2 ? 1 : 0), 4);
  out.putByte(HYPHEN);
  out.putPair(month);
  out.putByte(HYPHEN);
  out.putPair(dayOfYear - (((153 * shiftedMonth + 2) / 5) | 0) + 1);
}

/** Times of day, timestamps and durations, with the digits of their unit. */
export function timeCell(data: Data): Cell {
  const { unit, timezone } = data.type as unknown as { unit: number; timezone?: string | null };
  const digits = FRACTION_DIGITS[unit];
  if (data.typeId === Type.Time) return digits <= 3 ? shortTimes(data, digits) : longTimes(wordsOf(data), digits);
  if (data.typeId === Type.Duration) return durations(wordsOf(data), digits);
  return timestamps(wordsOf(data), digits, typeof timezone === "string" && timezone !== "");
}

function shortTimes(data: Data, digits: number): Cell {
  const values = data.values as Int32Array;
  const scale = 10 ** digits;
  return (out, row) => {
    const value = values[row];
    const seconds = Math.floor(value / scale);
    if (seconds < 0 || seconds >= DAY_SECONDS) return out.ascii(timeText(BigInt(value), digits));
    out.reserve(TIME_BYTES);
    putClock(out, seconds, value - seconds * scale, digits);
  };
}

function longTimes(words: Int32Array, digits: number): Cell {
  const scale = 10 ** digits;
  return (out, row) => {
    const low = words[2 * row], high = words[2 * row + 1];
    const value = high * 4294967296 + (low >>> 0);
    if (value < 0 || value >= DAY_SECONDS * scale) return out.ascii(timeText(bigintOf(low, high), digits));
    const seconds = Math.floor(value / scale);
    out.reserve(TIME_BYTES);
    putClock(out, seconds, value - seconds * scale, digits);
  };
}

/** A time of day: `HH:MM:SS` and the digits of the fraction. */
function putClock(out: TextOutput, seconds: number, fraction: number, digits: number): void {
  const minutes = (seconds / 60) | 0;
  const hours = (minutes / 60) | 0;
  out.putPair(hours);
  out.putByte(COLON);
  out.putPair(minutes - hours * 60);
  putSeconds(out, seconds - minutes * 60, fraction, digits);
}

/** The seconds of a minute, after a colon. */
function putSeconds(out: TextOutput, seconds: number, fraction: number, digits: number): void {
  out.putByte(COLON);
  out.putPair(seconds);
  if (digits === 0) return;
  out.putByte(POINT);
  out.putPadded(fraction, digits);
}

/** Length of `YYYY-MM-DDTHH:MM`: four words. */
const MINUTE_BYTES = 16;

function timestamps(words: Int32Array, digits: number, hasTimeZone: boolean): Cell {
  const scale = 10 ** digits;
  // Neighbours are often of the same minute.
  let known = NaN;
  const minute = new Uint32Array(MINUTE_BYTES / 4);
  return (out, row) => {
    const low = words[2 * row], high = words[2 * row + 1];
    let seconds = Math.floor((high * 4294967296 + (low >>> 0)) / scale);
    if (!(seconds > FIRST_SECOND && seconds < END_SECOND - 1)) {
      return out.ascii(timestampText(bigintOf(low, high), digits, hasTimeZone));
    }
    // The value above was rounded to 53 bits, so that the seconds may be off by one; the fraction fits into 32 bits.
    let fraction = (low - Math.imul(seconds, scale)) | 0;
    if (fraction < 0) {
      seconds--;
      fraction += scale;
    } else if (fraction >= scale) {
      seconds++;
      fraction -= scale;
    }
    out.reserve(TIME_BYTES);
    const { view, at } = out;
    const minutes = Math.floor(seconds / 60);
    if (minutes === known) {
      for (let i = 0; i < MINUTE_BYTES; i += 4) view.setUint32(at + i, minute[i >> 2], true);
      out.at = at + MINUTE_BYTES;
    } else {
      putMinute(out, minutes);
      known = minutes;
      for (let i = 0; i < MINUTE_BYTES; i += 4) minute[i >> 2] = view.getUint32(at + i, true);
    }
    putSeconds(out, seconds - minutes * 60, fraction, digits);
    if (hasTimeZone) out.putByte(LETTER_Z);
  };
}

/** A minute since 1970 as `YYYY-MM-DDTHH:MM`. */
function putMinute(out: TextOutput, minutes: number): void {
  const days = Math.floor(minutes / 1440);
  const ofDay = minutes - days * 1440;
  const hours = (ofDay / 60) | 0;
  putNearDate(out, days);
  out.putByte(LETTER_T);
  out.putPair(hours);
  out.putByte(COLON);
  out.putPair(ofDay - hours * 60);
}

/** Largest number of units for which a double is exact. */
const MAX_EXACT = 2 ** 53;

function durations(words: Int32Array, digits: number): Cell {
  const scale = 10 ** digits;
  return (out, row) => {
    const low = words[2 * row], high = words[2 * row + 1];
    const value = high * 4294967296 + (low >>> 0);
    const size = Math.abs(value);
    if (size >= MAX_EXACT) return out.ascii(durationText(bigintOf(low, high), digits));
    out.reserve(TIME_BYTES);
    out.putByte(0x50); // P
    out.putByte(LETTER_T);
    if (value < 0) out.putByte(HYPHEN);
    const whole = Math.floor(size / scale);
    out.putUnsigned(whole);
    if (digits > 0) {
      out.putByte(POINT);
      out.putPadded(size - whole * scale, digits);
    }
    out.putByte(0x53); // S
  };
}

/** `IntervalUnit` of Schema.fbs. */
const YEAR_MONTH = 0, DAY_TIME = 1;

/** Months, days and nanoseconds; parts that are 0 are left out. */
export function intervalCell(data: Data): Cell {
  const { unit } = data.type as unknown as { unit: number };
  const raw = data.values as Int32Array;
  const words = new Int32Array(raw.buffer, raw.byteOffset, raw.byteLength >> 2);
  if (unit === YEAR_MONTH) return asciiCell((row) => intervalText(words[row], 0, 0n));
  if (unit === DAY_TIME) {
    return asciiCell((row) => intervalText(0, words[2 * row], BigInt(words[2 * row + 1]) * 1_000_000n));
  }
  return asciiCell((row) => {
    const at = 4 * row;
    return intervalText(words[at], words[at + 1], bigintOf(words[at + 2], words[at + 3]));
  });
}
