/**
 * Devices for tests, closed and looked over at the end.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openLibcuda } from "../../../ffi/cuda.ts";
import type { Gpu, GpuOptions } from "../../../src/memory/cuda/device.ts";
import { CudaDriver, openCuda } from "../../../src/memory/cuda/driver.ts";
import { cuda, type SimulatorControl } from "../../support/cuda_sim.ts";

/** The driver that tests run on. */
export function testDriver(): CudaDriver {
  return openCuda({ library: cuda!.library });
}

/** The same driver, initialised anew: nothing of it is known from before. */
export function freshDriver(): CudaDriver {
  return new CudaDriver(openLibcuda(cuda!.library));
}

/** Sees to it that nothing is left and nothing was complained of, on the simulated driver. */
export function assertClean(control: SimulatorControl | null): void {
  if (control === null) return;
  assertEquals(control.complaints, []);
  const { unseen: _, ...all } = control.all;
  const nothing = {
    allocations: 0,
    bytes: 0,
    imports: 0,
    pinned: 0,
    pinnedBytes: 0,
    streams: 0,
    events: 0,
    contexts: 0,
  };
  assertEquals(all, nothing);
  assertEquals(control.depth, 0);
}

/** Takes away what a failed device left in the simulated driver. */
export function wipe(control: SimulatorControl): void {
  control.clear();
  const driver = freshDriver();
  while (control.live("contexts") > 0) {
    for (let i = 0; i < driver.deviceCount; i++) driver.symbols.cuDevicePrimaryCtxRelease_v2(i);
  }
  const out = new BigUint64Array(1);
  while (control.depth > 0) driver.symbols.cuCtxPopCurrent_v2(out);
  control.clear();
  control.setDelay(1);
}

/** A device, with nothing of an earlier test left in the simulated driver. */
export function openTestDevice(options: GpuOptions = {}, ordinal = 0): Gpu {
  if (cuda!.control !== null) wipe(cuda!.control);
  return testDriver().openDevice(ordinal, options);
}

/** Runs a test with a device that is closed at its end; nothing may be left then. */
export async function withDevice(
  run: (device: Gpu, control: SimulatorControl | null) => void | Promise<void>,
  options: GpuOptions = {},
  ordinal = 0,
): Promise<void> {
  const { control } = cuda!;
  const device = openTestDevice(options, ordinal);
  try {
    await run(device, control);
  } finally {
    // What a test has left under way under a long delay would keep the device from closing.
    if (control !== null) device.withContext(() => device.symbols.cuCtxSynchronize());
    await device.close();
    control?.setDelay(1);
  }
  assertEquals([device.pool.stats.allocatedBytes, device.pinned.stats.allocatedBytes], [0, 0]);
  assertClean(control);
}

/** Compares bytes, and tells the first that differs: printing megabytes of them would take minutes. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, what = "bytes"): void {
  assertEquals(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`${what}: byte ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

/** Bytes that differ from place to place. */
export function pattern(byteLength: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  let state = seed * 2654435761 >>> 0;
  for (let i = 0; i < byteLength; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
