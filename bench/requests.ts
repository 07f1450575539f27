/**
 * What a request costs beside its data: the time to a first batch, with a connection and without, small queries one after
 * another, and the processor time of both ends.
 *
 * @module
 */
import type { Comparison, Measured } from "./compare.ts";
import { shapeOf } from "./data.ts";
import { checkTotals, GiB, KiB, MiB, serveFlight, serveNothing, serveOurs } from "./serving.ts";
import type { Role, Workbench } from "./workbench.ts";

/** The time to the first batch of a stream, with the connection that the last stream has left or with a new one. */
function firstBatch(name: string, peerName: string, isCold: boolean, target: number): Comparison {
  return {
    ...{ name, unit: "ms", peerName, target, needs: "python" },
    async prepare(bench, quick) {
      const spec = { kind: "memory", ...shapeOf(64 * KiB, 64 * KiB) };
      const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
      const command = { do: "first-batch", isCold, count: quick ? 10 : 40 };
      const figure = ({ samples }: Record<string, unknown>): Measured => {
        const times = samples as number[];
        return { value: times.toSorted((a, b) => a - b)[times.length >> 1], samples: times };
      };
      return {
        ours: async () => figure(await bench.call("client", { ...command, uri })),
        peer: async () => figure(await bench.call("flight-client", { ...command, ...flight })),
        close: () => serveNothing(bench),
      };
    },
  };
}

/** One request of ten rows after another. */
const smallQuery: Comparison = {
  ...{ name: "small-query", unit: "requests/s", peerName: "pyarrow Flight DoGet", target: 2, needs: "python" },
  async prepare(bench, quick) {
    const spec = { kind: "memory", rows: 10, batches: 1, columns: 4 };
    const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
    const count = quick ? 200 : 1_000;
    const figure = ({ seconds, rows }: Record<string, unknown>): Measured => {
      if (rows !== 10 * count) throw new Error(`got ${rows} rows, expected ${10 * count}`);
      return { value: count / (seconds as number) };
    };
    return {
      ours: async () => figure(await bench.call("client", { do: "small-query", uri, count })),
      peer: async () => figure(await bench.call("flight-client", { do: "small-query", ...flight, count })),
      close: () => serveNothing(bench),
    };
  },
};

/** Processor time of both ends, all threads, for each GB. */
function processorTime(name: string, share: boolean, target: number): Comparison {
  return {
    ...{ name, unit: "CPU s/GB", peerName: "pyarrow Flight DoGet", target, needs: "python" },
    async prepare(bench, quick) {
      const shape = shapeOf(MiB, GiB / 2);
      const times = quick ? 2 : 8;
      const spec = { kind: "memory", ...shape };
      const [{ uri }, flight] = [await serveOurs(bench, { ...spec, share }), await serveFlight(bench, spec)];
      const spent = async (bench: Workbench, roles: readonly Role[], command: Record<string, unknown>) => {
        const used = async (): Promise<number> => {
          let sum = 0;
          for (const role of roles) sum += (await bench.call(role, { do: "cpu" })).seconds as number;
          return sum;
        };
        const before = await used();
        let bytes = 0;
        for (let i = 0; i < times; i++) bytes += checkTotals(await bench.fetch(roles[1], command), shape).bytes;
        return { value: (await used() - before) / (bytes / 1e9) };
      };
      return {
        ours: () => spent(bench, ["server", "client"], { do: "read", uri }),
        peer: () => spent(bench, ["flight-server", "flight-client"], { do: "read", ...flight }),
        close: () => serveNothing(bench),
      };
    },
  };
}

/** In the order in which they run and are printed. */
export const REQUESTS: readonly Comparison[] = [
  firstBatch("first-batch", "pyarrow Flight DoGet, open client", false, 2),
  firstBatch("first-batch/cold", "pyarrow Flight DoGet, new client", true, 0.3),
  smallQuery,
  processorTime("cpu/1MiB", false, 4),
  processorTime("cpu/1MiB/shared", true, 50),
];
