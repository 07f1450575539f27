/**
 * Bodies that are read in the server's memory, against Flight, which brings them: every batch in hand, every byte added up, all batches
 * kept, four clients at once.
 *
 * @module
 */
import type { Comparison, Measured } from "./compare.ts";
import { type Shape, shapeOf } from "./data.ts";
import {
  checkTotals,
  coldBytes,
  concurrently,
  KiB,
  MiB,
  rate,
  serveFlight,
  serveNothing,
  serveOurs,
} from "./serving.ts";
import type { Fetched } from "./workbench.ts";

const SIZES = { "64KiB": 64 * KiB, "1MiB": MiB, "16MiB": 16 * MiB, "64MiB": 64 * MiB } as const;

/** Sum of all values of a shape: row number × (1 + 3 + 0.5 − 1). */
function sumOf({ rows, batches }: Shape): number {
  const all = rows * batches;
  return 3.5 * (all * (all - 1) / 2);
}

/** Checks a fetch in which every value was added up. */
function summed(fetched: Fetched, shape: Shape): Measured {
  if (fetched.checksum !== sumOf(shape)) throw new Error(`a sum of ${fetched.checksum}, expected ${sumOf(shape)}`);
  return rate(checkTotals(fetched, shape));
}

/** A dataset that both servers have in memory; ours shares it. */
function compare(
  name: string,
  size: keyof typeof SIZES,
  { target, action }: { target: number; action: "read" | "sum" | "keep" },
): Comparison {
  const peerName = action === "keep" ? "pyarrow Flight read_all" : "pyarrow Flight DoGet";
  return {
    ...{ name: `shared/${name}/${size}`, unit: "GB/s", peerName, target, needs: "python" },
    async prepare(bench, quick) {
      const shape = shapeOf(SIZES[size], coldBytes(quick));
      const spec = { kind: "memory", ...shape };
      const [{ uri }, flight] = [await serveOurs(bench, { ...spec, share: true }), await serveFlight(bench, spec)];
      await bench.fetch("client", { do: "verify", uri, shape, times: 1 });
      const figure = (fetched: Fetched): Measured =>
        action === "sum" ? summed(fetched, shape) : rate(checkTotals(fetched, shape));
      return {
        ours: async () => figure(await bench.fetch("client", { do: action, uri })),
        peer: async () => figure(await bench.fetch("flight-client", { do: action, ...flight })),
        close: () => serveNothing(bench),
      };
    },
  };
}

/** The same loop over memory of the client's own. */
const summedPrivate: Comparison = {
  ...{ name: "shared/summed/1MiB/private", unit: "GB/s", peerName: "the same loop over private memory", target: 0.9 },
  needs: null,
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick));
    const { uri } = await serveOurs(bench, { kind: "memory", ...shape, share: true });
    return {
      ours: async () => summed(await bench.fetch("client", { do: "sum", uri }), shape),
      peer: async () => summed(await bench.fetch("client", { do: "sum-kept", uri }), shape),
      async close() {
        await bench.call("client", { do: "forget" });
        await serveNothing(bench);
      },
    };
  },
};

/** Against a program that reads a file of the same batches, which it maps anew each time. */
const summedMapped: Comparison = {
  ...{ name: "shared/summed/mmap", unit: "GB/s", peerName: "pyarrow, Arrow file mapped", target: 1, needs: "python" },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick));
    const path = `${bench.folder}/data.arrow`;
    await bench.call("flight-server", { do: "write-file", path, ...shape });
    const { uri } = await serveOurs(bench, { kind: "memory", ...shape, share: true });
    return {
      ours: async () => summed(await bench.fetch("client", { do: "sum", uri }), shape),
      peer: async () => summed(await bench.fetch("flight-client", { do: "sum-file", path }), shape),
      async close() {
        await serveNothing(bench);
        await Deno.remove(path);
      },
    };
  },
};

const clients: Comparison = {
  ...{ name: "shared/clients/4x1MiB", unit: "GB/s", peerName: "pyarrow Flight DoGet, 4 clients", target: 4 },
  needs: "python",
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick) / 4);
    const spec = { kind: "memory", ...shape };
    const free = { pinned: false };
    const [{ uri }, flight] = [
      await serveOurs(bench, { ...spec, share: true }, free),
      await serveFlight(bench, spec, free),
    ];
    const all = (role: "client" | "flight-client", command: Record<string, unknown>) =>
      concurrently(bench, role, Array(4).fill(command), shape);
    return {
      ours: () => all("client", { do: "sum", uri }),
      peer: () => all("flight-client", { do: "sum", ...flight }),
      close: () => serveNothing(bench, free),
    };
  },
};

/** The comparisons. */
export const SHARED: readonly Comparison[] = [
  compare("hand", "64KiB", { target: 10, action: "read" }),
  compare("hand", "1MiB", { target: 30, action: "read" }),
  compare("hand", "16MiB", { target: 200, action: "read" }),
  compare("hand", "64MiB", { target: 500, action: "read" }),
  compare("summed", "1MiB", { target: 4, action: "sum" }),
  compare("summed", "16MiB", { target: 4, action: "sum" }),
  summedPrivate,
  summedMapped,
  compare("keep", "1MiB", { target: 20, action: "keep" }),
  clients,
];
