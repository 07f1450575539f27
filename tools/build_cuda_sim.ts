/**
 * Compiles the simulated CUDA driver and prints its path.
 *
 * @module
 */
import { buildSimulator } from "../tests/support/cuda_sim.ts";

const library = buildSimulator();
if (library === null) {
  console.error("the simulated driver needs a C compiler and NVIDIA's cuda.h: run `deno task setup`");
  Deno.exit(1);
}
console.log(library);
