/**
 * A server for tests, in a process of its own, that tells what it holds.
 *
 *     server_program.ts '{"datasets": {"name": {"batches": 10, "rows": 1000}}, "options": {…}}'
 *
 * The first line of its output is like that of `dipc serve --json`. To the line `stats` on standard input it answers
 * with one line: the server's counters, the pool's, and its open descriptors.
 *
 * @module
 */
import { type Servable, serve, type ServeOptions } from "../../mod.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { generated, resident } from "./generated.ts";
import { descriptorCount, descriptors } from "./proc.ts";
import { wideTable } from "./wide_table.ts";

interface Settings {
  /**
   * A path, batches that are made while they are read or held in memory (`resident`), or a table of columns × rows; `share`: clients
   * may read it in place.
   */
  datasets: Record<
    string,
    | { batches: number; rows: number; resident?: boolean; share?: boolean }
    | { path: string; share: boolean }
    | { table: [number, number] }
    | string
  >;
  options?: Partial<ServeOptions>;
}

function make(value: Settings["datasets"][string]): Servable {
  if (typeof value === "string") return value;
  if ("table" in value) return wideTable(...value.table);
  if ("path" in value) return { source: value.path, share: value.share };
  const source = (value.resident ? resident : generated)(value.batches, value.rows);
  return value.share ? { source, share: true } : source;
}

const { datasets, options } = JSON.parse(Deno.args[0]) as Settings;
const server = await serve({
  ...options,
  datasets: Object.fromEntries(Object.entries(datasets).map(([name, value]) => [name, make(value)])),
});
const errors: string[] = [];
server.addEventListener("error", (event) => {
  const { error } = (event as CustomEvent).detail;
  errors.push(`${error?.code}: ${error?.message}`);
});
console.log(JSON.stringify({
  pid: Deno.pid,
  address: server.address,
  port: server.port,
  datasets: server.datasets.map(({ name, uris }) => ({ name, uris })),
  flight: server.flight?.location,
}));

for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  if (!line.includes("stats")) continue;
  console.log(JSON.stringify({
    server: server.stats,
    sharing: server.sharing,
    pool: hostPool().stats,
    descriptors: descriptorCount("self"),
    open: descriptors("self"),
    errors: errors.slice(-5),
  }));
}
await server.shutdown({ timeoutMs: 1000 });
