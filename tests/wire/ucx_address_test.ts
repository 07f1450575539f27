/** Which addresses of a host are tried, in which order, and for how long they are looked up. */
import { assertEquals } from "@std/assert";
import type { SockAddr } from "../../ffi/ucp_structs.ts";
import { candidateTargets, resolveAddresses } from "../../src/wire/ucx/address.ts";
import { assertDipcError } from "../support/assert.ts";

const FAMILIES: Record<string, number> = { v4: 2, v6: 10 };

/** Addresses named by family and number, such as "v6-1". */
function addresses(names: string): SockAddr[] {
  return names.split(" ").map((name) => {
    const [family, number] = name.split("-");
    return { bytes: new Uint8Array(128).fill(FAMILIES[family], 0, 1).fill(Number(number), 127), length: 16 };
  });
}

function names(candidates: SockAddr[][]): string[] {
  return candidates.map((targets) =>
    targets.map(({ bytes }) => `${bytes[0] === 2 ? "v4" : "v6"}-${bytes[127]}`).join(" ")
  );
}

Deno.test("addresses are tried in the system's order, IPv6 only if it can be used", () => {
  const host = [addresses("v6-1 v6-2 v4-3")];
  assertEquals(names(candidateTargets(host, true)), ["v6-1", "v6-2", "v4-3"]);
  assertEquals(names(candidateTargets(host, false)), ["v4-3"]);
  assertEquals(names(candidateTargets([addresses("v4-3 v6-1")], true)), ["v4-3", "v6-1"]);
  assertEquals(candidateTargets([addresses("v6-1")], false), []);
});

Deno.test("two servers are reached over a family that both have", () => {
  const dual = addresses("v6-1 v4-2 v4-3"), old = addresses("v4-4");
  assertEquals(names(candidateTargets([dual, old], true)), ["v4-2 v4-4", "v4-3 v4-4"]);
  assertEquals(names(candidateTargets([old, dual], true)), ["v4-4 v4-2", "v4-4 v4-3"]);
  assertEquals(names(candidateTargets([dual, dual], true)), ["v6-1 v6-1", "v4-2 v4-2", "v4-3 v4-3"]);
  assertEquals(candidateTargets([addresses("v6-1"), old], true), []);
});

Deno.test("a name that is not looked up in time, or no longer needed, is dropped", async () => {
  const peers = [{ host: "slow.example", port: 1 }, { host: "127.0.0.1", port: 1 }];
  const never = () => new Promise<never>(() => {});
  await assertDipcError("timeout", "", () => resolveAddresses(peers, { timeoutMs: 20 }, never));
  for (const before of [true, false]) {
    const controller = new AbortController();
    if (before) controller.abort("enough");
    const resolving = resolveAddresses(peers, { timeoutMs: 2 ** 40, signal: controller.signal }, never);
    controller.abort("enough");
    const error = await assertDipcError("cancelled", "", () => resolving);
    assertEquals(error.cause, "enough");
  }
});
