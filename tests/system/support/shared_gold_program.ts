/**
 * Serves files in shared memory, however small their bodies are, reads each of them, and writes what it has read.
 *
 *     shared_gold_program.ts '[{"name": "…", "path": "…", "target": "…"}]' held|streamed mapped|key|sent
 *
 * Bodies are read in memory that is mapped, by a remote key, or they are sent. Prints one line with the bytes that were read in the
 * server's memory, those that were received, and why they were not read, or not mapped.
 *
 * @module
 */
import { connect, openPath, resident, type Servable, serve } from "../../../mod.ts";

const files = JSON.parse(Deno.args[0]) as { name: string; path: string; target: string }[];
const [, how, way] = Deno.args;
const datasets: Record<string, Servable> = {};
for (const { name, path } of files) {
  const source = await openPath(path);
  datasets[name] = { source: how === "held" ? await resident(source) : source, share: true };
}
await using server = await serve({
  datasets,
  sharing: { minBodyBytes: 0, arenaBytes: 1 << 20, remoteKeys: way === "key" },
});
let shared = 0, received = 0;
const reasons = new Set<string>();
for (const { name, target } of files) {
  const [uri] = server.datasets.find((each) => each.name === name)!.uris;
  await using reader = await connect(way === "key" ? uri.replace(/&share=[^&]*/, "") : uri, {
    share: way !== "sent",
    remoteKeys: way === "key",
  });
  const file = await Deno.open(target, { write: true, create: true });
  await reader.toReadableStream().pipeTo(file.writable);
  const { sharedBytes, bodyBytes, sharingReason } = reader.stats;
  reasons.add(sharingReason!);
  shared += sharedBytes;
  received += bodyBytes - sharedBytes;
}
console.log(JSON.stringify({ shared, received, reasons: [...reasons] }));
