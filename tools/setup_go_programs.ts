/**
 * Builds the Flight programs of `tools/flight_go`: a server that ends its connections, and a client with arrow-go's
 * defaults. Builds them again if their source has changed.
 *
 * @module
 */
import { FLIGHT_GO_VERSION, GO_PROGRAMS, goProgramsFolder } from "./peer_places.ts";
import { REPOSITORY } from "./repository.ts";
import { GO_BUILD, GO_TIMEOUT_MS, goCompiler } from "./setup_go.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

const SOURCE = `${REPOSITORY}/tools/flight_go`;
const FILES = ["go.mod", "go.sum", ...GO_PROGRAMS.map((name) => `${name}/main.go`)];

/**
 * Provides the programs.
 *
 * @param folder Where peers are kept
 * @param report Called before something is built
 * @throws {Unavailable} if they cannot be built
 */
export async function provideGoPrograms(folder: string, report: Report): Promise<void> {
  const target = goProgramsFolder(folder);
  const source = (await Promise.all(FILES.map((name) => Deno.readTextFile(`${SOURCE}/${name}`)))).join("\0");
  const marker = "source.done";
  if (await Deno.readTextFile(`${target}/${marker}`).catch(() => "") === source) return;
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    const go = await goCompiler(folder, temporary, report);
    report(`building the Flight programs of tools/flight_go with arrow-go ${FLIGHT_GO_VERSION}`);
    // Go writes nothing into the source: what is used is what go.mod and go.sum say.
    await run(go, ["build", "-mod=readonly", "-buildvcs=false", "-o", `${temporary}/bin/`, "./..."], {
      cwd: SOURCE,
      env: { ...GO_BUILD },
      signal: AbortSignal.timeout(GO_TIMEOUT_MS),
    });
    for (const name of GO_PROGRAMS) {
      await Deno.stat(`${temporary}/bin/${name}`).catch(() => {
        throw new Unavailable(`go build ended well and left no ${name}`);
      });
    }
    await Deno.writeTextFile(`${temporary}/bin/${marker}`, source);
    await Deno.remove(target, { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/bin`, target);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
