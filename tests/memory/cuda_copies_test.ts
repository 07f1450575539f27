/** Copies to, from and within device memory, their events, and what the driver knows of an address. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { addressOf, libc } from "../../ffi/libc.ts";
import type { DipcErrorCode } from "../../src/errors.ts";
import type { Gpu } from "../../src/memory/cuda/device.ts";
import { DONE, FAILED, PENDING } from "../../src/memory/cuda/device_event.ts";
import { assertDipcError } from "../support/assert.ts";
import { assertBytes, assertClean, openTestDevice, pattern, testDriver, withDevice } from "./support/cuda_devices.ts";
import { cuda, needsCuda, needsSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";
import { seededRandom } from "../support/random.ts";

libc(); // opened once and for all, not by a single test

const MIB = 1 << 20;

function cudaTest(name: string, fn: () => void | Promise<void>): void {
  testNeeding([needsCuda], `device copies: ${name}`, fn);
}

/** A test of what only the simulated driver can be made to do. */
function simTest(name: string, fn: () => void | Promise<void>): void {
  testNeeding([needsSimulator], `device copies: ${name}`, fn);
}

async function contents(device: Gpu, address: bigint, byteLength: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  await device.copies.download(bytes, address);
  return bytes;
}

cudaTest("host memory of any kind and size arrives and comes back, in chunks of any size", async () => {
  const random = seededRandom();
  await withDevice(async (device) => {
    for (const size of [0, 1, 63, 64, 65, 4096, 100_003, 3 * MIB + 5, 20 * MIB]) {
      const bytes = pattern(size, size + 1);
      const block = device.pool.acquire(size);
      const chunkBytes = Math.max(1, Math.floor((0.05 + random.fraction()) * size)) || undefined;
      await device.copies.upload(block.address, bytes, { chunkBytes, uses: [block] });
      const back = new Uint8Array(size);
      await device.copies.download(back, block.address, { chunkBytes, uses: [block] });
      assertBytes(back, bytes, `${size} bytes in chunks of ${chunkBytes}`);
      if (size >= 65) {
        const range = { address: addressOf(bytes), byteLength: size };
        await device.copies.upload(block.address, range, { chunkBytes });
        back.fill(0);
        await device.copies.download({ address: addressOf(back), byteLength: size }, block.address, { chunkBytes });
        assertBytes(back, bytes, `${size} bytes by address`);
      }
      block.release();
    }
    assertEquals([device.copies.inFlight, device.pinned.stats.blocksOut], [0, 0]);
  });
});

cudaTest("a copy longer than what the driver is given at a time is whole", async () => {
  await withDevice(async (device) => {
    const size = 70 * MIB + 3;
    const [a, b] = [device.pool.acquire(size), device.pool.acquire(size)];
    const pinned = device.pinned.acquire(size);
    const bytes = pinned.bytes().subarray(0, size);
    bytes.fill(3);
    for (let i = 0; i < size; i += 4099) bytes[i] = i & 255;
    const copy = bytes.slice();
    const up = device.copies.copyToDevice(a.address, pinned.address, size, { uses: [a, pinned] });
    const across = device.copies.copyOnDevice(b.address, a.address, size, { after: [up], uses: [a, b] });
    await across.done();
    bytes.fill(0);
    await device.copies.copyToHost(pinned.address, b.address, size, { uses: [b, pinned] }).done();
    assert(libc().memcmp(addressOf(copy), pinned.address, BigInt(size)) === 0, `${size} bytes came back changed`);
    for (const block of [a, b, pinned]) block.release();
  });
});

cudaTest("copies in different directions keep the order that they are given", async () => {
  await withDevice(async (device, control) => {
    control?.setDelay(50);
    const size = 200_000;
    const [a, b] = [device.pool.acquire(size), device.pool.acquire(size)];
    const [source, target] = [device.pinned.acquire(size), device.pinned.acquire(size)];
    source.bytes().set(pattern(size));
    for (let round = 0; round < 20; round++) {
      const uses = [a, b, source, target];
      const cleared = device.copies.fill(a.address, round, size, { uses });
      const up = device.copies.copyToDevice(a.address, source.address, size - 100, { after: [cleared], uses });
      const across = device.copies.copyOnDevice(b.address, a.address, size, { after: [up], uses });
      const down = device.copies.copyToHost(target.address, b.address, size, { after: [across], uses });
      await down.done();
      const got = target.bytes().subarray(0, size);
      assertBytes(got.subarray(0, size - 100), pattern(size).subarray(0, size - 100));
      assertEquals([...new Set(got.subarray(size - 100))], [round]);
    }
    for (const block of [a, b, source, target]) block.release();
  });
});

cudaTest("a copy between two devices arrives", async () => {
  if (testDriver().deviceCount < 2) return console.log("SKIPPED: this machine has one GPU");
  await withDevice(async (device) => {
    const other = testDriver().openDevice(1);
    const [from, to] = [other.pool.acquire(1000), device.pool.acquire(1000)];
    await other.copies.upload(from.address, pattern(1000), { uses: [from] });
    await device.copies.copyFromDevice(to.address, other, from.address, 1000, { uses: [from, to] }).done();
    assertBytes(await contents(device, to.address, 1000), pattern(1000));
    from.release();
    to.release();
    await other.close();
  });
});

cudaTest("an event can be asked and waited for, also when it is done", async () => {
  await withDevice(async (device) => {
    const block = device.pool.acquire(MIB);
    const event = device.copies.fill(block.address, 1, MIB, { uses: [block] });
    await event.done();
    assertEquals([event.poll(), event.error, event.handle, event.isFinished()], [DONE, null, 0n, true]);
    await event.done({ signal: AbortSignal.abort(), timeoutMs: 0 });
    const nothing = device.copies.fill(block.address, 1, 0);
    await nothing.done();
    block.release();
  });
});

simTest("a wait gives the event loop its turns, and ends in time or on a signal", async () => {
  await withDevice(async (device, control) => {
    control!.setDelay(1_000_000);
    const block = device.pool.acquire(MIB);
    const event = device.copies.fill(block.address, 1, MIB, { uses: [block] });
    assertEquals([event.poll(), event.isFinished(), device.copies.inFlight], [PENDING, false, 1]);
    await assertDipcError(
      "timeout",
      /^cannot fill 1048576 bytes of cuda:0: not done after 20 ms/,
      () => event.done({ timeoutMs: 20 }),
    );
    const controller = new AbortController();
    setTimeout(() => controller.abort("enough"), 5);
    const given = await assertDipcError("cancelled", "", () => event.done({ signal: controller.signal }));
    assertEquals(given.cause, "enough");
    const waiting = event.done();
    setTimeout(() => device.withContext(() => device.symbols.cuCtxSynchronize()), 5);
    await waiting;
    block.release();
  });
});

simTest("copies aborted midway return their memory once they are done, a hundred times over", async () => {
  await withDevice(async (device, control) => {
    const bytes = pattern(MIB);
    const one = async (round: number) => {
      control!.setDelay(5 + round % 7);
      const block = device.pool.acquire(MIB);
      const controller = new AbortController();
      const options = { chunkBytes: 64 << 10, signal: controller.signal, uses: [block] };
      const copy = round % 2 === 0
        ? device.copies.upload(block.address, bytes, options)
        : device.copies.download(new Uint8Array(MIB), block.address, options);
      setImmediate(() => controller.abort());
      await copy.catch((error) => assertEquals(error.code, "cancelled"));
      block.release();
    };
    for (let i = 0; i < 10; i++) await one(i);
    await device.copies.upload(0n, new Uint8Array(0));
    const { allocations } = device.pool.stats;
    for (let i = 0; i < 100; i++) await one(i);
    control!.setDelay(0);
    device.withContext(() => device.symbols.cuCtxSynchronize());
    const { blocksOut, pendingBytes, allocatedBytes, retainedBytes } = device.pool.stats;
    assertEquals([blocksOut, pendingBytes, allocatedBytes], [0, 0, retainedBytes]);
    assert(device.pool.stats.allocations <= allocations + 8, `${allocations} → ${device.pool.stats.allocations}`);
    assertEquals([device.pinned.stats.blocksOut, device.pinned.stats.pendingBytes], [0, 0]);
  });
});

cudaTest("wrong sizes are refused before the driver is asked", async () => {
  await withDevice(async (device) => {
    for (const size of [-1, 0.5, NaN, 2 ** 60]) {
      assertDipcError("invalid_argument", "an integer of 0 or more", () => device.copies.fill(0n, 0, size));
    }
    for (const chunkBytes of [0, -1, 1.5]) {
      await assertDipcError(
        "invalid_argument",
        "cannot use chunkBytes: it is",
        () => device.copies.upload(0n, new Uint8Array(1), { chunkBytes }),
      );
    }
    assertEquals(device.copies.inFlight, 0);
  });
});

cudaTest("an event of others is waited for, whether they give it or their stream", async () => {
  await withDevice(async (device, control) => {
    const { symbols } = device;
    const out = new BigUint64Array(2);
    const block = device.pool.acquire(MIB);
    device.withContext(() => {
      symbols.cuStreamCreate(out.subarray(0, 1), 1);
      symbols.cuEventCreate(out.subarray(1), 2);
    });
    const [stream, theirs] = out;
    for (const kind of ["stream", "event"] as const) {
      const value = kind === "stream" ? 5 : 6;
      device.withContext(() => {
        symbols.cuMemsetD8Async(block.address, value, BigInt(MIB), stream);
        symbols.cuEventRecord(theirs, stream);
      });
      const event = device.eventOf(kind === "stream" ? { stream } : { event: theirs });
      if (kind === "event") await event.done();
      // By the event on the device alone, or by having waited on the host.
      const pinned = device.pinned.acquire(100);
      const down = device.copies.copyToHost(pinned.address, block.address, 100, {
        after: [event],
        uses: [block, pinned],
      });
      await down.done();
      await event.done();
      assertEquals([...new Set(pinned.bytes().subarray(0, 100))], [value]);
      pinned.release();
    }
    assertEquals(control?.complaints ?? [], []);
    block.release();
    device.withContext(() => {
      symbols.cuStreamDestroy_v2(stream);
      symbols.cuEventDestroy_v2(theirs);
    });
  });
});

cudaTest("the driver knows its device and pinned memory, and no other", async () => {
  await withDevice((device) => {
    const block = device.pool.acquire(1000), pinned = device.pinned.acquire(1000);
    const known = device.describePointer(block.address + 999n);
    assertEquals([known.kind, known.ordinal, known.context], ["device", 0, device.context.handle]);
    const { address, byteLength } = block.allocation;
    assert(known.rangeAddress <= address, `${known.rangeAddress} lies after ${address}`);
    assert(known.rangeAddress + known.rangeByteLength >= address + BigInt(byteLength), "the range ends too early");
    const host = device.describePointer(pinned.address);
    assertEquals([host.kind, host.ordinal], ["host", 0]);
    const plain = new Uint8Array(1000);
    const unknown = device.describePointer(addressOf(plain));
    assertEquals([unknown.kind, unknown.ordinal], ["unknown", null]);
    assertEquals(device.describePointer(0n).kind, "unknown");
    block.release();
    pinned.release();
  });
});

cudaTest("a range counts as device memory only if all of it is, and of this device", async () => {
  await withDevice(async (device) => {
    const block = device.pool.acquire(1000), pinned = device.pinned.acquire(1000), plain = new Uint8Array(1000);
    const { address, byteLength } = block.allocation;
    device.checkRange(address, byteLength, "a buffer");
    device.checkRange(block.address + 999n, 1, "a buffer");
    device.checkRange(5n, 0, "an empty buffer");
    const refused = (at: bigint, bytes: number, text: RegExp) => {
      const error = assertDipcError(
        "invalid_argument",
        text,
        () => device.checkRange(at, bytes, "the data of column 3"),
      );
      assertStringIncludes(error.message, "cannot use the data of column 3: ");
    };
    refused(
      pinned.address,
      8,
      /8 bytes at 0x\w+ must lie in the memory of cuda:0, but it is host memory that the driver/,
    );
    refused(addressOf(plain), 8, /but it is unknown to the driver/);
    refused(block.address, -1, /-1 bytes at \d+ are not a range/);
    refused(-1n, 1, /are not a range/);
    refused(block.address, NaN, /are not a range/);
    // A real driver may have other memory behind it.
    if (needsSimulator.present) {
      refused(address, byteLength + 1, new RegExp(`but ${byteLength} bytes in, it is unknown to the driver`));
    }
    if (testDriver().deviceCount > 1) {
      const other = testDriver().openDevice(1);
      const theirs = other.pool.acquire(8);
      refused(theirs.address, 8, /but it belongs to cuda:1/);
      theirs.release();
      await other.close();
    }
    block.release();
    pinned.release();
  });
});

simTest("a copy that fails says what, keeps what the driver said, and leaves its memory usable", async () => {
  await withDevice(async (device, control) => {
    const block = device.pool.acquire(MIB), pinned = device.pinned.acquire(MIB);
    const uses = [block, pinned];
    await device.copies.copyToDevice(block.address, pinned.address, MIB, { uses }).done();
    for (const [result, name, code] of RESULTS) {
      for (let i = 0; i < 1000 && device.copies.inFlight > 0; i++); // so that there is an event to be had
      control!.failAfter(2, result); // after the context was pushed
      const error = assertDipcError(
        code,
        `cannot copy 1048576 bytes to cuda:0: the CUDA driver reports ${name} (${result}): `,
        () => device.copies.copyToDevice(block.address, pinned.address, MIB, { uses }),
      );
      assertEquals([error.foreign?.system, error.foreign?.status], ["cuda", result]);
      assertStringIncludes(error.foreign!.text, name);
    }
    control!.failAfter(0, 0);
    const event = device.copies.copyToDevice(block.address, pinned.address, MIB, { uses });
    control!.failAfter(2, 719);
    assertEquals(event.poll(), FAILED);
    const error = await assertDipcError("cuda", "CUDA_ERROR_LAUNCH_FAILED (719)", () => event.done());
    assertEquals(event.error, error);
    // The failure was the query's: the copy itself is queried again before its memory serves others.
    block.release();
    pinned.release();
    for (let i = 0; i < 5; i++) event.isFinished();
    assertEquals([event.isFinished(), event.poll()], [true, FAILED]);
    assertEquals([device.pool.stats.pendingBytes, device.pinned.stats.pendingBytes], [0, 0]);
  });
});

const RESULTS: [result: number, name: string, code: DipcErrorCode][] = [
  [1, "CUDA_ERROR_INVALID_VALUE", "cuda"],
  [2, "CUDA_ERROR_OUT_OF_MEMORY", "out_of_memory"],
  [100, "CUDA_ERROR_NO_DEVICE", "unsupported"],
  [101, "CUDA_ERROR_INVALID_DEVICE", "not_found"],
  [217, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "unsupported"],
  [700, "CUDA_ERROR_ILLEGAL_ADDRESS", "cuda"],
  [800, "CUDA_ERROR_NOT_PERMITTED", "permission_denied"],
  [801, "CUDA_ERROR_NOT_SUPPORTED", "unsupported"],
  [803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "unsupported"],
  [999, "CUDA_ERROR_UNKNOWN", "cuda"],
];

simTest("closing waits for copies until its time-out or signal, and can be tried again", async () => {
  const device = openTestDevice();
  const block = device.pool.acquire(MIB);
  const control = cuda!.control!;
  control.setDelay(1_000_000);
  const event = device.copies.fill(block.address, 1, MIB, { uses: [block] });
  block.release();
  await assertDipcError("timeout", "", () => device.close({ timeoutMs: 10 }));
  await assertDipcError("cancelled", "", () => device.close({ signal: AbortSignal.abort() }));
  assertEquals([event.poll(), device.pool.stats.pendingBytes], [PENDING, MIB]);
  const small = device.pool.acquire(8);
  device.copies.fill(small.address, 0, 8, { uses: [small] }); // it is open still
  device.withContext(() => device.symbols.cuCtxSynchronize());
  await event.done();
  control.setDelay(0);
  await device.close();
  assertEquals([device.pool.stats.allocatedBytes > 0, device.pool.stats.blocksOut], [true, 1]);
  small.release();
  assertClean(control);
});
