/** Lists of addresses of memory between guard pages: whatever a list says, nothing beside the memory is read. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { rawMemory } from "../../ffi/raw_memory.ts";
import { createMemory, mapDescriptor, pageBytes, unmap } from "../../ffi/shared_memory.ts";
import { DipcError } from "../../mod.ts";
import { addressListBytes, parseAddressList, writeAddressList } from "../../src/protocol/address_list.ts";
import { seededRandom } from "../support/random.ts";

const ROUNDS = Number(Deno.env.get("DIPC_ADDRESS_LISTS") ?? 20_000);
const PROT_NONE = 0;

/** One page that can be read, between two that end the process when they are touched. */
class GuardedPage implements Disposable {
  readonly byteLength: number = pageBytes();
  readonly base: bigint;
  readonly #map: bigint;

  constructor() {
    const fd = createMemory("guarded", 3 * this.byteLength);
    const map = mapDescriptor(fd, 3 * this.byteLength, "writable");
    assert(map !== null);
    this.#map = map;
    this.base = map + BigInt(this.byteLength);
    for (const page of [0, 2]) {
      const result = rawMemory().mprotect(map + BigInt(page * this.byteLength), BigInt(this.byteLength), PROT_NONE);
      assertEquals(result, 0);
    }
    this.bytes(0, this.byteLength).forEach((_, i, all) => all[i] = i % 251);
  }

  bytes(offset: number, byteLength: number): Uint8Array {
    const pointer = Deno.UnsafePointer.create(this.base + BigInt(offset))!;
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
  }

  [Symbol.dispose](): void {
    unmap(this.#map, 3 * this.byteLength);
  }
}

Deno.test("of 20,000 lists, most of them altered, those that are accepted stay between the guard pages", () => {
  const random = seededRandom();
  using page = new GuardedPage();
  let accepted = 0, refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    // A packed body of a few buffers, and the list of it somewhere in the page, or half outside.
    const buffers: number[] = [];
    let bodyLength = 0;
    for (let i = random.below(4) + 1; i > 0; i--) {
      const length = random.chance(0.2) ? 0 : random.below(page.byteLength / 2);
      buffers.push(bodyLength, length);
      bodyLength += Math.ceil(length / 8) * 8;
    }
    const list = new Uint8Array(addressListBytes(buffers.length / 2));
    const start = (random.below(page.byteLength / 4) - page.byteLength / 8) * 8;
    writeAddressList(list, page.base + BigInt(start), buffers);
    const view = new DataView(list.buffer);
    for (let changes = random.below(3); changes > 0; changes--) {
      const at = random.below(list.byteLength / 8) * 8;
      const value = view.getBigUint64(at, true);
      const step = BigInt(random.pick([8, -8, 1, page.byteLength, -page.byteLength, random.below(4096) * 8]));
      const other = random.pick([value + step, 2n ** 63n, 2n ** 64n - 8n, 0n, page.base, page.base - 8n]);
      view.setBigUint64(at, BigInt.asUintN(64, other), true);
    }
    const cut = random.chance(0.05) ? list.subarray(0, random.below(list.byteLength)) : list;
    try {
      const { offsets, packedAt } = parseAddressList(cut, { bodyLength, buffers }, page);
      accepted++;
      for (let i = 0; i < offsets.length; i++) {
        const read = page.bytes(offsets[i], buffers[2 * i + 1]);
        for (let k = 0; k < read.byteLength; k++) assertEquals(read[k], (offsets[i] + k) % 251);
      }
      if (packedAt >= 0) {
        page.bytes(packedAt, bodyLength).forEach((byte, k) => assertEquals(byte, (packedAt + k) % 251));
      }
    } catch (error) {
      if (!(error instanceof DipcError)) throw error;
      assertEquals(error.code, "protocol");
      refused++;
    }
  }
  console.log(`${accepted} accepted, ${refused} refused`);
  assertGreater(accepted, ROUNDS / 100);
  assertGreater(refused, ROUNDS / 4);
});
