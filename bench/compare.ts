/**
 * Runs one comparison: our side and the peer in turn, peer first and last.
 *
 * @module
 */
import { pairedRatios, percentile, summarize } from "./stats.ts";
import { type BenchResult, SMALLER_IS_BETTER, type Unit } from "./report.ts";
import type { Workbench } from "./workbench.ts";

/** Our unmeasured runs; V8 compiles in steps, and a case whose runs are short is done before the last one. */
const WARM_UPS = 3;

/** What one run of one side found. */
export interface Measured {
  /** The figure, in the unit of the comparison. */
  readonly value: number;
  /** The individual times, if the figure is a median. */
  readonly samples?: readonly number[];
  /** Transports that carried our side. */
  readonly transports?: readonly string[];
}

/** Both sides, ready to run. */
export interface Sides {
  ours(): Promise<Measured>;
  peer(): Promise<Measured>;
  /** Frees what was made for it. */
  close?(): Promise<void>;
}

/** One comparison. */
export interface Comparison {
  readonly name: string;
  readonly unit: Unit;
  readonly peerName: string;
  /** The ratio that we aim for; null: only reported. */
  readonly target: number | null;
  /** Whether it takes so long that a quick run leaves it out unless it is named. */
  readonly isLong?: boolean;
  /** Which peer must be there; `null` if it is dipc itself. */
  readonly needs: "perftest" | "python" | null;
  /** Makes the data on both sides and checks the contents of one whole transfer. */
  prepare(bench: Workbench, quick: boolean): Promise<Sides>;
}

/**
 * Runs it.
 *
 * @param rounds Our runs; the peer runs once more
 * @returns the result, and one more for the 99th percentile where single times were taken
 */
export async function compare(
  comparison: Comparison,
  bench: Workbench,
  quick: boolean,
  rounds: number,
): Promise<BenchResult[]> {
  const sides = await comparison.prepare(bench, quick);
  const ours: Measured[] = [];
  const peer: Measured[] = [];
  try {
    // Unmeasured: connections and page tables get warm, and on our side the compiler, too.
    await sides.peer();
    for (let i = 0; i < (quick ? 2 : WARM_UPS); i++) await sides.ours();
    for (let round = 0; round < rounds; round++) {
      peer.push(await sides.peer());
      ours.push(await sides.ours());
    }
    peer.push(await sides.peer());
  } finally {
    await sides.close?.();
  }
  const { name, unit, peerName, target } = comparison;
  const result = (name: string, a: number[], b: number[], target: number | null): BenchResult => {
    const ratios = summarize(pairedRatios(a, b, !SMALLER_IS_BETTER.has(unit)));
    const [mine, theirs] = [summarize(a), summarize(b)];
    return {
      ...{ name, unit, ours: mine.median, peer: theirs.median, peerName, ratio: ratios.median },
      ...{ min: mine.min, max: mine.max, peerMin: theirs.min, peerMax: theirs.max },
      ...{ ratioMin: ratios.min, ratioMax: ratios.max, rounds, target },
      transports: [...new Set(ours.flatMap(({ transports }) => transports ?? []))],
    };
  };
  const values = (side: Measured[]) => side.map(({ value }) => value);
  const results = [result(name, values(ours), values(peer), target)];
  if (ours.every(({ samples }) => samples)) {
    const worst = (side: Measured[]) => side.map(({ samples }) => percentile(samples!, 99));
    results.push(result(`${name}/p99`, worst(ours), worst(peer), null));
  }
  return results;
}
