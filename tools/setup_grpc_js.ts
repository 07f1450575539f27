/**
 * Fetches gRPC's library for JavaScript from npm, with Deno itself, for the tests that read with its default client.
 *
 * @module
 */
import { GRPC_JS_VERSION, grpcJsFolder } from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { type Report, run } from "./setup_run.ts";

/** Longest time for the download, in milliseconds. */
const TIMEOUT_MS = 300_000;

/**
 * Provides the library.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if it cannot be fetched
 */
export async function provideGrpcJs(folder: string, report: Report): Promise<void> {
  if (findPeers().grpcJs !== null) return;
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    report(`fetching @grpc/grpc-js ${GRPC_JS_VERSION} from npm, to test with its default client`);
    const made = `${temporary}/modules`;
    await Deno.mkdir(made);
    const dependencies = { "@grpc/grpc-js": GRPC_JS_VERSION };
    await Deno.writeTextFile(`${made}/package.json`, JSON.stringify({ dependencies }));
    await run(Deno.execPath(), ["install", "-q", "--no-lock", "--node-modules-dir=auto"], {
      cwd: made,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await Deno.remove(grpcJsFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(made, grpcJsFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
