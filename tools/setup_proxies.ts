/**
 * Unpacks Debian's nginx and HAProxy, which the tests put before Flight servers; needs no root.
 *
 * @module
 */
import { DEBIAN_LIBRARIES, findCommand, proxiesFolder, PROXY_PROGRAMS } from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

/** The two programs, nginx's module that passes connections on, and the libraries of HAProxy that few machines have. */
const PACKAGES = [
  "nginx",
  "libnginx-mod-stream",
  "haproxy",
  "liblua5.3-0",
  "libopentracing-c-wrapper0",
  "libopentracing1",
];

/**
 * Provides the two programs.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if they cannot be fetched, or do not start on this machine
 */
export async function provideProxies(folder: string, report: Report): Promise<void> {
  if (findPeers().proxies !== null) return;
  for (const name of ["apt-get", "dpkg"]) {
    if (findCommand(name) === null) throw new Unavailable(`there is no ${name} in PATH`);
  }
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    report("fetching nginx and HAProxy of Debian, to test Flight behind proxies");
    await run("apt-get", ["download", "-q", ...PACKAGES], { cwd: temporary });
    const all = `${temporary}/all`;
    for (const entry of [...Deno.readDirSync(temporary)].filter(({ name }) => name.endsWith(".deb"))) {
      await run("dpkg", ["-x", `${temporary}/${entry.name}`, all]);
    }
    const env = { LD_LIBRARY_PATH: `${all}/${DEBIAN_LIBRARIES}` };
    for (const program of Object.values(PROXY_PROGRAMS)) await run(`${all}/${program}`, ["-v"], { env });
    await Deno.remove(proxiesFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(all, proxiesFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
