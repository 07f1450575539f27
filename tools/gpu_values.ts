/**
 * Has a program that is not ours (CuPy, PyTorch or Numba) compare the values of batches that dipc has received into the
 * memory of a GPU, staged and not. If none of them is there, it says so and ends with status 77.
 *
 *     deno run -A tools/gpu_values.ts
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { DipcError, serve } from "../mod.ts";
import { connectCuda, releaseDevices } from "../cuda.ts";
import { openGpu } from "../src/device/devices.ts";
import { REPOSITORY } from "./repository.ts";

/** Exit status of a check that could not be made, as in many test suites. */
const SKIPPED = 77;
const ROWS = 1 << 20;
const SCRIPT = `${REPOSITORY}/tests/python/gpu_values.py`;
const MEMORY = "cuda:0";

function skip(why: string): never {
  console.log(`SKIPPED: the values were not compared by another program: ${why}`);
  Deno.exit(SKIPPED);
}

/** The libraries that work here. */
async function probe(python: string): Promise<string[]> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(python, { args: [SCRIPT, "--probe"] }).output();
    if (!success) skip(`${python} ${SCRIPT} --probe failed: ${new TextDecoder().decode(stderr)}`);
    return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
  } catch (error) {
    skip(`${python} cannot be run: ${(error as Error).message}`);
  }
}

const python = Deno.env.get("DIPC_GPU_PYTHON") ?? "python3";
const libraries = await probe(python);
if (libraries.length === 0) skip(`${python} has neither CuPy nor PyTorch nor Numba with a GPU`);

const [first, step] = [0.25, 1.5];
const table = tableFromArrays({ value: Float64Array.from({ length: ROWS }, (_, i) => first + step * i) });
let failed = 0;
for (const library of libraries) {
  const child = new Deno.Command(python, {
    args: [SCRIPT, library],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  })
    .spawn();
  const writer = child.stdin.getWriter();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  for (const staging of ["auto", "always"] as const) {
    await using server = await serve({ datasets: { d: { source: table, memory: MEMORY } }, staging });
    await using stream = await connectCuda(server.datasets[0].uris, { memory: MEMORY, staging });
    const device = openGpu(MEMORY);
    for await (using batch of stream) {
      await batch.ready();
      const { data } = batch.columns[0];
      const { rangeAddress } = device.describePointer(data!.address);
      const handle = new Uint8Array(64);
      const result = device.withContext(() => device.symbols.cuIpcGetMemHandle(handle, rangeAddress));
      device.driver.check(result, "sharing a batch with another process");
      const task = {
        handle: btoa(String.fromCharCode(...handle)),
        offset: Number(data!.address - rangeAddress),
        rows: ROWS,
        first,
        step,
      };
      await writer.write(new TextEncoder().encode(`${JSON.stringify(task)}\n`));
      const { value } = await lines.next();
      const answer = JSON.parse(value ?? '{"error":"it ended without an answer"}');
      const where = `${library}, ${stream.stats.staged ? "staged" : "direct"}`;
      if (answer.ok) {
        console.log(`${where}: ${ROWS} values are right, sum ${answer.sum}`);
      } else {
        console.error(`${where}: ${answer.error}`);
        failed++;
      }
    }
  }
  await writer.close();
  await child.status;
}
await releaseDevices().catch((error) => {
  if (!(error instanceof DipcError)) throw error;
  console.error(error.message);
  failed++;
});
Deno.exit(failed === 0 ? 0 : 1);
