/**
 * What a server and a client with much to do still do for others: a small read beside large streams, a timer, two hundred clients
 * at once, and clients that stand still.
 *
 * @module
 */
import type { Comparison, Measured } from "./compare.ts";
import { shapeOf } from "./data.ts";
import { GiB, KiB, MiB, serveFlight, serveNothing, serveOurs } from "./serving.ts";
import { percentile } from "./stats.ts";
import type { Workbench } from "./workbench.ts";

/** Streams that keep both isolates busy. */
const STREAMS = 4;

/** What the client reports of small reads beside streams. */
interface Fair {
  /** Time of each small read, in milliseconds. */
  readonly samples: number[];
  /** What the streams carried meanwhile, in GB/s. */
  readonly rate: number;
}

/** A server with large and small data; `measure` has the client read them. */
async function fairServer(bench: Workbench) {
  const [large, small] = [shapeOf(MiB, GiB / 4), shapeOf(64 * KiB, 64 * KiB)];
  const datasets = [
    { name: "large", kind: "repeat", ...large, times: 1000 },
    { name: "small", kind: "memory", times: 1, ...small },
  ];
  const { uris, flight } = await bench.call("server", { do: "serve", datasets });
  const uri = (uris as Record<string, string>).large;
  const measure = async (streams: number, reads: number, seconds: number): Promise<Fair> => {
    const { samples, rate } = await bench.call("client", { do: "fair", uri, flight, streams, reads, seconds });
    return { samples: samples as number[], rate: rate as number };
  };
  return { measure, close: () => serveNothing(bench) };
}

/** Small reads by Flight, with and without streams by UCX in the same two isolates. */
const flightSmall: Comparison = {
  ...{ name: "fair/flight-small", unit: "ms", peerName: "the same read alone", target: 0.1, needs: null },
  async prepare(bench, quick) {
    const { measure, close } = await fairServer(bench);
    const reads = quick ? 50 : 200;
    const p99 = ({ samples }: Fair): Measured => ({ value: percentile(samples, 99) });
    return {
      ours: async () => p99(await measure(STREAMS, reads, 0)),
      peer: async () => p99(await measure(0, reads, 0)),
      close,
    };
  },
};

/** Streams by UCX, with and without small reads by Flight beside them. */
const ucxBeside: Comparison = {
  ...{ name: "fair/ucx", unit: "GB/s", peerName: "without the small reads", target: 0.95, needs: null },
  async prepare(bench, quick) {
    const { measure, close } = await fairServer(bench);
    const seconds = quick ? 0.5 : 2;
    return {
      // One small read every 20 ms.
      ours: async () => ({ value: (await measure(STREAMS, Math.round(seconds * 50), seconds)).rate }),
      peer: async () => ({ value: (await measure(STREAMS, 0, seconds)).rate }),
      close,
    };
  },
};

/** The longest gaps of a timer of 10 ms in a server that sends four streams, and in one that does nothing. */
const timer: Comparison = {
  ...{ name: "fair/timer-10ms", unit: "ms", peerName: "in an idle server", target: null, needs: null },
  async prepare(bench, quick) {
    const { measure, close } = await fairServer(bench);
    const seconds = quick ? 1 : 3;
    const gaps = async (streams: number): Promise<Measured> => {
      const reading = streams === 0 ? null : measure(streams, 0, seconds + 1);
      // Connections are made at the beginning.
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { samples } = await bench.call("server", { do: "timer", seconds });
      await reading;
      return { value: percentile(samples as number[], 99) };
    };
    return { ours: () => gaps(STREAMS), peer: () => gaps(0), close };
  },
};

/** Many clients at once, in four processes: the time until the last one has its data. */
function burst(name: string, route: "flight" | "ucx"): Comparison {
  return {
    ...{ name, unit: "ms", peerName: "pyarrow Flight server, the same clients", target: 1, needs: "python" },
    async prepare(bench) {
      const spec = { kind: "memory", ...shapeOf(64 * KiB, 64 * KiB) };
      const free = { pinned: false };
      const [{ uri, flight }, { port }] = [await serveOurs(bench, spec, free), await serveFlight(bench, spec, free)];
      const variants = [1, 2, 3, 4].map((index) => ({ index, pinned: false }));
      const run = async (uri: string): Promise<Measured> => {
        for (const variant of variants) await bench.agent("client", variant);
        const command = { do: "burst", uri, count: 50 };
        const all = await Promise.all(variants.map((variant) => bench.call("client", command, variant)));
        const [started, ended] = ["started", "ended"].map((key) => all.map((each) => each[key] as number));
        return { value: (Math.max(...ended) - Math.min(...started)) * 1000 };
      };
      return {
        ours: () => run(route === "ucx" ? uri : `${flight}/data`),
        peer: () => run(`grpc://127.0.0.1:${port}/data`),
        close: () => serveNothing(bench, free),
      };
    },
  };
}

/** What 256 clients cost that have connected, read one batch and stand still; next to a server without clients. */
const idle: Comparison = {
  ...{ name: "idle/256", unit: "MiB", peerName: "the same server without clients", target: null, needs: null },
  async prepare(bench) {
    const variant = { index: 3, pinned: false };
    const spec = { kind: "memory", ...shapeOf(64 * KiB, MiB) };
    const { uri } = await serveOurs(bench, spec, variant);
    const resident = async (): Promise<Measured> => {
      const { residentMiB } = await bench.call("server", { do: "resident" }, variant);
      return { value: residentMiB as number };
    };
    return {
      async ours() {
        await bench.call("client", { do: "hold", uris: [uri], count: 256 });
        const measured = await resident();
        await bench.call("client", { do: "let-go" });
        return measured;
      },
      peer: resident,
      close: async () => void await bench.call("server", { do: "serve", datasets: [] }, variant),
    };
  },
};

/** In the order in which they run and are printed. */
export const UNDER_LOAD: readonly Comparison[] = [
  flightSmall,
  ucxBeside,
  timer,
  burst("burst/200", "flight"),
  burst("burst/200/ucx", "ucx"),
  idle,
].map((comparison) => ({ ...comparison, isLong: true }));
