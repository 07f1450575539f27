/**
 * The C data interface, next to pyarrow's. A library in C produces and consumes the same batch for both: 5 columns of int64 and 5 of
 * text, 65,536 rows. What calling that library costs does not count.
 *
 * @module
 */
import { buildNative } from "../tools/build_native.ts";
import { findPeers } from "../tools/peers.ts";
import { REPOSITORY } from "../tools/repository.ts";
import type { Comparison } from "./compare.ts";

/** Calls of a run. */
const CALLS = 20_000, QUICK_CALLS = 5000;
/** Batches after which the memory of dropped ones may not grow any more, and all of them. */
const SOME = 10_000, ALL = 100_000, QUICK_ALL = 40_000;

function library(): string {
  const { compiler, arrowCpp } = findPeers();
  if (compiler === null || arrowCpp === null) throw new Error("a C compiler or pyarrow's headers are missing");
  const include = `-I${arrowCpp.folder}/include/arrow/c`;
  return buildNative("c_data_bench.so", compiler, [`${REPOSITORY}/native/c_data/bench.c`], ["-O2", include]);
}

/** One direction, next to pyarrow's method for it. */
function direction(what: "import" | "export", peerName: string, target: number): Comparison {
  return {
    ...{ name: `c-data/${what}`, unit: "batches/s", peerName, target, needs: "python" },
    prepare(bench, quick) {
      const command = { library: library(), count: quick ? QUICK_CALLS : CALLS };
      return Promise.resolve({
        ours: async () => ({ value: (await bench.call("client", { do: `c-${what}`, ...command })).rate as number }),
        peer: async () => ({ value: (await bench.call("c-data", { do: what, ...command })).rate as number }),
      });
    },
  };
}

const memory: Comparison = {
  ...{
    name: "c-data/memory",
    unit: "MiB",
    peerName: "itself after 10,000 dropped batches",
    target: 0.95,
    needs: "python",
  },
  prepare(bench, quick) {
    const command = { library: library(), some: SOME, all: quick ? QUICK_ALL : ALL };
    // A process that has done nothing else.
    const run = (): Promise<Record<string, unknown>> =>
      bench.call("client", { do: "c-memory", ...command }, { index: 50 });
    let last: Promise<Record<string, unknown>> | null = null;
    return Promise.resolve({
      ours: async () => ({ value: (await (last = run())).all as number / 2 ** 20 }),
      peer: async () => ({ value: (await (last ??= run())).some as number / 2 ** 20 }),
    });
  },
};

/** In the order in which they run and are printed. */
export const C_DATA: readonly Comparison[] = [
  direction("import", "pyarrow _import_from_c", 0.8),
  direction("export", "pyarrow _export_to_c", 0.5),
  memory,
];
