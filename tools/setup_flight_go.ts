/**
 * Builds the client and the server of Arrow's Flight integration tests from the source of arrow-go.
 *
 * @module
 */
import { FLIGHT_GO_PROGRAMS, FLIGHT_GO_VERSION, flightGoFolder } from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { GO_BUILD, GO_TIMEOUT_MS, goCompiler } from "./setup_go.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

const PROGRAMS = "github.com/apache/arrow-go/v18/arrow/internal/flight_integration/cmd";

/**
 * Provides the two programs.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if they cannot be built
 */
export async function provideFlightGo(folder: string, report: Report): Promise<void> {
  if (findPeers().flightGo !== null) return;
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    const go = await goCompiler(folder, temporary, report);
    report(`building the Flight integration client and server of arrow-go ${FLIGHT_GO_VERSION}`);
    const packages = FLIGHT_GO_PROGRAMS.map((name) => `${PROGRAMS}/${name}@v${FLIGHT_GO_VERSION}`);
    await run(go, ["install", ...packages], {
      cwd: temporary,
      env: { ...GO_BUILD, GOBIN: `${temporary}/bin` },
      signal: AbortSignal.timeout(GO_TIMEOUT_MS),
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
