/** The pool of host memory: its blocks, the bodies made of them, and its limits. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Body } from "../../src/memory/block.ts";
import { HostPool } from "../../src/memory/host_pool.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { addressOf, libc } from "../../ffi/libc.ts";
import { assertDipcError } from "../support/assert.ts";
import { seededRandom } from "../support/random.ts";

libc(); // opened once and for all, not by a single test

const MIB = 1 << 20;

/** Lets finalizers run, and collections that are under way end. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

setFlagsFromString("--expose-gc");
const gc: () => void = runInNewContext("gc");

/** Forces full collections until `done`, with a bound. */
async function collectUntil(done: () => boolean): Promise<void> {
  for (let i = 0; i < 10 && !done(); i++) {
    gc();
    await turns(5);
  }
}

function filled(pool: HostPool, byteLength: number, value: number): Body {
  const block = pool.acquire(byteLength);
  block.bytes().fill(value, 0, byteLength);
  return block.toBody(byteLength);
}

Deno.test("a block is at least as large as asked, aligned, and written in place", () => {
  const pool = new HostPool();
  for (const size of [0, 1, 8, 64, 4095, 4096, 4097, 65_536, 233 * 1024 + 1, MIB, MIB + 64, 20 * MIB, 65 * MIB]) {
    const block = pool.acquire(size);
    assert(block.capacity >= size, `${block.capacity} bytes for ${size}`);
    assertEquals(block.address % 64n, 0n);
    const bytes = block.bytes();
    assertEquals(bytes.byteLength, block.capacity);
    if (size > 0) {
      bytes[size - 1] = 7;
      const copy = new Uint8Array(128);
      libc().memcpy(addressOf(copy), block.address + BigInt(size - 1), 1n);
      assertEquals(copy[0], 7);
    }
    block.release();
    block.release();
  }
  assertEquals(pool.stats.blocksOut, 0);
  assertEquals(pool.stats.bytesOut, 0);
});

Deno.test("no two blocks that are out overlap, over random takes and releases", () => {
  const random = seededRandom();
  const pool = new HostPool({ maxRetainedBytes: 8 * MIB });
  const out: { body: Body; value: number; size: number }[] = [];
  for (let i = 0; i < 3000; i++) {
    if (random.chance(0.55) && out.length < 60) {
      const size = Math.floor(2 ** (random.fraction() * 21));
      const value = random.below(256);
      out.push({ body: filled(pool, size, value), value, size });
    } else if (out.length > 0) {
      const [{ body, value, size }] = out.splice(random.below(out.length), 1);
      const bytes = body.bytes();
      assertEquals(bytes.byteLength, size);
      assert(bytes.every((byte) => byte === value), `a body of ${size} bytes was overwritten`);
      body.release();
      // Small bodies are never recycled, so theirs may stay.
      assert(bytes.byteLength === 0 || bytes.every((byte) => byte === value), "another block wrote into this one");
    }
  }
  for (const { body } of out) body.release();
  assertEquals(pool.stats.blocksOut, 0);
  assertEquals(pool.stats.bytesOut, 0);
});

Deno.test("the block released last is the next one taken", () => {
  const pool = new HostPool();
  const first = pool.acquire(MIB), second = pool.acquire(MIB);
  const address = first.address;
  second.release();
  first.toBody(MIB).release();
  assertEquals(pool.acquire(MIB).address, address);
});

Deno.test("a released body throws, and arrays of it never show the next body's bytes", () => {
  const pool = new HostPool();
  for (const size of [16, 4096, 8192, MIB]) {
    const body = filled(pool, size, 1);
    const whole = body.bytes(), part = body.bytes().subarray(size / 2);
    const words = new Int32Array(whole.buffer, whole.byteOffset, size / 4);
    body.release();
    body.release();
    const next = filled(pool, size, 2);
    assertDipcError("closed", "", () => body.bytes());
    if (size > 4096) assertEquals([whole.byteLength, part.byteLength, words.length], [0, 0, 0]);
    else {assert(
        whole.every((byte) => byte === 1) && part.every((byte) => byte === 1),
        "an array of the old body shows the next one's bytes",
      );}
    assert(next.bytes().every((byte) => byte === 2), "some bytes differ");
    next.release();
  }
  assertEquals(pool.stats.blocksOut, 0);
});

Deno.test("a block is used up by toBody and by release", () => {
  const pool = new HostPool();
  const block = pool.acquire(100);
  assertDipcError("invalid_argument", "", () => block.toBody(block.capacity + 1));
  assertDipcError("invalid_argument", "", () => block.toBody(-1));
  const body = block.toBody(100);
  assertDipcError("closed", "", () => block.bytes());
  assertDipcError("closed", "", () => block.toBody(1));
  block.release(); // nothing any more: the body owns it
  assertEquals(body.bytes().byteLength, 100);
  body.release();
  assertEquals(pool.stats.blocksOut, 0);
});

Deno.test("sizes that are none are refused", () => {
  const pool = new HostPool();
  for (const size of [-1, NaN, 5000.5, Infinity, 2 ** 53]) {
    assertDipcError("invalid_argument", "", () => pool.acquire(size));
  }
  assertDipcError("out_of_memory", "", () => pool.acquire(2 ** 50));
});

Deno.test("a bound holds on what the pool keeps", () => {
  const pool = new HostPool({ maxRetainedBytes: 32 * MIB });
  for (let round = 0; round < 3; round++) {
    const bodies = Array.from({ length: 200 }, () => pool.acquire(MIB).toBody(MIB));
    assertEquals(pool.stats.bytesOut, 200 * MIB);
    for (const body of bodies) body.release();
    assertEquals(pool.stats.bytesOut, 0);
    // Whole slabs are given back, so one may be left over.
    assertLess(pool.stats.retainedBytes, 32 * MIB + 64 * MIB + 1);
  }
});

Deno.test("a column that outlives its body keeps the block, and gives it back when collected", async () => {
  const pool = new HostPool();
  const held = { column: null as Uint8Array | null };
  // In functions of their own: the frame of this one would hold what they make until it returns.
  const make = (): void => {
    held.column = filled(pool, MIB, 9).bytes();
  };
  const isWhole = (): boolean => held.column!.every((byte) => byte === 9);
  make();
  await turns(3);
  await collectUntil(() => pool.stats.blocksOut === 0);
  assertEquals(pool.stats.blocksOut, 1, "the block was taken away under a living column");
  const others = Array.from({ length: 20 }, () => filled(pool, MIB, 3));
  assert(isWhole(), "some bytes differ");
  for (const other of others) other.release();
  held.column = null;
  await collectUntil(() => pool.stats.blocksOut === 0);
  assertEquals(pool.stats.blocksOut, 0);
});

Deno.test("a body that is dropped unread gives its block back", async () => {
  const pool = new HostPool();
  (() => void pool.acquire(MIB).toBody(MIB))();
  assertEquals(pool.stats.blocksOut, 1);
  await turns(3);
  await collectUntil(() => pool.stats.blocksOut === 0);
  assertEquals(pool.stats.blocksOut, 0);
});

Deno.test("a released body is not given back once more by its finalizer", async () => {
  const pool = new HostPool();
  for (let i = 0; i < 50; i++) {
    const body = filled(pool, 65_536, i);
    body.bytes();
    if (i % 2 === 0) await turns(1);
    body.release();
  }
  await collectUntil(() => false);
  assertEquals(pool.stats.blocksOut, 0);
  assertEquals(pool.stats.bytesOut, 0);
});

Deno.test("a reader that drops every body holds little, one that keeps every body keeps them whole", async () => {
  const pool = new HostPool();
  let peak = 0;
  for (let i = 0; i < 3000; i++) {
    filled(pool, MIB, i & 255).bytes();
    peak = Math.max(peak, pool.stats.bytesOut);
    if (i % 20 === 0) await turns(1);
  }
  console.log(`dropped 3000 MiB, at most ${Math.round(peak / MIB)} MiB out`);
  assertLess(peak, 700 * MIB);
  const kept: Uint8Array[] = [];
  for (let i = 0; i < 600; i++) {
    kept.push(filled(pool, MIB, i & 255).bytes());
    if (i % 20 === 0) await turns(1);
  }
  for (const [i, bytes] of kept.entries()) {
    assert(bytes[0] === (i & 255) && bytes[MIB - 1] === (i & 255), `body ${i} shows the bytes of another`);
  }
});

Deno.test("a block whose ArrayBuffer was transferred away is never used again", () => {
  const pool = new HostPool();
  const body = filled(pool, 100_000, 5);
  const bodyBytes = structuredClone(body.bytes(), { transfer: [body.bytes().buffer] });
  const block = pool.acquire(100_000);
  block.bytes().fill(6);
  const blockBytes = new Uint8Array(block.bytes().buffer.transfer());
  const lost = [body.address, block.address];
  body.release();
  block.release();
  body.release();
  assertEquals([pool.stats.blocksOut, pool.stats.bytesOut], [0, 0]);
  for (let i = 0; i < 20; i++) {
    assert(!lost.includes(filled(pool, 100_000, 7).address), "memory that an array still shows was given again");
  }
  assert(bodyBytes.every((byte) => byte === 5) && blockBytes.every((byte) => byte === 6), "some bytes differ");
});

Deno.test("wrapped bytes are the same bytes, until the wrapper is released", () => {
  const bytes = new Uint8Array(1000).fill(4);
  const body = wrapBytes(bytes);
  assert(body.bytes() === bytes, "the bytes were copied");
  const copy = new Uint8Array(128);
  libc().memcpy(addressOf(copy), body.address + 999n, 1n);
  assertEquals([copy[0], body.byteLength, body.space], [4, 1000, "host"]);
  body.release();
  assertDipcError("closed", "", () => body.bytes());
  assertEquals(bytes[999], 4);
  assertEquals(wrapBytes(new Uint8Array(0)).address, 0n);
});
