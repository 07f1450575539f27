/**
 * Prints one line about the GPUs of this machine and their driver; fails if there is none.
 *
 * @module
 */
import { DipcError } from "../src/errors.ts";
import { openCuda } from "../src/memory/cuda/driver.ts";

try {
  const driver = openCuda();
  const names = driver.devices().map(({ name, memoryBytes }) => `${name} (${Math.round(memoryBytes / 2 ** 30)} GiB)`);
  if (names.length === 0) throw new DipcError("unsupported", "the driver shows no GPU");
  console.log(`${names.join(", ")}, driver for CUDA ${driver.version}`);
} catch (error) {
  if (!(error instanceof DipcError)) throw error;
  console.error(error.message);
  Deno.exit(3);
}
