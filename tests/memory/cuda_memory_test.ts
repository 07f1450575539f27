/** Pools of device and pinned memory: what they hand out, refuse, recycle and give back. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import type { Gpu } from "../../src/memory/cuda/device.ts";
import { assertDipcError } from "../support/assert.ts";
import { assertBytes, openTestDevice, pattern, testDriver, withDevice } from "./support/cuda_devices.ts";
import { needsCuda, needsSimulator, onSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";
import { seededRandom } from "../support/random.ts";

libc(); // opened once and for all, not by a single test

const MIB = 1 << 20;

function cudaTest(name: string, fn: () => void | Promise<void>): void {
  testNeeding([needsCuda], `device memory: ${name}`, fn);
}

/** A test of what only the simulated driver can be made to do. */
function simTest(name: string, fn: () => void | Promise<void>): void {
  testNeeding([needsSimulator], `device memory: ${name}`, fn);
}

async function contents(device: Gpu, address: bigint, byteLength: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  await device.copies.download(bytes, address);
  return bytes;
}

cudaTest("a device tells its name, memory, address and capability, and the driver its version", () => {
  const driver = testDriver();
  assertMatch(driver.version, /^\d+\.\d+$/);
  assertEquals(driver.devices().length, driver.deviceCount);
  const info = driver.deviceInfo("cuda:0");
  assertEquals([info.ordinal, info.space], [0, "cuda:0"]);
  assert(info.name.length > 0 && info.memoryBytes > 0 && info.copyEngines > 0, JSON.stringify(info));
  assertMatch(info.uuid, /^GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  assertMatch(info.pciBusId, /^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d$/);
  assertMatch(info.computeCapability, /^\d+\.\d+$/);
});

cudaTest("a device that is not there is refused with those that are", () => {
  const driver = testDriver();
  const error = assertDipcError(
    "not_found",
    "cannot open cuda:99: there is no such GPU",
    () => driver.openDevice("cuda:99"),
  );
  assertStringIncludes(error.message, "cuda:0");
  assertStringIncludes(error.message, "CUDA_VISIBLE_DEVICES");
  for (const wrong of [-1, 0.5, NaN]) assertThrows(() => driver.openDevice(wrong), DipcError);
  assertDipcError("invalid_argument", "", () => driver.openDevice("host"));
});

cudaTest("the context is current inside withContext alone, whatever happens there", async () => {
  await withDevice((device) => {
    const { symbols } = device;
    const current = () => {
      const out = new BigUint64Array(1);
      assertEquals(symbols.cuCtxGetCurrent(out), 0);
      return out[0];
    };
    const before = current();
    device.withContext(() => {
      assertEquals(current(), device.context.handle);
      device.withContext(() => assertEquals(current(), device.context.handle));
      assertEquals(current(), device.context.handle);
    });
    assertEquals(current(), before);
    assertThrows(
      () =>
        device.withContext(() => {
          throw new TypeError("mine");
        }),
      TypeError,
      "mine",
    );
    assertEquals(current(), before);
    const { freeBytes, totalBytes } = device.memory();
    assert(freeBytes > 0 && freeBytes <= totalBytes, `${freeBytes} of ${totalBytes} free`);
    assertEquals(current(), before);
  });
});

cudaTest("a block is at least as large as asked, aligned, and holds what is copied into it", async () => {
  await withDevice(async (device) => {
    for (const size of [0, 1, 8, 255, 256, 257, 4097, 65_536, MIB + 64, 5 * MIB, 20 * MIB]) {
      const block = device.pool.acquire(size);
      assert(
        block.capacity >= size && block.capacity <= Math.max(512, size * 1.25 + 256),
        `${size}: ${block.capacity}`,
      );
      assertEquals([block.address % 256n, block.space], [0n, "cuda:0"]);
      const { address, byteLength } = block.allocation;
      assert(
        block.address >= address && block.address + BigInt(block.capacity) <= address + BigInt(byteLength),
        "the block lies outside its allocation",
      );
      const bytes = pattern(size, size);
      await device.copies.upload(block.address, bytes, { uses: [block] });
      assertBytes(await contents(device, block.address, size), bytes);
      block.release();
      block.release();
    }
    const { blocksOut, bytesOut, pendingBytes } = device.pool.stats;
    assertEquals([blocksOut, bytesOut, pendingBytes], [0, 0, 0]);
  });
});

cudaTest("no two blocks that are out overlap, over random takes, releases and copies", async () => {
  const random = seededRandom();
  await withDevice(async (device) => {
    const out: { body: ReturnType<ReturnType<typeof device.pool.acquire>["toBody"]>; bytes: Uint8Array }[] = [];
    for (let i = 0; i < 400; i++) {
      if (random.chance(0.55) && out.length < 40) {
        const size = Math.floor(2 ** (random.fraction() * 18));
        const block = device.pool.acquire(size);
        const bytes = pattern(size, i);
        await device.copies.upload(block.address, bytes, { uses: [block] });
        out.push({ body: block.toBody(size), bytes });
      } else if (out.length > 0) {
        const [{ body, bytes }] = out.splice(random.below(out.length), 1);
        assertBytes(await contents(device, body.address, bytes.length), bytes);
        body.release();
      }
    }
    for (const { body } of out) body.release();
  }, { pool: { maxRetainedBytes: 4 * MIB } });
});

cudaTest("the bytes of a block or body are refused with a reason, and nothing is to be had after release", async () => {
  await withDevice((device) => {
    const block = device.pool.acquire(100), other = device.pool.acquire(10);
    const event = device.copies.fill(other.address, 0, 1, { uses: [other] });
    const otherBody = other.toBody(10);
    for (const memory of [block, otherBody]) {
      assertDipcError(
        "unsupported",
        "cannot read these bytes on the CPU: they lie in the memory of cuda:0",
        () => memory.bytes(),
      );
    }
    assertThrows(() => block.toBody(block.capacity + 1), DipcError, "cannot make a body of");
    assertThrows(() => device.pool.acquire(-1), DipcError, "give an integer from 0 to 2^53 - 1");
    assertThrows(() => device.pool.acquire(1.5), DipcError, "give an integer from 0 to 2^53 - 1");
    const body = block.toBody(0);
    assertEquals([body.address, body.byteLength, body.isReleased], [0n, 0, false]);
    assertDipcError("closed", "", () => block.toBody(1));
    assertEquals(device.pool.stats.blocksOut, 2);
    for (let i = 0; i < 2; i++) {
      body.release();
      assertEquals([device.pool.stats.blocksOut, body.isReleased], [1, true]);
    }
    assertDipcError("closed", "", () => body.allocation);
    assertDipcError("closed", "", () => body.usedBy(event));
    otherBody.release();
  });
});

cudaTest("ten thousand batches cost no allocation of the driver after the first few", async () => {
  await withDevice(async (device, control) => {
    const source = device.pinned.acquire(64 << 10);
    const batch = (bytes: number) => {
      const block = device.pool.acquire(bytes);
      const event = device.copies.copyToDevice(block.address, source.address, bytes, { uses: [block, source] });
      block.toBody(bytes).release();
      return event;
    };
    const sizes = [300, 5000, 40_000, 65_536];
    const some = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const event = batch(sizes[i % sizes.length]);
        if (i % 8 === 7) await event.done();
      }
    };
    await some(100);
    const { allocations, allocatedBytes } = device.pool.stats;
    const [made, events] = [control?.callsOf("cuMemAlloc_v2"), control?.callsOf("cuEventCreate")];
    await some(10_000);
    assertEquals([device.pool.stats.allocations, device.pool.stats.frees], [allocations, 0]);
    assertEquals(device.pool.stats.allocatedBytes, allocatedBytes);
    assertEquals([control?.callsOf("cuMemAlloc_v2"), control?.callsOf("cuEventCreate")], [made, events]);
    assertEquals(device.pool.stats.collected, 0);
    source.release();
  });
});

cudaTest("beyond its limit a pool refuses, says what it holds, and serves again after a release", async () => {
  await withDevice((device) => {
    const blocks = [device.pool.acquire(4 * MIB), device.pool.acquire(3 * MIB)];
    assertDipcError(
      "out_of_memory",
      /cannot allocate a block of 2097152 bytes: 7340032 of at most 8388608 bytes of device memory/,
      () => device.pool.acquire(2 * MIB),
    );
    blocks[1].release();
    // What is kept for blocks of another size gives way.
    const block = device.pool.acquire(2 * MIB);
    assertEquals(device.pool.stats.allocatedBytes <= 8 * MIB, true);
    for (const held of [blocks[0], block]) held.release();
  }, { pool: { maxBytes: 8 * MIB } });
});

cudaTest("memory that the driver does not have is refused with its own words", async () => {
  await withDevice((device) => {
    const error = assertDipcError("out_of_memory", "CUDA_ERROR_OUT_OF_MEMORY", () => device.pool.acquire(2 ** 45));
    assertEquals([error.foreign?.system, error.foreign?.status], ["cuda", 2]);
    assertEquals(device.pool.stats.allocatedBytes, 0);
  });
});

simTest(
  "if the driver has no room for many blocks, one is requested after the pool has returned what is idle",
  async () => {
    await withDevice((device) => {
      const most = device.pool.acquire(960 * MIB);
      const idle = device.pool.acquire(10 * MIB);
      idle.release();
      // 64 MiB are left, less what is idle: blocks of 20 MiB come one by one then.
      const blocks = [device.pool.acquire(20 * MIB), device.pool.acquire(20 * MIB), device.pool.acquire(20 * MIB)];
      assertEquals(device.pool.stats.frees, 1);
      assertDipcError("out_of_memory", "", () => device.pool.acquire(20 * MIB));
      for (const block of [most, ...blocks]) block.release();
    });
  },
);

cudaTest("free memory beyond what a pool keeps goes back to the driver, and the rest is kept", async () => {
  await withDevice((device) => {
    const blocks = Array.from({ length: 6 }, () => device.pool.acquire(8 * MIB));
    for (const block of blocks) block.release();
    const { retainedBytes, allocatedBytes, frees, blocksOut } = device.pool.stats;
    assert(retainedBytes <= 16 * MIB && retainedBytes > 0, String(retainedBytes));
    assertEquals([allocatedBytes, blocksOut], [retainedBytes, 0]);
    assertGreater(frees, 0);
  }, { pool: { maxRetainedBytes: 16 * MIB } });
});

simTest(
  "a block is not recycled before the copies that use it are done, even if it was released long ago",
  async () => {
    await withDevice(async (device, control) => {
      control!.setDelay(1_000_000);
      const block = device.pool.acquire(MIB), source = device.pinned.acquire(MIB);
      const { address } = block;
      const event = device.copies.copyToDevice(address, source.address, MIB, { uses: [block, source] });
      block.release();
      source.release();
      assertEquals([device.pool.stats.pendingBytes, device.pinned.stats.pendingBytes], [MIB, MIB]);
      const others = Array.from({ length: 4 }, () => device.pool.acquire(MIB));
      assert(others.every((other) => other.address !== address), "memory that is still in use was given again");
      control!.setDelay(0);
      device.symbols.cuInit(0);
      await assertRejects(() => event.done({ timeoutMs: 1 }), DipcError, "not done after 1 ms");
      // What was submitted under the long delay stays slow: only a wait of the driver ends it.
      device.withContext(() => device.symbols.cuCtxSynchronize());
      await event.done();
      assertEquals([device.pool.stats.pendingBytes, device.pinned.stats.pendingBytes], [0, 0]);
      const again = Array.from({ length: 4 }, () => device.pool.acquire(MIB));
      assert(again.some((block) => block.address === address), "the memory was not used again");
      for (const held of [...others, ...again]) held.release();
    });
  },
);

simTest("a pool at its limit waits for memory that copies still use, and for nothing else", async () => {
  await withDevice(async (device, control) => {
    control!.setDelay(50);
    const block = device.pool.acquire(4 * MIB);
    device.copies.fill(block.address, 1, MIB, { uses: [block] });
    block.release();
    assertThrows(() => device.pool.acquire(4 * MIB), DipcError, "cannot allocate a block of");
    const next = await device.pool.acquireWaiting(4 * MIB);
    assertEquals(next.address, block.address);
    // Here waiting would not help: it is in use.
    await assertDipcError("out_of_memory", "cannot allocate a block of", () => device.pool.acquireWaiting(4 * MIB));
    control!.setDelay(1_000_000);
    device.copies.fill(next.address, 1, MIB, { uses: [next] });
    next.release();
    await assertDipcError("timeout", "", () => device.pool.acquireWaiting(4 * MIB, { timeoutMs: 5 }));
    const signal = AbortSignal.abort("enough");
    const given = await assertDipcError("cancelled", "", () => device.pool.acquireWaiting(4 * MIB, { signal }));
    assertEquals(given.cause, "enough");
    device.withContext(() => device.symbols.cuCtxSynchronize());
  }, { pool: { maxBytes: 4 * MIB } });
});

cudaTest("pinned blocks are host memory in place, and their views are empty after release", async () => {
  await withDevice((device) => {
    for (const size of [0, 1, 4096, 5 * MIB]) {
      const block = device.pinned.acquire(size);
      assertEquals([block.space, block.address % 256n], ["host", 0n]);
      const bytes = block.bytes();
      assertEquals(bytes.byteLength, block.capacity);
      bytes.fill(9);
      assertEquals(device.describePointer(block.address).kind, "host");
      const body = block.toBody(size);
      assertEquals([body.byteLength, body.address], [size, size === 0 ? 0n : block.address]);
      const view = body.bytes();
      assert(view.every((byte) => byte === 9), "some bytes differ");
      assertDipcError("closed", "", () => block.bytes());
      body.release();
      body.release();
      assertEquals([bytes.byteLength, view.byteLength], [0, 0]);
      assertDipcError("closed", "", () => body.bytes());
    }
    const { blocksOut, allocations } = device.pinned.stats;
    assertEquals(blocksOut, 0);
    const again = device.pinned.acquire(4096);
    assertEquals(again.bytes().length, 4096);
    again.release();
    assertEquals(device.pinned.stats.allocations, allocations);
  });
});

setFlagsFromString("--expose-gc");
const gc: () => void = runInNewContext("gc");

/** Forces full collections until `done`, with a bound. */
async function collectUntil(done: () => boolean): Promise<void> {
  for (let i = 0; i < 20 && !done(); i++) {
    gc();
    for (let turn = 0; turn < 5; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

cudaTest("blocks and bodies that nobody released come back when they are collected, and are counted", async () => {
  await withDevice(async (device) => {
    const drop = () => {
      device.pool.acquire(1000);
      device.pool.acquire(2000).toBody(5);
      device.pinned.acquire(1000);
      device.pinned.acquire(2000).toBody(5).bytes();
      device.pinned.acquire(3000).bytes();
    };
    drop();
    const held = device.pool.acquire(4000);
    let kept: Uint8Array | null = device.pinned.acquire(4000).toBody(4000).bytes(); // the view alone is held
    kept.fill(3);
    await collectUntil(() => device.pool.stats.blocksOut === 1 && device.pinned.stats.blocksOut === 1);
    assertEquals([device.pool.stats.collected, device.pinned.stats.collected], [2, 3]);
    assertEquals([device.pool.stats.blocksOut, device.pinned.stats.blocksOut], [1, 1]);
    assert(kept.every((byte) => byte === 3), "some bytes differ");
    held.release();
    kept = null;
    await collectUntil(() => device.pinned.stats.blocksOut === 0);
  });
});

cudaTest("a closed device gives memory back as it is released, and its context after the last block", async () => {
  const device = openTestDevice();
  const block = device.pool.acquire(MIB), pinned = device.pinned.acquire(MIB);
  pinned.bytes().fill(1);
  await device.copies.copyToDevice(block.address, pinned.address, MIB, { uses: [block, pinned] }).done();
  await device.close();
  await device.close();
  assertEquals(device.pinned.stats.allocatedBytes > 0 && device.pool.stats.allocatedBytes > 0, true);
  assertEquals(pinned.bytes()[5], 1, "still there");
  for (
    const use of [
      () => device.pool.acquire(1),
      () => device.pinned.acquire(1),
      () => device.copies.fill(block.address, 0, 1),
      () => device.eventOf({ stream: 0n }),
    ]
  ) assertDipcError("closed", "closed", use);
  onSimulator("contexts retained", (control) => assertEquals(control.live("contexts"), 1));
  pinned.release();
  onSimulator("contexts retained", (control) => assertEquals(control.live("contexts"), 1));
  block.release();
  onSimulator("everything given back", (control) => {
    assertEquals([control.live("contexts"), control.live("allocations"), control.live("pinned")], [0, 0, 0]);
    assertEquals(control.complaints, []);
  });
});

cudaTest("two devices opened on one GPU live side by side, and each closes for itself", async () => {
  await withDevice(async (device) => {
    const second = testDriver().openDevice(0);
    const block = second.pool.acquire(100);
    await second.copies.upload(block.address, pattern(100), { uses: [block] });
    block.release();
    await second[Symbol.asyncDispose]();
    const mine = device.pool.acquire(100);
    await device.copies.upload(mine.address, pattern(100, 2), { uses: [mine] });
    assertBytes(await contents(device, mine.address, 100), pattern(100, 2));
    mine.release();
  });
});
