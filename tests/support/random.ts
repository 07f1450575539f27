/**
 * Random numbers that can be had again: the seed is `DIPC_SEED` or random, and the test prints it.
 *
 * @module
 */

/** The seed of this run. */
export const seed: number = Number(Deno.env.get("DIPC_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);

/** A generator of numbers in 0…1 (mulberry32). */
export function generator(start: number = seed): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
