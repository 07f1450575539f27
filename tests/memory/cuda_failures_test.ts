/** Failures of the driver at each of its calls: an error that says so, or a right result; nothing left, nothing pending. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import type { DeviceBlock } from "../../src/memory/cuda/device_block.ts";
import { assertBytes, assertClean, freshDriver, pattern, wipe } from "./support/cuda_devices.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";

libc(); // opened once and for all, not by a single test

const BYTES = 300_000;
const DATA = pattern(BYTES);

/** Everything that a stream does with a device, from opening the driver to closing the device. */
async function scenario(): Promise<void> {
  const driver = freshDriver();
  const device = driver.openDevice("cuda:0", { pool: { maxRetainedBytes: 1 << 20 } });
  const blocks: DeviceBlock[] = [];
  try {
    device.memory();
    for (let i = 0; i < 2; i++) blocks.push(device.pool.acquire(BYTES));
    const [first, second] = blocks;
    await device.copies.upload(first.address, DATA, { chunkBytes: 100_000, uses: [first] });
    device.checkRange(first.address, BYTES, "the first block");
    const across = device.copies.copyOnDevice(second.address, first.address, BYTES, { uses: [first, second] });
    const back = new Uint8Array(BYTES);
    await device.copies.download(back, second.address, { after: [across], uses: [second], chunkBytes: 100_000 });
    assertBytes(back, DATA);
    await device.eventOf({ stream: 0n }).done();
  } finally {
    for (const block of blocks) block.release();
    await device.close();
  }
}

/** A bound that only a wait without end would reach. */
function bounded<T>(promise: Promise<T>): Promise<T> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), 20_000) as unknown as number;
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

testNeeding([needsSimulator], "device failures: one at each call is reported, and leaves nothing behind", async () => {
  const control = cuda!.control!;
  wipe(control);
  const before = control.calls;
  await scenario();
  const calls = control.calls - before;
  assertClean(control);
  assert(calls > 100, `only ${calls} calls`);
  let failed = 0;
  for (const result of [2, 719]) {
    for (let n = 1; n <= calls; n++) {
      control.failAfter(n, result);
      try {
        await bounded(scenario());
      } catch (error) {
        assert(error instanceof DipcError, `call ${n}: ${error}`);
        assertMatch(
          error.message,
          /the CUDA driver reports CUDA_ERROR_(OUT_OF_MEMORY|LAUNCH_FAILED) \(\d+\)/,
          `call ${n}`,
        );
        assertEquals([error.foreign?.system, error.foreign?.status], ["cuda", result], `call ${n}`);
        failed++;
      }
      control.failAfter(0, 0);
      try {
        assertClean(control);
      } catch (error) {
        throw new Error(`after failure ${result} at call ${n} of ${calls}: ${(error as Error).message}`);
      }
    }
  }
  // Giving back is tried twice, and much of what a device is asked may be unknown: those are not errors.
  assert(failed > calls, `${failed} of ${2 * calls}`);
});

testNeeding(
  [needsSimulator],
  "device failures: a driver that fails permanently is reported, and nothing hangs",
  async () => {
    const control = cuda!.control!;
    wipe(control);
    const before = control.calls;
    await scenario();
    const calls = control.calls - before;
    for (let n = 1; n <= calls; n += 3) {
      control.failAfter(n, 700, true);
      const error = await bounded(scenario()).then(() => null, (error) => error);
      assert(error instanceof DipcError, `call ${n}: ${error}`);
      assertEquals(error.foreign?.status, 700, `call ${n}: ${error.message}`);
      wipe(control);
    }
  },
);

testNeeding([needsSimulator], "device failures: what a device never asks again does not fail the next", async () => {
  const control = cuda!.control!;
  wipe(control);
  await scenario();
  assertClean(control);
});
