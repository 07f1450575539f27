/**
 * Shared memory in one process: what is free, what is lent, and what a reader's own writes change.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { createMemory, pageBytes } from "../../ffi/shared_memory.ts";
import { Arena } from "../../src/memory/arena.ts";
import { FreeRanges, type TakenRange } from "../../src/memory/free_ranges.ts";
import { type Leasable, Leases } from "../../src/memory/leases.ts";
import { MappedRegion } from "../../src/memory/mapped_region.ts";
import { SharedRegion } from "../../src/memory/shared_region.ts";
import { assertDipcError } from "../support/assert.ts";
import { collect } from "../../src/memory/collector.ts";
import { descriptors } from "../support/proc.ts";
import { seededRandom } from "../support/random.ts";
import { until } from "../support/time.ts";

const PAGE = 4096;

Deno.test("ranges of any size are taken and given back in any order, never overlap, and join again", () => {
  const random = seededRandom();
  const free = new FreeRanges(64 * PAGE + 100, PAGE);
  const taken: TakenRange[] = [];
  for (let step = 0; step < 5000; step++) {
    if (random.chance(0.55)) {
      const range = free.take(random.below(9 * PAGE));
      if (range === null) continue;
      const clash = taken.find(({ offset, byteLength }) =>
        offset < range.offset + range.byteLength && range.offset < offset + byteLength
      );
      assertEquals(clash, undefined, `step ${step}`);
      assert(
        range.offset % PAGE === 0 && range.byteLength % PAGE === 0 && range.offset + range.byteLength <= 64 * PAGE,
      );
      taken.push(range);
    } else if (taken.length > 0) {
      free.give(taken.splice(random.below(taken.length), 1)[0]);
    }
    const used = taken.reduce((sum, { byteLength }) => sum + byteLength, 0);
    assertEquals(free.freeBytes, 64 * PAGE - used, `step ${step}`);
  }
  for (const range of taken) free.give(range);
  assertEquals(free.take(64 * PAGE), { offset: 0, byteLength: 64 * PAGE });
  assertEquals(free.take(0), null);
});

/** Something that can be lent, which counts its holders. */
function leasable(byteLength: number): Leasable & { holders: number } {
  return {
    byteLength,
    holders: 0,
    hold() {
      this.holders++;
    },
    drop() {
      this.holders--;
    },
  };
}

Deno.test("a lease ends when every address is back as often as it was handed out", () => {
  const leases = new Leases();
  const [a, b] = [leasable(100), leasable(50)];
  leases.lend(a, [10n, 20n, 20n]);
  leases.lend(b, [30n]);
  leases.lend(a, [10n]);
  assertEquals([leases.bytes, leases.count, a.holders, b.holders], [150, 3, 1, 1]);
  leases.free([20n, 10n, 30n]);
  assertEquals([leases.bytes, a.holders, b.holders], [100, 1, 0]);
  leases.free([10n, 20n]);
  assertEquals([leases.bytes, leases.count, leases.oldestMs, a.holders], [0, 0, Infinity, 0]);
  for (const address of [10n, 11n]) {
    assertDipcError("protocol", `the address ${address}`, () => leases.free([address]));
  }
  // What holds no address is not lent.
  leases.lend(b, []);
  assertEquals([leases.bytes, b.holders], [0, 0]);
  leases.lend(a, [10n]);
  leases.lend(b, [30n, 31n]);
  leases.freeAll();
  assertEquals([leases.bytes, leases.count, a.holders, b.holders], [0, 0, 0, 0]);
  assertDipcError("protocol", "the address 30", () => leases.free([30n]));
});

/** A view of this process's own memory. */
function viewOf(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
}

/** A mapping, what it has given back, and how often it was unused or at rest. */
function mapped(
  region: SharedRegion,
): { reader: MappedRegion; freed: bigint[]; unused: () => number; rests: () => number } {
  const freed: bigint[] = [];
  let unused = 0, rests = 0;
  const reader = MappedRegion.map(region.descriptor, region.byteLength, {
    onFree: (addresses) => freed.push(...addresses),
    onUnused: () => unused++,
    onResting: () => rests++,
  });
  return { reader, freed, unused: () => unused, rests: () => rests };
}

Deno.test("a reader's write into a body neither crashes it nor reaches others, nor a later body in the same block", () => {
  using arena = new Arena(SharedRegion.create(64 * PAGE));
  const block = arena.take(10 * PAGE)!;
  const server = viewOf(arena.region.base + BigInt(block.offset), block.byteLength);
  server.fill(1);
  const [one, other] = [mapped(arena.region), mapped(arena.region)];
  const [ours, theirs] = [one, other].map(({ reader }) => reader.body(block.offset, 10 * PAGE, [1n]));
  const column = ours.bytes().subarray(3 * PAGE + 5, 3 * PAGE + 9);
  column.fill(9);
  assertEquals([...column], [9, 9, 9, 9]);
  assert(theirs.bytes().every((byte) => byte === 1), "another reader sees the write");
  assert(server.every((byte) => byte === 1), "the server sees the write");
  ours.release();
  assertEquals(one.freed, [1n]);
  one.reader.settle();
  // The server puts the next body there.
  server.fill(2);
  const next = one.reader.body(block.offset, 10 * PAGE, [1n]);
  assert(next.bytes().every((byte) => byte === 2), "the next body is hidden by the write into the one before");
  for (const body of [next, theirs]) body.release();
  for (const { reader, unused } of [one, other]) {
    reader.close();
    assertEquals(unused(), 1);
  }
});

Deno.test("a body is given back when it is released, or when it and what was made of it is collected", async () => {
  const before = descriptors("self");
  const arena = new Arena(SharedRegion.create(64 * PAGE));
  const { reader, freed, unused } = mapped(arena.region);
  const released = reader.body(0, PAGE, [1n]);
  const bytes = released.bytes();
  released.release();
  released.release();
  assertEquals([freed, bytes.byteLength], [[1n], 0]);
  assertDipcError("closed", "was released", () => released.bytes());

  const kept = (() => {
    reader.body(PAGE, PAGE, [2n]); // never looked at
    reader.body(2 * PAGE, PAGE, [3n]).bytes(); // looked at
    return reader.body(3 * PAGE, PAGE, [4n]).bytes(); // only a column of it lives
  })();
  kept.fill(7);
  await until(() => {
    collect("all");
    return freed.length >= 3;
  });
  assertEquals(freed.toSorted(), [1n, 2n, 3n]);
  assertEquals([kept.byteLength, kept[0], reader.parts], [PAGE, 7, 1]);
  const moved = reader.body(4 * PAGE, PAGE, [5n]);
  // Whoever has the bytes now may use them for as long as the process runs.
  moved.bytes().buffer.transfer();
  moved.release();
  reader.close();
  assertEquals([unused(), freed.includes(5n)], [0, false]);
  arena.close();
  assertEquals(kept[PAGE - 1], 7, "a column lives on without the server");
  // The memory itself stays mapped because of it; only descriptors go.
  assertEquals(descriptors("self").filter((name) => !before.includes(name) && !name.includes("pagemap")), []);
});

Deno.test("a mapping that rests shows the next stream what is there, whatever was written into a column before", () => {
  using region = SharedRegion.filled(8 * PAGE, ({ base }) => viewOf(base, 8 * PAGE).fill(5));
  const { reader, unused, rests } = mapped(region);
  const random = seededRandom();
  for (let stream = 1; stream <= 50; stream++) {
    const [first, second] = [0, 4 * PAGE].map((start) => reader.body(start, 4 * PAGE, [1n]));
    for (const body of [first, second]) {
      const bytes = body.bytes();
      assert(
        bytes.every((byte) => byte === 5),
        `stream ${stream} reads what was written into a column of an earlier one`,
      );
      for (let i = random.below(3); i > 0; i--) bytes[random.below(4 * PAGE)] = 9;
    }
    first.release();
    reader.rest();
    assertEquals(rests(), stream - 1, "a body is in use");
    second.release();
    assertEquals([rests(), reader.parts], [stream, 0]);
  }
  reader.close();
  assertEquals(unused(), 1);
});

Deno.test("packed memory cannot be changed by anybody, and what is not such memory is not mapped", () => {
  const page = pageBytes();
  using region = SharedRegion.filled(2 * page, ({ base }) => viewOf(base, 2 * page).fill(5));
  const { reader } = mapped(region);
  assert(reader.isConstant);
  const body = reader.body(0, 2 * page, [1n]);
  assert(body.bytes().every((byte) => byte === 5));
  using other = SharedRegion.filled(1, () => {});
  assertNotEquals(region.generation, other.generation);
  const options = { onFree() {}, onUnused() {}, onResting() {} };
  assertDipcError("protocol", "the server says", () => MappedRegion.map(region.descriptor, page, options));
  const unsealed = createMemory("dipc-test", page);
  assertDipcError("protocol", "its seals are 0", () => MappedRegion.map(unsealed, page, options));
  assertDipcError("protocol", "not a memfd", () => MappedRegion.map(-1, page, options));
  libc().close(unsealed);
  body.release();
  reader.close();
});
