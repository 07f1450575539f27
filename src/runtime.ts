/**
 * The oldest Deno that this package works with.
 *
 * @module
 */
import { DipcError } from "./errors.ts";

/** The oldest Deno that the tests of Flight, TLS and the command have been run with; with 2.5 those of TLS fail. */
export const OLDEST_DENO = "2.9.0";

/** The last version that was new enough: it is looked at before each stream. */
let newEnough = "";

/**
 * Checks that this Deno is new enough: older ones lack functions, or have them with faults that this package would build on.
 *
 * @param version The version to check
 * @default version That of the running Deno
 * @throws {DipcError} `unsupported`
 */
export function checkDeno(version: string = Deno.version.deno): void {
  if (version === newEnough) return;
  if (compare(version, OLDEST_DENO) >= 0) return void (newEnough = version);
  throw new DipcError(
    "unsupported",
    `cannot run on Deno ${version}: the oldest that dipc works with is ${OLDEST_DENO}; run "deno upgrade"`,
  );
}

/** Compares two versions; what follows a hyphen or a plus sign does not count. */
function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split(/[-+]/)[0].split(".").map(Number));
  const at = left.findIndex((number, i) => number !== right[i]);
  return at < 0 ? 0 : left[at] - right[at];
}
