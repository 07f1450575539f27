/**
 * Formats dates, times, durations and decimals as text, exactly for the whole range of their Arrow types.
 *
 * @module
 */

const DAY_SECONDS = 86_400;

/** Digits after the decimal point of a second, by Arrow's unit number: second, millisecond, microsecond, nanosecond. */
export const FRACTION_DIGITS = [0, 3, 6, 9] as const;

/**
 * A day as `YYYY-MM-DD`; years outside 0 to 9999 get a sign and six digits or more, as in ISO 8601.
 *
 * @param days Days since 1970-01-01
 */
export function dateText(days: number): string {
  // Counts in years that start on 1 March, so that the leap day is the last one; 146,097 days are 400 years.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${yearText(year)}-${pad(month, 2)}-${pad(day, 2)}`;
}

/** Units in a second, by digits after the decimal point. */
const SCALES: Readonly<Record<number, bigint>> = { 0: 1n, 3: 1000n, 6: 1_000_000n, 9: 1_000_000_000n };

/**
 * A time of day as `HH:MM:SS` with the digits that the unit has.
 *
 * @param value Units since midnight
 * @param digits Digits after the decimal point: 0, 3, 6 or 9
 */
export function timeText(value: bigint, digits: number): string {
  const scale = SCALES[digits];
  const seconds = floorDivide(value, scale);
  return clockText(Number(seconds), Number(value - seconds * scale), digits);
}

/**
 * A point in time as `YYYY-MM-DDTHH:MM:SS` with the digits that the unit has. With a time zone it is given in UTC and ends
 * with `Z`.
 *
 * @param value Units since 1970-01-01T00:00:00
 * @param digits Digits after the decimal point: 0, 3, 6 or 9
 * @param hasTimeZone Whether the column has a time zone
 */
export function timestampText(value: bigint, digits: number, hasTimeZone: boolean): string {
  const scale = SCALES[digits];
  const seconds = floorDivide(value, scale);
  const fraction = Number(value - seconds * scale);
  let days = Math.floor(Number(seconds) / DAY_SECONDS);
  let rest = Number(seconds) - days * DAY_SECONDS;
  if (!Number.isSafeInteger(Number(seconds))) {
    const exact = floorDivide(seconds, BigInt(DAY_SECONDS));
    days = Number(exact);
    rest = Number(seconds - exact * BigInt(DAY_SECONDS));
  }
  return `${dateText(days)}T${clockText(rest, fraction, digits)}${hasTimeZone ? "Z" : ""}`;
}

function clockText(seconds: number, fraction: number, digits: number): string {
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  const text = `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(seconds % 60, 2)}`;
  return digits === 0 ? text : `${text}.${pad(fraction, digits)}`;
}

/**
 * A length of time in ISO 8601, such as `PT1.500S`.
 *
 * @param value Length in the unit of the column
 * @param digits Digits after the decimal point: 0, 3, 6 or 9
 */
export function durationText(value: bigint, digits: number): string {
  return `PT${decimalText(value, digits)}S`;
}

/** Months, days and nanoseconds in ISO 8601, such as `P14M3DT0.000000001S`; parts that are 0 are left out. */
export function intervalText(months: number, days: number, nanoseconds: bigint): string {
  const text = (months === 0 ? "" : `${months}M`) + (days === 0 ? "" : `${days}D`) +
    (nanoseconds === 0n ? "" : `T${decimalText(nanoseconds, 9).replace(/\.?0+$/, "")}S`);
  return text === "" ? "P0D" : `P${text}`;
}

/** Most zeros that a scale may add to a number: a scale is any 32-bit number, and a peer's. */
const MAX_ZEROS = 1000;

/**
 * A decimal number; with an exponent, such as `5E+2000`, if its scale would fill it with zeros.
 *
 * @param value The number without its point
 * @param scale Digits after the point; negative if the number ends with zeros that are not stored
 */
export function decimalText(value: bigint, scale: number): string {
  if (Math.abs(scale) > MAX_ZEROS) return `${value}E${scale < 0 ? "+" : "-"}${Math.abs(scale)}`;
  if (scale <= 0) return value === 0n ? "0" : value.toString() + "0".repeat(-scale);
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Little-endian two's complement in 32-bit words as a number. */
export function wordsToBigInt(words: Uint32Array, start: number, count: number): bigint {
  let value = BigInt(words[start + count - 1] | 0);
  for (let i = count - 2; i >= 0; i--) value = value << 32n | BigInt(words[start + i]);
  return value;
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b < 0n ? quotient - 1n : quotient;
}

function yearText(year: number): string {
  if (year >= 0 && year <= 9999) return pad(year, 4);
  return `${year < 0 ? "-" : "+"}${pad(Math.abs(year), 6)}`;
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
