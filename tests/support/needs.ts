/**
 * What a test needs beyond Deno: if it is missing, the test is skipped aloud, and with `CI=true` it fails.
 *
 * @module
 */
import { findLibucp } from "../../ffi/find.ts";
import { findPeers, PEER_ADVICE } from "../../tools/peers.ts";
import { ROOT } from "./paths.ts";

/** Something a test needs. */
export interface Need {
  /** What it is, for the message. */
  what: string;
  present: boolean;
  /** How to get it. */
  how: string;
  /** Data that is not part of a clean clone: its absence is a skip, also with `CI=true`. */
  isOptional?: boolean;
}

/** Registers a test that needs something. */
export function testNeeding(
  needs: readonly Need[],
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  const missing = needs.find((need) => !need.present);
  if (missing === undefined) {
    Deno.test(name, fn);
    return;
  }
  const reason = `${missing.what} is missing; ${missing.how}`;
  if (Deno.env.get("CI") === "true" && !missing.isOptional) {
    Deno.test(name, () => {
      throw new Error(`${reason} (with CI=true this is a failure)`);
    });
    return;
  }
  console.log(`SKIPPED "${name}": ${reason}`);
  Deno.test({ name, ignore: true, fn });
}

function isFile(path: string | undefined): path is string {
  try {
    return path !== undefined && Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A UCX to test with. */
export interface UcxChoice {
  /** Version. */
  label: string;
  /** Path of libucp. */
  path: string;
  /** What a process must have in its environment to use it. */
  env: Record<string, string>;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function mainUcx(): UcxChoice | null {
  try {
    const { path, version } = findLibucp();
    return { label: version, path, env: {} };
  } catch {
    return null;
  }
}

function olderUcx(): UcxChoice | null {
  const path = Deno.env.get("DIPC_LIBUCP_113") ?? findPeers().olderUcx?.library;
  if (!isFile(path)) return null;
  // An unpacked Debian package finds its own libraries only this way.
  return { label: "1.13.1", path, env: { DIPC_LIBUCP: path, LD_LIBRARY_PATH: folderOf(path) } };
}

/** The UCX that the library would choose by itself. */
export const ucx: UcxChoice | null = mainUcx();
/** UCX 1.13.1: the unpacked packages of Debian 12, or what `DIPC_LIBUCP_113` names. */
export const ucx113: UcxChoice | null = olderUcx();

/** libucp. */
export const needsUcx: Need = { what: "libucp", present: ucx !== null, how: "run `deno task setup`" };

/** libucp 1.13.1. */
export const needsUcx113: Need = {
  what: "libucp 1.13.1",
  present: ucx113 !== null,
  how: `${PEER_ADVICE.olderUcx}, or set DIPC_LIBUCP_113 to its libucp.so.0`,
};

/** Both versions, with the need that goes with each. */
export const ucxVersions: { label: string; need: Need; env: Record<string, string> }[] = [
  { label: ucx?.label ?? "any", need: needsUcx, env: {} },
  { label: "1.13.1", need: needsUcx113, env: ucx113?.env ?? {} },
];

/** The folder of Arrow's gold files, or null. */
export const goldFolder: string | null = (() => {
  const folder = Deno.env.get("DIPC_GOLD") ?? `${ROOT}/../shared/data/arrow-gold`;
  try {
    return Deno.statSync(folder).isDirectory ? Deno.realPathSync(folder) : null;
  } catch {
    return null;
  }
})();

/** The gold files. */
export const needsGold: Need = {
  what: "the folder of Arrow's gold files",
  present: goldFolder !== null,
  how: "set DIPC_GOLD to it",
  isOptional: true,
};

/** An IPv6 loopback address: containers and machines without IPv6 have none, and no setup can give them one. */
export const needsIpv6: Need = {
  what: "the IPv6 loopback address ::1",
  present: canBind("::1"),
  how: "give the loopback interface this address",
  isOptional: true,
};

function canBind(hostname: string): boolean {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
