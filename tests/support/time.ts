/**
 * Waiting in tests: for a condition wherever there is one, for a time only where time is the point.
 *
 * @module
 */
import { assertLess } from "@std/assert";

/**
 * What users are promised within a second or a few may take this long on a machine under load, in milliseconds. Whatever else
 * would end the wait must take longer: UCX's keepalive, a time-out of 20 s or more.
 */
export const LOADED_MS = 10_000;

/** Waits. A test that can wait for a condition uses {@linkcode until} instead. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Reads a value again and again until it is as expected.
 *
 * @param holds What is expected of it; without it, that it is true
 * @returns the value that holds
 * @throws when it does not hold within 20 s, with the last value
 */
export async function until<T>(read: () => T | Promise<T>, holds: (value: T) => boolean = Boolean): Promise<T> {
  const end = performance.now() + 20_000;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (performance.now() > end) throw new Error(`waited 20 s for ${holds} of ${read}, found ${JSON.stringify(value)}`);
    await delay(10);
  }
}

/**
 * Asserts that what users are promised soon has come, within {@linkcode LOADED_MS}, and prints when it has.
 *
 * @param what What was waited for
 * @param sinceMs Since when, of `performance.now()`
 * @param longestMs A shorter time, if what else would end the wait does not take that long
 */
export function assertSoon(what: string, sinceMs: number, longestMs = LOADED_MS): void {
  const milliseconds = performance.now() - sinceMs;
  console.log(`${what}: ${Math.round(milliseconds)} ms`);
  assertLess(milliseconds, longestMs, what);
}
