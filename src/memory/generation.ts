/**
 * Numbers of memory that is lent.
 *
 * @module
 */

/** From a random start, so that those of an earlier process have other numbers. */
let generation = crypto.getRandomValues(new BigUint64Array(1))[0];

/** A number that no other memory of this process has, u64. */
export function nextGeneration(): bigint {
  return generation = BigInt.asUintN(64, generation + 1n);
}
