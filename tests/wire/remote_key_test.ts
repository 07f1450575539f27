/** Packed remote keys of UCX, read with every length checked. */
import { assert, assertEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { packRemoteKey, parseRemoteKey } from "../../src/wire/ucx/remote_key.ts";
import { assertDipcError } from "../support/assert.ts";
import { seededRandom } from "../support/random.ts";

const KEYS = Number(Deno.env.get("DIPC_REMOTE_KEYS") ?? 20_000);
/** As UCX 1.22.0 and 1.13.1 pack memory of theirs in a segment of System V. */
const PACKED = {
  "1.22.0": {
    hex: "05000000000000000000 0c 0f002200 00800817de7f0000 ff",
    domain: 2,
    id: 0x22000f,
    base: 0x7fde17088000n,
  },
  "1.13.1": {
    hex: "1700000000000000 00 00 00 0c 5b002200 00907dbadf7f0000 00",
    domain: 2,
    id: 0x22005b,
    base: 0x7fdfba7d9000n,
  },
};

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

for (const [version, { hex, domain, id, base }] of Object.entries(PACKED)) {
  Deno.test(`the segment in a key of UCX ${version} is found, and written as it was`, () => {
    assertEquals(parseRemoteKey(bytesOf(hex)), [{ domain, id, base }]);
    const written = packRemoteKey({ domain, id, base });
    assertEquals(parseRemoteKey(written.slice(0, 22)), [{ domain, id, base }]);
    // UCX reads on behind the end of a key.
    assert(written.byteLength >= 256);
  });

  Deno.test(`a key of UCX ${version} that is cut anywhere in its domains is refused`, () => {
    const whole = bytesOf(hex);
    const last = version === "1.22.0" ? whole.byteLength - 1 : whole.byteLength;
    for (let length = 0; length < last; length++) {
      assertDipcError("protocol", "cannot use a remote key", () => parseRemoteKey(whole.slice(0, length)));
    }
  });
}

Deno.test("a key without domains is one by which memory is fetched", () => {
  assertEquals(parseRemoteKey(new Uint8Array(9)), []);
  assertEquals(packRemoteKey(null).slice(0, 10), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF));
});

Deno.test("a key of the memory of a GPU is refused, and so is one that is too long", () => {
  const key = new Uint8Array(9);
  key[8] = 1;
  assertDipcError("unsupported", "memory of type 1", () => parseRemoteKey(key));
  assertDipcError("protocol", "bytes follow", () => parseRemoteKey(new Uint8Array(4000)));
  assertDipcError("protocol", "expected 9 to", () => parseRemoteKey(new Uint8Array(1 << 20)));
});

Deno.test("random keys are read or refused, and what is read lies inside of them", () => {
  const random = seededRandom();
  let read = 0;
  for (let i = 0; i < KEYS; i++) {
    const key = Uint8Array.from({ length: 9 + random.below(60) }, () => random.below(20));
    key[8] = 0;
    for (let at = 1; at < 8; at++) key[at] = random.chance(0.9) ? 0 : random.below(256);
    try {
      for (const { domain, id, base } of parseRemoteKey(key)) {
        read++;
        const text = packRemoteKey({ domain, id, base }).slice(10, 22).toHex();
        assert(key.toHex().includes(text), "a segment that the key does not hold");
      }
    } catch (error) {
      assert(error instanceof DipcError && error.code === "protocol", String(error));
    }
  }
  assert(read > 0, "no key held a segment");
});
