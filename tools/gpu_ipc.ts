/**
 * Serves a dataset from the memory of a GPU, has another process read it in place by CUDA IPC, and compares what the CPU finds
 * there. Ends with status 77 if the driver refuses to share memory, and 1 if anything is wrong.
 *
 *     deno run -A tools/gpu_ipc.ts
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { serve } from "../mod.ts";
import { connectCuda, releaseDevices } from "../cuda.ts";

const SKIPPED = 77;
const MEMORY = "cuda:0";
/** Values of the dataset, 64 MiB in batches of one size. */
const ROWS = 1 << 20, BATCHES = 8;

async function serveInThis(): Promise<number> {
  const batches = Array.from({ length: BATCHES }, (_, number) => {
    const value = Float64Array.from({ length: ROWS }, (_, row) => number + row / ROWS);
    return tableFromArrays({ value }).batches[0];
  });
  await using server = await serve({ datasets: { d: { source: batches, memory: MEMORY, share: true } } });
  const [{ uris, sharingReason }] = server.datasets;
  if (sharingReason !== "") {
    console.log(`SKIPPED: ${sharingReason}`);
    return SKIPPED;
  }
  const args = ["run", "-A", "--quiet", "--no-prompt", "--cached-only", "--no-check", import.meta.filename!, uris[0]];
  const { code } = await new Deno.Command(Deno.execPath(), { args, stdout: "inherit", stderr: "inherit" }).output();
  return code;
}

/** The other process: reads twice, the second time without the CPU, for a figure. */
async function readFrom(uri: string): Promise<number> {
  const stream = await connectCuda(uri, { memory: MEMORY });
  let wrong = 0, number = 0;
  for await (using batch of stream) {
    using host = await batch.toHost();
    const values = host.getChildAt(0)!.toArray() as Float64Array;
    for (let row = 0; row < ROWS; row++) if (values[row] !== number + row / ROWS) wrong++;
    number++;
  }
  const { sharedBytes, bodyBytes, sharingReason } = stream.stats;
  if (wrong > 0 || number !== BATCHES || sharedBytes !== bodyBytes) {
    console.error(
      `${wrong} values of ${number} batches are wrong, ${sharedBytes} of ${bodyBytes} bytes in place: ${sharingReason}`,
    );
    return 1;
  }
  const start = performance.now();
  for await (using again of await connectCuda(uri, { memory: MEMORY })) await again.ready();
  const ms = performance.now() - start;
  console.log(
    `${number} batches, ${sharedBytes} bytes in place, all values right; again without the CPU: ${ms.toFixed(1)} ms`,
  );
  return 0;
}

const [uri] = Deno.args;
const status = uri === undefined ? await serveInThis() : await readFrom(uri);
await releaseDevices();
Deno.exit(status);
