/**
 * How fast the fuzz targets run, next to the rate of the same targets recorded before the harness was made for speed, on a
 * machine of two cores. All targets but those that start a worker for each run, each for the same time, in
 * one thread; the mean over all of them counts, so that cheap targets count more than slow ones, as in a run of
 * `deno task fuzz`.
 *
 * @module
 */
import { fuzz } from "../tests/fuzz/fuzzer.ts";
import { loadCorpus, loadTargets } from "../tests/fuzz/registry.ts";
import type { Comparison } from "./compare.ts";

/** Runs a second of processor time on 2026-11-29. */
const RECORDED = 27_000;
/** Time of each target, in seconds. */
const SECONDS = 0.1, QUICK_SECONDS = 0.02;

const registry: Comparison = {
  ...{ name: "fuzz", unit: "runs/s", peerName: "recorded on 2026-11-29", target: 3, needs: null },
  async prepare(_, quick) {
    const targets = (await loadTargets()).filter(({ slowMs }) => slowMs === undefined);
    const work = targets.map((target) => ({ target, corpus: loadCorpus(target) }));
    let seed = 0;
    return {
      async ours() {
        seed++;
        let rates = 0;
        for (const { target, corpus } of work) {
          const report = await fuzz(target, { seconds: quick ? QUICK_SECONDS : SECONDS, seed, corpus });
          if (report.findings.length > 0) throw new Error(`${target.name}: ${report.findings[0].detail}`);
          rates += (report.executions - corpus.length - target.seeds().length) / report.seconds;
        }
        return { value: rates / work.length };
      },
      peer: () => Promise.resolve({ value: RECORDED }),
    };
  },
};

/** In the order in which they run and are printed. */
export const FUZZING: readonly Comparison[] = [registry];
