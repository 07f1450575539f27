/**
 * Finds what the benchmark needs on this machine: libucp, the `ucx_perftest` that belongs to it, a Python with pyarrow.
 *
 * @module
 */
import { setup } from "../src/setup.ts";
import { findPeers } from "../tools/peers.ts";
import { setupPeers } from "../tools/setup_peers.ts";

/** What was found. */
export interface Tools {
  readonly libucp: { readonly path: string; readonly version: string };
  /** `ucx_perftest` of the same libucp, and what it needs to load it. */
  readonly perftest: { readonly path: string; readonly env: Readonly<Record<string, string>> } | null;
  /** A Python that has pyarrow with Flight. */
  readonly python: { readonly path: string; readonly pyarrow: string } | null;
  /** Path of `peers/arrow_peer.py`. */
  readonly peerScript: string;
  /** Arguments of `deno run` that give our programs the import map that this one has. */
  readonly denoArgs: readonly string[];
}

async function succeeds(command: string, args: string[], env: Record<string, string> = {}): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, env, stdout: "piped", stderr: "null" })
      .output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

/** The `ucx_perftest` beside a libucp, or the one that was set up with it; `DIPC_PERFTEST` names another. */
async function findPerftest(library: string): Promise<Tools["perftest"]> {
  const slash = library.lastIndexOf("/");
  const folder = slash < 0 ? null : library.slice(0, slash);
  const env: Record<string, string> = folder === null ? {} : { LD_LIBRARY_PATH: folder };
  const { ucx, olderUcx } = findPeers();
  const candidates = [
    Deno.env.get("DIPC_PERFTEST"),
    ...[ucx, olderUcx].map((installed) => installed?.library === library ? installed.perftest : null),
    ...(folder === null ? ["ucx_perftest"] : [`${folder}/../bin/ucx_perftest`, `${folder}/../../bin/ucx_perftest`]),
  ];
  for (const candidate of candidates) {
    // Its help is printed only if all its libraries load.
    if (candidate && await succeeds(candidate, ["-h"], env) !== null) return { path: candidate, env };
  }
  return null;
}

async function findPython(): Promise<Tools["python"]> {
  for (const path of [findPeers().python, "python3"]) {
    if (path === null) continue;
    const pyarrow = await succeeds(path, ["-c", "import pyarrow.flight, numpy; print(pyarrow.__version__)"]);
    if (pyarrow !== null) return { path, pyarrow };
  }
  return null;
}

/**
 * Looks for everything, and fetches what can be had without root. What is missing then is null, except libucp.
 *
 * @param report Told what is done
 * @throws {DipcError} `library_not_found` if there is no libucp
 */
export async function findTools(report: (line: string) => void): Promise<Tools> {
  const { path, version } = await setup({ tools: true, report });
  let python = await findPython();
  if (python === null) {
    await setupPeers(report);
    python = await findPython();
  }
  return {
    libucp: { path, version },
    perftest: await findPerftest(path),
    python,
    peerScript: new URL("./peers/arrow_peer.py", import.meta.url).pathname,
    denoArgs: ["--config", new URL("../deno.json", import.meta.url).pathname],
  };
}
