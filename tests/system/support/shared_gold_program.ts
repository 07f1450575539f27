/**
 * Serves files in shared memory, however small their bodies are, reads each of them in place, and writes what it has read.
 *
 *     shared_gold_program.ts '[{"name": "…", "path": "…", "target": "…"}]' held|streamed
 *
 * Prints one line with the bytes that were read in place, and those that were received.
 *
 * @module
 */
import { connect, openPath, resident, type Servable, serve } from "../../../mod.ts";

const files = JSON.parse(Deno.args[0]) as { name: string; path: string; target: string }[];
const datasets: Record<string, Servable> = {};
for (const { name, path } of files) {
  const source = await openPath(path);
  datasets[name] = { source: Deno.args[1] === "held" ? await resident(source) : source, share: true };
}
await using server = await serve({ datasets, sharing: { minBodyBytes: 0, arenaBytes: 1 << 20 } });
let shared = 0, received = 0;
for (const { name, target } of files) {
  await using reader = await connect(server.datasets.find((each) => each.name === name)!.uris[0]);
  const file = await Deno.open(target, { write: true, create: true });
  await reader.toReadableStream().pipeTo(file.writable);
  const { sharedBytes, bodyBytes } = reader.stats;
  shared += sharedBytes;
  received += bodyBytes - sharedBytes;
}
console.log(JSON.stringify({ shared, received, sharing: server.sharing }));
