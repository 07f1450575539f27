/**
 * Provides Flight SQL servers by others: arrow-go's example with SQLite, built from its source, and ROAPI and Sail from PyPI.
 *
 * @module
 */
import {
  FLIGHT_GO_VERSION,
  pythonPath,
  ROAPI_VERSION,
  roapiFolder,
  SAIL_VERSION,
  sailFolder,
  SQLITE_SERVER,
  sqliteServerFolder,
} from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { GO_BUILD, GO_TIMEOUT_MS, goCompiler } from "./setup_go.ts";
import { findPython } from "./setup_python.ts";
import { fillFolder, type Report, run, Unavailable } from "./setup_run.ts";

const SQLITE_PACKAGE = `github.com/apache/arrow-go/v18/arrow/flight/flightsql/example/cmd/${SQLITE_SERVER}`;

/**
 * Provides arrow-go's server.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if it cannot be built
 */
export async function provideSqliteServer(folder: string, report: Report): Promise<void> {
  if (findPeers().sqliteServer !== null) return;
  await fillFolder(folder, sqliteServerFolder(folder), async (temporary, made) => {
    const go = await goCompiler(folder, temporary, report);
    report(`building the SQLite Flight SQL server of arrow-go ${FLIGHT_GO_VERSION}`);
    await run(go, ["install", `${SQLITE_PACKAGE}@v${FLIGHT_GO_VERSION}`], {
      cwd: temporary,
      env: { ...GO_BUILD, GOBIN: made },
      signal: AbortSignal.timeout(GO_TIMEOUT_MS),
    });
    await Deno.stat(`${made}/${SQLITE_SERVER}`).catch(() => {
      throw new Unavailable(`go install ended well and left no ${SQLITE_SERVER}`);
    });
  });
}

/** Provides ROAPI. @throws {Unavailable} if it cannot be fetched */
export async function provideRoapi(folder: string, report: Report): Promise<void> {
  if (findPeers().roapi !== null) return;
  report(`fetching ROAPI ${ROAPI_VERSION} (from PyPI, about 37 MB)`);
  await fillFolder(
    folder,
    roapiFolder(folder),
    (temporary, made) => installInto(folder, temporary, made, `roapi==${ROAPI_VERSION}`),
  );
}

/** Provides Sail. @throws {Unavailable} if it cannot be fetched */
export async function provideSail(folder: string, report: Report): Promise<void> {
  if (findPeers().sail !== null) return;
  report(`fetching Sail ${SAIL_VERSION} (from PyPI, about 63 MB)`);
  await fillFolder(
    folder,
    sailFolder(folder),
    (temporary, made) => installInto(folder, temporary, made, `pysail==${SAIL_VERSION}`),
  );
}

async function installInto(folder: string, cwd: string, made: string, requirement: string): Promise<void> {
  const python = await findPython();
  const environment = findPeers().python === null ? [] : ["--python", pythonPath(folder)];
  const options = ["--no-deps", "--only-binary=:all:", "--no-compile", "-q", "--disable-pip-version-check"];
  await run(python, ["-m", "pip", ...environment, "install", ...options, "--target", made, requirement], { cwd });
}
