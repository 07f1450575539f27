/**
 * `deno task setup`: finds or fetches libucp, and the peers that the tests compare with. Does nothing if everything is there.
 *
 * With `CI=true` a missing peer is a failure; elsewhere it is said, and the tests that need it are skipped.
 *
 * @module
 */
import { DipcError } from "../src/errors.ts";
import { setup } from "../src/setup.ts";
import { setupPeers } from "./setup_peers.ts";

/** Options of {@linkcode prepare}. */
export interface PrepareOptions {
  /** Also provide what only the tests need. */
  peers: boolean;
}

/**
 * What the tasks do before their own work. Reports on standard error.
 *
 * @returns whether everything is there
 */
export async function prepare(options: PrepareOptions): Promise<boolean> {
  const report = (line: string): void => console.error(`setup: ${line}`);
  try {
    await setup({ report, tools: options.peers });
  } catch (error) {
    if (!(error instanceof DipcError)) throw error;
    console.error(`error[${error.code}]: ${error.message}`);
    return false;
  }
  if (!options.peers) return true;
  const { missing } = await setupPeers(report);
  if (missing.size === 0 || Deno.env.get("CI") !== "true") return true;
  console.error(`error: CI=true, and these are missing: ${[...missing.keys()].join(", ")}`);
  return false;
}

if (import.meta.main) {
  const isReady = await prepare({ peers: true });
  if (isReady) console.error("setup: ready");
  Deno.exit(isReady ? 0 : 1);
}
