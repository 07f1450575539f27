/**
 * Random numbers that can be had again: the seed is `DIPC_SEED` or a new one, and it is printed.
 *
 * @module
 */

/** A source of random numbers. */
export interface Random {
  /** A whole number from 0 to `below` − 1. */
  random(below: number): number;
  /** What to set `DIPC_SEED` to for the same numbers. */
  seed: number;
}

/** Makes one; `seed` overrides `DIPC_SEED`. */
export function seededRandom(seed: number = Number(Deno.env.get("DIPC_SEED") ?? Date.now() % 2 ** 31)): Random {
  console.log(`DIPC_SEED=${seed}`);
  return { random: generator(seed), seed };
}

/** The generator itself ("mulberry32", public domain), without printing. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296 * below);
  };
}
