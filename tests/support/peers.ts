/**
 * Tests that need a program by others: they run if it is there; otherwise they are skipped aloud, or fail with
 * `CI=true`.
 *
 * @module
 */
import { findPeers, PEER_ADVICE, type PeerName, type Peers } from "../../tools/peers.ts";
import { type Need, testNeeding } from "./needs.ts";

/** What is on this machine. */
export const peers: Peers = findPeers();

/** Some peers, none of which is missing. */
export type Found<N extends PeerName> = { readonly [K in N]: NonNullable<Peers[K]> };

/**
 * Registers a test that needs peers.
 *
 * @example
 * ```ts ignore
 * peerTest(["python"], "pyarrow reads what we write", async ({ python }) => {
 *   await new Deno.Command(python, { args: ["compare.py"] }).output();
 * });
 * ```
 *
 * @param needs Names of the peers
 * @param name Name of the test
 * @param fn Given the peers that it needs
 * @param others What it needs beside them
 */
export function peerTest<const N extends PeerName>(
  needs: readonly N[],
  name: string,
  fn: (found: Found<N>, context: Deno.TestContext) => void | Promise<void>,
  others: readonly Need[] = [],
): void {
  if (others.some(({ present }) => !present)) return testNeeding(others, name, () => {});
  const missing = needs.filter((need) => peers[need] === null);
  if (missing.length === 0) {
    Deno.test(name, (context) => fn(peers as Found<N>, context));
    return;
  }
  const cause = `missing: ${missing.map((need) => PEER_ADVICE[need]).join("; ")}`;
  if (Deno.env.get("CI") === "true") {
    Deno.test(name, () => {
      throw new Error(cause);
    });
  } else {
    console.error(`skipped: ${name}: ${cause}`);
    Deno.test({ name, ignore: true, fn: () => {} });
  }
}
