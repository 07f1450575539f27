import { assert, assertEquals } from "@std/assert";
import { concatBytes, constantTimeEqual, equalBytes, startsWith } from "../../src/bytes.ts";

const A = Uint8Array.of(1, 2, 3);

for (const [name, equal] of Object.entries({ equalBytes, constantTimeEqual })) {
  Deno.test(`${name}: the same bytes are equal, others are not`, () => {
    assert(equal(A, A));
    assert(equal(A, A.slice()));
    assert(equal(new Uint8Array(0), new Uint8Array(0)));
    for (const other of [[1, 2], [1, 2, 4], [0, 2, 3], [1, 2, 3, 0], []]) {
      assert(!equal(A, Uint8Array.from(other)), `${other}`);
      assert(!equal(Uint8Array.from(other), A), `${other}`);
    }
  });
}

Deno.test("concatBytes copies the parts in order", () => {
  assertEquals(concatBytes([A, new Uint8Array(0), A.subarray(1)]), Uint8Array.of(1, 2, 3, 2, 3));
  assertEquals(concatBytes([]), new Uint8Array(0));
  const copy = concatBytes([A]);
  copy[0] = 9;
  assertEquals(A[0], 1);
});

Deno.test("startsWith compares with ASCII, and a text that is too short does not match", () => {
  const bytes = new TextEncoder().encode("PAR1x");
  assertEquals(["", "P", "PAR1", "PAR2", "PAR1xy"].map((text) => startsWith(bytes, text)), [
    ...[true, true, true, false, false],
  ]);
});
