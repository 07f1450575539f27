/**
 * Medians, extremes and percentiles of a handful of measurements.
 *
 * @module
 */

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The nearest-rank percentile `p` (0–100). */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p / 100 * sorted.length) - 1))];
}

/** One side's figures: what is printed for it. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Median and extremes of one side. */
export function summarize(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The ratio of each round of ours to the peer's runs just before and just after it, above 1 where ours is better. The
 * peer runs once more than we do, so that a machine that changes its speed between two runs weighs on both sides alike.
 *
 * @param ours One value a round
 * @param peer One value more than `ours`, alternating with it and starting first
 * @param higherIsBetter Rates: true; times: false
 */
export function pairedRatios(ours: readonly number[], peer: readonly number[], higherIsBetter: boolean): number[] {
  return ours.map((value, i) => {
    const around = Math.sqrt(peer[i] * peer[i + 1]);
    return higherIsBetter ? value / around : around / value;
  });
}
