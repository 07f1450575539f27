/**
 * DoGet from our server, to our client and both, next to pyarrow's server and client with each other; and the UCX route of the
 * same servers, as `connect` with a Flight URI takes it.
 *
 * @module
 */
import type { Comparison } from "./compare.ts";
import { shapeOf } from "./data.ts";
import { checkTotals, GiB, MiB, rate, serveFlight, serveNothing, serveOurs } from "./serving.ts";
import type { Fetched, Workbench } from "./workbench.ts";

/** Both servers, with the same data. */
interface Servers {
  /** Location of ours. */
  ours: string;
  /** Port of pyarrow's, and the ticket. */
  peer: { port: number; name: string };
}

/** One comparison with pyarrow's server and client. */
function flight(
  name: string,
  target: number | null,
  fetch: (bench: Workbench, servers: Servers) => Promise<Fetched>,
): Comparison {
  return {
    ...{ name: `flight/${name}/1MiB`, unit: "GB/s", peerName: "pyarrow Flight, both ends", target, needs: "python" },
    async prepare(bench, quick) {
      const shape = shapeOf(MiB, quick ? GiB / 8 : GiB);
      const spec = { kind: "memory", ...shape };
      const [{ flight: ours }, peer] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
      const servers = { ours, peer };
      for (const route of ["flight", "ucx"]) {
        await bench.fetch("client", {
          do: "verify",
          uri: ours,
          options: { flight: { path: "data" }, route },
          shape,
          times: 1,
        });
      }
      return {
        ours: async () => rate(checkTotals(await fetch(bench, servers), shape)),
        peer: async () => rate(checkTotals(await bench.fetch("flight-client", { do: "read", ...peer }), shape)),
        close: () => serveNothing(bench),
      };
    },
  };
}

const portOf = (location: string): number => Number(location.slice(location.lastIndexOf(":") + 1));

/** In the order in which they run and are printed. */
export const FLIGHT: readonly Comparison[] = [
  flight(
    "to-pyarrow",
    0.15,
    (bench, { ours }) => bench.fetch("flight-client", { do: "read", port: portOf(ours), path: "data" }),
  ),
  flight(
    "from-pyarrow",
    0.15,
    (bench, { peer: { port, name } }) =>
      bench.fetch("client", { do: "read", uri: `grpc://127.0.0.1:${port}`, options: { ticket: name } }),
  ),
  flight(
    "ours",
    null,
    (bench, { ours }) =>
      bench.fetch("client", { do: "read", uri: ours, options: { flight: { path: "data" }, route: "flight" } }),
  ),
  flight(
    "ucx",
    3,
    (bench, { ours }) =>
      bench.fetch("client", { do: "read", uri: ours, options: { flight: { path: "data" }, route: "ucx" } }),
  ),
];
