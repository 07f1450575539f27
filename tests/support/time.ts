/**
 * Waiting in tests: for a condition wherever there is one, for a time only where time is the point.
 *
 * @module
 */

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
