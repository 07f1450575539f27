/**
 * Seeded pseudo-random numbers: the same seed gives the same run on every machine. Not for secrets.
 *
 * @module
 */

/** The seed of this process: `DIPC_SEED`, or a new one. */
export const seed: number = Number(Deno.env.get("DIPC_SEED") || crypto.getRandomValues(new Uint32Array(1))[0]);

/**
 * A generator that starts at {@linkcode seed}, which is printed so that the run can be repeated.
 *
 * @param stream Generators of other streams, 0 or more, give other numbers under the same seed
 */
export function seededRandom(stream = 0): Random {
  console.log(`DIPC_SEED=${seed}`);
  return new Random(seed + stream);
}

/** A seeded generator (small fast counting generator, 32 bits). */
export class Random {
  /** The seed it was made with. */
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * Starts at a seed.
   *
   * @param seed u32; other bits are ignored
   */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#a = this.seed;
    this.#b = 0x9E3779B9;
    this.#c = 0x85EBCA6B;
    for (let i = 0; i < 16; i++) this.uint32();
  }

  /** A number from 0 to 2³²−1. */
  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21 | this.#c >>> 11) + sum) | 0;
    return sum >>> 0;
  }

  /** A number from 0 up to, not including, 1. */
  fraction(): number {
    return this.uint32() / 0x100000000;
  }

  /** An integer from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with the given probability. Draws nothing for 0, so that a fault that is off does not change a run. */
  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** Puts `items` into a random order, in place. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}
