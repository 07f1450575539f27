/**
 * What pyarrow's Flight server serves, through our gateway to our client, next to the same to pyarrow's client by DoGet: for the first
 * one who reads a result, and for a second one while the gateway has it.
 *
 * @module
 */
import type { GatewayOptions } from "../flight.ts";
import type { Comparison } from "./compare.ts";
import { shapeOf } from "./data.ts";
import { checkTotals, coldBytes, MiB, rate, serveFlight } from "./serving.ts";

/** The gateway is a third process beside two that are pinned to the cores. */
const FREE = { pinned: false };
const KEEP_MS = 600_000;

function gateway(reader: "first" | "second", target: number): Comparison {
  return {
    ...{ name: `gateway/${reader}/1MiB`, unit: "GB/s", peerName: "pyarrow Flight, both ends", target, needs: "python" },
    async prepare(bench, quick) {
      const bytes = coldBytes(quick);
      const shape = shapeOf(MiB, bytes);
      const { port, name } = await serveFlight(bench, { kind: "memory", ...shape });
      const options: GatewayOptions = { engines: `grpc://127.0.0.1:${port}`, share: true };
      if (reader === "second") {
        options.oneFetch = { maxBytes: 2 * bytes, keepMs: KEEP_MS };
        options.sharing = { arenaBytes: bytes + bytes / 4 };
      }
      const { location } = await bench.call("gateway", { do: "serve", options }, FREE);
      const command = { uri: location, options: { flight: { path: name } } };
      await bench.fetch("client", { do: "verify", ...command, shape, times: 1 });
      return {
        ours: async () => rate(checkTotals(await bench.fetch("client", { do: "read", ...command }), shape)),
        peer: async () => rate(checkTotals(await bench.fetch("flight-client", { do: "read", port, name }), shape)),
        async close() {
          await bench.call("gateway", { do: "serve" }, FREE);
          await bench.call("flight-server", { do: "serve", datasets: [] });
        },
      };
    },
  };
}

/** The comparisons. */
export const GATEWAY: readonly Comparison[] = [gateway("first", 0.8), gateway("second", 2)];
