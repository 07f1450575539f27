/**
 * Limits on what a peer can make a reader do, and on how much a sender has under way.
 *
 * @module
 */
import { DipcError } from "./errors.ts";

/** Limits of a reader. A message over a limit ends the stream with `limit_exceeded`; nothing is allocated for it. */
export interface ReaderLimits {
  /** Longest metadata of one message, in bytes. Default 16 MiB. */
  maxMetadataBytes: number;
  /** Longest body of one message, in bytes. Default 4 GiB. */
  maxBodyBytes: number;
  /** Bytes of bodies that are posted or have arrived and were not read yet; one body is always let through. Default 64 MiB. */
  maxInFlightBytes: number;
  /** Longest decompressed body of one message, in bytes. Default 4 GiB. */
  maxDecompressedBytes: number;
  /** Bytes of all dictionaries of a stream together. Default 4 GiB. */
  maxDictionaryBytes: number;
  /** Rows of one message. Default 2³¹ − 1. */
  maxRows: number;
}

/** Default of every {@linkcode ReaderLimits}. */
export const defaultReaderLimits: Readonly<ReaderLimits> = {
  maxMetadataBytes: 16 * 2 ** 20,
  maxBodyBytes: 4 * 2 ** 30,
  maxInFlightBytes: 64 * 2 ** 20,
  maxDecompressedBytes: 4 * 2 ** 30,
  maxDictionaryBytes: 4 * 2 ** 30,
  maxRows: 2 ** 31 - 1,
};

/**
 * Fills in defaults and refuses limits that are no positive whole numbers.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function readerLimits(limits: Partial<ReaderLimits> = {}): ReaderLimits {
  const result: ReaderLimits = { ...defaultReaderLimits };
  for (const name of Object.keys(defaultReaderLimits) as (keyof ReaderLimits)[]) {
    const value = limits[name];
    if (value === undefined) continue;
    result[name] = positiveInteger(`limits.${name}`, value);
  }
  return result;
}

/**
 * Longest delay of a timer in milliseconds, 24.8 days: `setTimeout` takes a signed number of 32 bits, and goes off at once for a
 * larger one.
 */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/**
 * A time-out that was given, cut to what a timer can wait.
 *
 * @throws {DipcError} `invalid_argument` as `positiveInteger`
 */
export function timeoutOption(name: string, milliseconds: number): number {
  return Math.min(positiveInteger(name, milliseconds), MAX_TIMER_MS);
}

/** @throws {DipcError} `invalid_argument` where `value` is not a whole number of at least 1 */
export function positiveInteger(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new DipcError("invalid_argument", `${name} must be a whole number of at least 1, but it is ${value}`);
  }
  return value;
}
