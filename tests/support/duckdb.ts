/**
 * Tests that run with each version of DuckDB: the one that `dipc setup duckdb` fetches, and 2.0.
 *
 * @module
 */
import type { PeerName } from "../../tools/peers.ts";
import type { Need } from "./needs.ts";
import { type Found, peerTest } from "./peers.ts";

const VERSIONS = [
  { peer: "duckdb", major: 1, version: "v1.5.6" },
  { peer: "duckdb2", major: 2, version: "v2.0.0" },
] as const;

/** One of the versions. */
export interface DuckDbVersion {
  /** Path of the library. */
  readonly library: string;
  readonly major: 1 | 2;
  /** What the library says. */
  readonly version: string;
}

/**
 * Registers a test for each version.
 *
 * @param needs Names of other peers
 * @param name Name of the test; that of DuckDB 2.0 is named after it, too
 * @param fn Given the version, and the other peers
 * @param others What it needs beside peers
 */
export function duckDbTest<const N extends PeerName = never>(
  needs: readonly N[],
  name: string,
  fn: (version: DuckDbVersion, found: Found<N>) => void | Promise<void>,
  others: readonly Need[] = [],
): void {
  for (const { peer, major, version } of VERSIONS) {
    const title = major === 1 ? name : `${name} (DuckDB 2.0)`;
    peerTest([peer, ...needs], title, (found) => {
      return fn({ library: (found as Record<string, string>)[peer], major, version }, found as unknown as Found<N>);
    }, others);
  }
}
