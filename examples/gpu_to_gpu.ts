/**
 * Serves columns from the memory of a GPU and reads them into the memory of a GPU, in one process here; usually two.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBCUDA,DIPC_LIBUCP,HOME,XDG_CACHE_HOME examples/gpu_to_gpu.ts
 * ```
 *
 * @module
 */
import { DipcError, serve } from "@arrow-ucx/dipc";
import { connectCuda, releaseDevices } from "@arrow-ucx/dipc/cuda";
import { tableFromArrays } from "apache-arrow";

const rows = 1_000_000;
const table = tableFromArrays({ x: Float64Array.from({ length: rows }, (_, i) => i / 2) });

try {
  // Copied to the GPU once; every client is served from there.
  await using server = await serve({ datasets: { numbers: { source: table, memory: "cuda:0" } } });
  const [{ uris, staged, stagingReason }] = server.datasets;
  console.log(`serving from cuda:0, ${staged ? "staged" : "direct"}: ${stagingReason}`);

  await using stream = await connectCuda(uris, { memory: "cuda:0" });
  for await (using batch of stream) {
    await batch.ready(); // before anything reads the values
    const x = batch.column("x")!;
    console.log(`${x.length} values at device address 0x${x.data!.address.toString(16)}, ${x.data!.byteLength} bytes`);
    // A kernel would be given the address. Here the values come back to the host, by one copy.
    using host = await batch.toHost();
    console.log(`the last one is ${host.getChild("x")!.get(rows - 1)}`);
  }
  console.log(`${stream.stats.rows} rows into ${stream.stats.memory}, ${stream.stats.staged ? "staged" : "direct"}`);
} catch (error) {
  if (!(error instanceof DipcError) || error.code !== "library_not_found") throw error;
  console.log(`no GPU here: ${error.message.split("\n")[0]}`);
}
await releaseDevices();
