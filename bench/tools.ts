/**
 * Finds what the benchmark needs on this machine: libucp, the `ucx_perftest` that belongs to it, a Python with pyarrow.
 *
 * @module
 */
import { setup } from "../src/setup.ts";

/** What was found. */
export interface Tools {
  readonly libucp: { readonly path: string; readonly version: string };
  /** `ucx_perftest` of the same libucp, and what it needs to load it. */
  readonly perftest: { readonly path: string; readonly env: Readonly<Record<string, string>> } | null;
  /** A Python that has pyarrow with Flight. */
  readonly python: { readonly path: string; readonly pyarrow: string } | null;
  /** A local path of `peers/arrow_peer.py`. */
  readonly peerScript: string;
  /** Arguments of `deno run` that give our programs the import map that this one has. */
  readonly denoArgs: readonly string[];
  /** UCX settings of ours that `ucx_perftest` must have too. */
  readonly ucxSettings: Readonly<Record<string, string>>;
}

/** What the library sets for a server on a loopback address, beside what the user has set. */
const UCX_SETTINGS: Readonly<Record<string, string>> = {
  UCX_POSIX_ERROR_HANDLING: "y",
  UCX_SYSV_ERROR_HANDLING: "y",
  UCX_NET_DEVICES: "lo",
  UCX_WARN_UNUSED_ENV_VARS: "n",
};

async function succeeds(command: string, args: string[], env: Record<string, string> = {}): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, env, stdout: "piped", stderr: "null" })
      .output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

async function findPerftest(path: string, toolsFolder: string | undefined): Promise<Tools["perftest"]> {
  const chosen = Deno.env.get("DIPC_PERFTEST");
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : null;
  const env: Record<string, string> = folder === null ? {} : { LD_LIBRARY_PATH: folder };
  const candidates = chosen ? [chosen] : [
    ...(folder === null ? ["ucx_perftest"] : [`${folder}/../bin/ucx_perftest`, `${folder}/../../bin/ucx_perftest`]),
    ...(toolsFolder === undefined ? [] : [`${toolsFolder}/bin/ucx_perftest`]),
  ];
  for (const candidate of candidates) {
    // Its help starts only where all its libraries load.
    if (await succeeds(candidate, ["-h"], env) !== null) return { path: candidate, env };
  }
  return null;
}

async function findPython(): Promise<Tools["python"]> {
  const chosen = Deno.env.get("DIPC_PYTHON");
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME")}/.cache`;
  const candidates = chosen ? [chosen] : [`${cache}/dipc/venv/bin/python`, "python3"];
  for (const path of candidates) {
    const pyarrow = await succeeds(path, ["-c", "import pyarrow.flight, numpy; print(pyarrow.__version__)"]);
    if (pyarrow !== null) return { path, pyarrow };
  }
  return null;
}

/** A Python program must be a file; where ours was loaded from elsewhere it is written to one. */
async function localPeerScript(): Promise<string> {
  const url = import.meta.resolve("./peers/arrow_peer.py");
  if (url.startsWith("file:")) return new URL(url).pathname;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  const path = await Deno.makeTempFile({ prefix: "dipc-bench-", suffix: ".py" });
  await Deno.writeTextFile(path, await response.text());
  return path;
}

/** Looks for everything; what is missing is null, except libucp, which is fetched or its absence thrown. */
export async function findTools(report: (line: string) => void): Promise<Tools> {
  const { path, version, toolsFolder } = await setup({ tools: true, report });
  const url = import.meta.resolve("../deno.json");
  return {
    libucp: { path, version },
    perftest: await findPerftest(path, toolsFolder),
    python: await findPython(),
    peerScript: await localPeerScript(),
    denoArgs: url.startsWith("file:") ? ["--config", new URL(url).pathname] : [],
    // What the user has set reaches our processes and the peer's alike.
    ucxSettings: Object.fromEntries(Object.entries(UCX_SETTINGS).filter(([name]) => !Deno.env.has(name))),
  };
}
