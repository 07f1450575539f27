/** A value of any size has its bytes in their places, whatever the pieces that it comes in, and gives its memory back. */
import { assert, assertEquals } from "@std/assert";
import { ValueBuffer } from "../../src/flight/value_buffer.ts";
import { HostPool } from "../../src/memory/host_pool.ts";
import { seed, seededRandom } from "../support/random.ts";

const MIB = 2 ** 20;

Deno.test(`a value is whole in every kind of memory (seed ${seed})`, () => {
  const random = seededRandom();
  const pattern = new Uint8Array(3 * MIB + 1).map((_, i) => i * 7 ^ i >> 8);
  for (const pool of [undefined, new HostPool()]) {
    for (const byteLength of [1, 1000, 16 * MIB, 17 * MIB, 64 * MIB + 1, 97 * MIB + 13]) {
      const value = new ValueBuffer(byteLength, pool);
      for (let at = 0; at < byteLength;) {
        const from = at % pattern.byteLength;
        const length = Math.min(pattern.byteLength - from, byteLength - at, 1 + random.below(3 * MIB));
        value.put(pattern.subarray(from, from + length));
        at += length;
      }
      const body = value.toBody();
      const bytes = body.bytes();
      assertEquals(bytes.byteLength, byteLength);
      for (let at = 0; at < byteLength; at += 1009) {
        if (bytes[at] !== pattern[at % pattern.byteLength]) throw new Error(`byte ${at} of ${byteLength} is wrong`);
      }
      assertEquals(bytes[byteLength - 1], pattern[(byteLength - 1) % pattern.byteLength]);
      body.release();
      if (byteLength > MIB) assertEquals(bytes.byteLength, 0, "a view of what was released is empty");
      const unfinished = new ValueBuffer(byteLength, pool);
      unfinished.put(pattern.subarray(0, Math.min(byteLength - 1, 1000)));
      unfinished.release();
    }
    if (pool === undefined) continue;
    assertEquals(pool.stats.blocksOut, 0);
    assert(pool.stats.retainedBytes <= 256 * MIB, `${pool.stats.retainedBytes} bytes are kept`);
  }
});
