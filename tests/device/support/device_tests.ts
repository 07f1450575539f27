/**
 * Tests of streams in device memory: on the simulated driver (or the machine's own), over UCX, with a check after each that
 * the driver has nothing to complain of and that everything went back to it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openGpu, releaseDevices } from "../../../src/device/devices.ts";
import { releaseTransports } from "../../../src/wire/ucx/shared.ts";
import { cuda, needsCuda } from "../../support/cuda_sim.ts";
import { type Need, needsUcx, testNeeding } from "../../support/needs.ts";

// Before any device is opened: the library is found once.
if (cuda !== null) Deno.env.set("DIPC_LIBCUDA", cuda.library);

/** Memory spaces to test with: one, or two if there are as many GPUs. */
export function deviceSpaces(): `cuda:${number}`[] {
  return openGpu("cuda:0").driver.deviceCount > 1 ? ["cuda:0", "cuda:1"] : ["cuda:0"];
}

/** Registers a test of device memory over UCX. */
export function deviceTest(
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
  needs: readonly Need[] = [],
): void {
  testNeeding([needsUcx, needsCuda, ...needs], name, async (t) => {
    const control = cuda!.control;
    control?.clear();
    try {
      await fn(t);
    } finally {
      await releaseTransports();
      await releaseDevices();
    }
    if (control === null) return;
    assertEquals(control.complaints, [], "complaints of the simulated driver");
    assertEquals(Object.entries(control.all).filter(([, count]) => count > 0), [], "left in the driver");
  });
}
