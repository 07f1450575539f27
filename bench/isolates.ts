/**
 * Comparisons of our own ways to share an isolate: server beside client, and several streams at once.
 *
 * @module
 */
import type { Comparison } from "./compare.ts";
import { shapeOf } from "./data.ts";
import { checkTotals, coldBytes, concurrently, MiB, rate, serveNothing, serveOurs } from "./serving.ts";
import type { Fetched } from "./workbench.ts";

/** Server and client in one isolate, as in a first program or a test, against two processes. */
const oneProcess: Comparison = {
  ...{ name: "one-process/1MiB", unit: "GB/s", peerName: "the same in two processes", target: 0.5, needs: null },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick));
    const { uri } = await serveOurs(bench, { kind: "memory", ...shape });
    return {
      ours: async () => rate(checkTotals(await bench.fetch("client", { do: "one-process", shape }), shape)),
      peer: async () => rate(checkTotals(await bench.fetch("client", { do: "read", uri }), shape)),
      close: async () => {
        await bench.call("client", { do: "serve-nothing" });
        await serveNothing(bench);
      },
    };
  },
};

/** Four streams read by one isolate, against one stream. */
const streams: Comparison = {
  ...{ name: "streams/4x1MiB", unit: "GB/s", peerName: "one stream", target: 1, needs: null },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick) / 4);
    const whole = shapeOf(MiB, coldBytes(quick));
    const { uri } = await serveOurs(bench, { kind: "memory", ...shape });
    const sum = (all: readonly Fetched[]): Fetched => ({
      ...all[0],
      rows: all.reduce((rows, each) => rows + each.rows, 0),
      bytes: all.reduce((bytes, each) => bytes + each.bytes, 0),
      seconds: Math.max(...all.map(({ ended }) => ended)) - Math.min(...all.map(({ started }) => started)),
    });
    return {
      ours: async () => {
        const { streams } = await bench.call("client", { do: "read-many", uri, count: 4 });
        return rate(checkTotals(sum(streams as Fetched[]), shape, 4));
      },
      // As many bytes, one stream after the other.
      peer: async () => {
        const all: Fetched[] = [];
        for (let i = 0; i < 4; i++) all.push(await bench.fetch("client", { do: "read", uri }));
        const seconds = all.reduce((sum, each) => sum + each.seconds, 0);
        return rate(checkTotals({ ...sum(all), seconds }, whole));
      },
      close: () => serveNothing(bench),
    };
  },
};

/** Four clients of a server whose connections are held by two isolates, against one isolate. No process is pinned. */
const isolates: Comparison = {
  ...{ name: "isolates/2", unit: "GB/s", peerName: "the same from one isolate", target: 1.5, needs: null },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick) / 4);
    const spec = { kind: "memory", ...shape };
    const [two, one] = [{ index: 2, pinned: false }, { index: 1, pinned: false }];
    const { uris } = await serveOurs(bench, spec, two, 2);
    const { uri } = await serveOurs(bench, spec, one);
    const commands = [0, 1, 0, 1].map((first) => ({ do: "read", uri: [uris[first], uris[1 - first]] }));
    await bench.fetch("client", { do: "verify", uri: uris[0], shape, times: 1 });
    await bench.fetch("client", { do: "verify", uri: uris[1], shape, times: 1 });
    return {
      ours: () => concurrently(bench, "client", commands, shape),
      peer: () => concurrently(bench, "client", Array(4).fill({ do: "read", uri }), shape),
      close: async () => {
        for (const variant of [one, two]) await bench.call("server", { do: "serve", datasets: [] }, variant);
      },
    };
  },
};

/** In the order in which they run and are printed. */
export const ISOLATES: readonly Comparison[] = [oneProcess, streams, isolates];
