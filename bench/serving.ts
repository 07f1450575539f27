/**
 * What the comparisons have in common: data sets on both servers, and figures of a fetch.
 *
 * @module
 */
import type { Measured } from "./compare.ts";
import { type Shape, totalBytes } from "./data.ts";
import type { AgentVariant, Fetched, Workbench } from "./workbench.ts";

/** Units of bytes. */
export const KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

/** Data of one run of the cold figures. */
export const coldBytes = (quick: boolean) => quick ? GiB / 4 : GiB;

/**
 * Checks that a fetch brought everything.
 *
 * @throws {Error} if it did not
 */
export function checkTotals(fetched: Fetched, shape: Shape, times = 1): Fetched {
  const rows = shape.rows * shape.batches * times;
  const bytes = totalBytes(shape) * times;
  if (fetched.rows !== rows || fetched.bytes !== bytes) {
    throw new Error(`got ${fetched.rows} rows and ${fetched.bytes} bytes, expected ${rows} and ${bytes}`);
  }
  return fetched;
}

/** GB/s, in units of 10⁹ bytes. */
export function rate(fetched: Fetched): Measured {
  return { value: fetched.bytes / fetched.seconds / 1e9, transports: fetched.transports };
}

/** Serves one data set from our server; answers its URIs, the UCX settings that the server has, and its Flight location. */
export async function serveOurs(
  bench: Workbench,
  spec: Record<string, unknown>,
  variant?: AgentVariant,
  isolates = 1,
): Promise<{ uri: string; uris: string[]; settings: Record<string, string>; flight: string }> {
  const datasets = [{ name: "data", times: 1, ...spec }];
  const answer = await bench.call("server", { do: "serve", datasets, isolates }, variant);
  return {
    uri: (answer.uris as Record<string, string>).data,
    uris: (answer.all as Record<string, string[]>).data,
    settings: answer.settings as Record<string, string>,
    flight: answer.flight as string,
  };
}

/** The same from the Flight server; answers what its clients need to fetch it. */
export async function serveFlight(bench: Workbench, spec: Record<string, unknown>, variant?: AgentVariant) {
  const { port } = await bench.call("flight-server", { do: "serve", datasets: [{ name: "data", ...spec }] }, variant);
  return { port: port as number, name: "data" };
}

/**
 * Several clients at once, none of the processes pinned; the rate counts from the first start to the last end.
 *
 * @param commands The command of each client
 * @param shape What each must get
 * @param variant How the clients are started
 */
export async function concurrently(
  bench: Workbench,
  role: "client" | "flight-client",
  commands: readonly Record<string, unknown>[],
  shape: Shape,
  variant: AgentVariant = {},
): Promise<Measured> {
  const variants = commands.map((_, i) => ({ ...variant, index: i + 1, pinned: false }));
  for (const variant of variants) await bench.agent(role, variant);
  const fetched = await Promise.all(commands.map((command, i) => bench.fetch(role, command, variants[i])));
  for (const one of fetched) checkTotals(one, shape);
  const seconds = Math.max(...fetched.map(({ ended }) => ended)) - Math.min(...fetched.map(({ started }) => started));
  return { value: commands.length * totalBytes(shape) / seconds / 1e9, transports: fetched[0].transports };
}

/** Takes the data sets from both servers. */
export async function serveNothing(bench: Workbench, variant?: AgentVariant): Promise<void> {
  await bench.call("server", { do: "serve", datasets: [] }, variant);
  if (bench.tools.python) await bench.call("flight-server", { do: "serve", datasets: [] }, { pinned: variant?.pinned });
}
