/**
 * Limits on what a peer can make a reader do, and on how much a sender has under way.
 *
 * @module
 */
import { integerIn } from "./options.ts";

/** Limits of a reader. A message over a limit ends the stream with `limit_exceeded`; nothing is allocated for it. */
export interface ReaderLimits {
  /** Longest metadata of one message, in bytes. Default 16 MiB. */
  maxMetadataBytes: number;
  /** Longest body of one message, in bytes. Default 4 GiB. */
  maxBodyBytes: number;
  /** Bytes of bodies that are posted, or have arrived and were not read yet; one body is always admitted. Default 64 MiB. */
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
 * Fills in defaults and rejects limits that are not positive integers.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function readerLimits(limits: Partial<ReaderLimits> = {}): ReaderLimits {
  const result: ReaderLimits = { ...defaultReaderLimits };
  for (const name of Object.keys(defaultReaderLimits) as (keyof ReaderLimits)[]) {
    const value = limits[name];
    if (value === undefined) continue;
    result[name] = integerIn(`limits.${name}`, value, 1);
  }
  return result;
}

/**
 * Longest delay of a timer in milliseconds, 24.8 days: `setTimeout` accepts a signed number of 32 bits, and fires at once for a
 * larger one.
 */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/**
 * A time-out of the caller, clamped to what a timer can wait.
 *
 * @throws {DipcError} `invalid_argument` if it is not a positive integer
 */
export function timeoutOption(name: string, milliseconds: number): number {
  return Math.min(integerIn(name, milliseconds, 1), MAX_TIMER_MS);
}
