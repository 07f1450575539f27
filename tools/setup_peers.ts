/**
 * Provides the peers of the tests: a virtual environment of Python, the older UCX of Debian 12 unpacked beside the copy of
 * UCX in the user's cache folder, NVIDIA's `cuda.h`, Flight programs on arrow-go, grpc-js, nginx, HAProxy, nanoarrow, databases and
 * their ADBC drivers. Installs nothing in the system.
 *
 * @module
 */
import { findCommand, OLDER_UCX_VERSION, olderUcxFolder, peersFolder, pythonPath } from "./peer_places.ts";
import { findPeers, PEER_ADVICE, type PeerName, type Peers } from "./peers.ts";
import { REPOSITORY } from "./repository.ts";
import { provideAdbc, provideDuckdb, providePostgres } from "./setup_databases.ts";
import { provideFlightGo } from "./setup_flight_go.ts";
import { provideGoPrograms } from "./setup_go_programs.ts";
import { findPython } from "./setup_python.ts";
import { provideGrpcJs } from "./setup_grpc_js.ts";
import { provideProxies } from "./setup_proxies.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";
import { provideDuckdb2, provideFlightSqlJdbc } from "./setup_jdbc.ts";
import { provideRoapi, provideSail, provideSqliteServer } from "./setup_sql_servers.ts";
import { provideCudaHeaders, provideNanoarrow } from "./setup_wheels.ts";

/** Makes the virtual environment, or brings it to what `requirements.txt` asks for. */
async function providePython(folder: string, report: Report): Promise<void> {
  if (Deno.env.get("DIPC_PYTHON")) return;
  const wanted = await Deno.readTextFile(`${REPOSITORY}/tests/python/requirements.txt`);
  const environment = `${folder}/venv`;
  const marker = `${environment}/requirements.done`;
  const done = await Deno.readTextFile(marker).catch(() => "");
  if (done === wanted) return;
  const python = await findPython();
  report(`making a Python environment with ${wanted.split("\n").filter((line) => line.includes("==")).join(", ")}`);
  await Deno.remove(environment, { recursive: true }).catch(() => {});
  const requirements = ["--disable-pip-version-check", "-q", "-r", `${REPOSITORY}/tests/python/requirements.txt`];
  const inside = pythonPath(folder);
  try {
    await run(python, ["-m", "venv", environment]);
    await run(inside, ["-m", "pip", "install", "--only-binary=:all:", ...requirements]);
  } catch (error) {
    // Debian keeps what venv needs for its own pip in another package; the machine's pip will do.
    try {
      await run(python, ["-m", "venv", "--clear", "--without-pip", environment]);
      await run(python, ["-m", "pip", "--python", inside, "install", "--only-binary=:all:", ...requirements]);
    } catch (second) {
      throw new Unavailable(`${(error as Error).message}; ${(second as Error).message}`);
    }
  }
  await Deno.writeTextFile(marker, wanted);
}

/** Unpacks Debian's UCX with apt's own download; needs no root. */
async function provideOlderUcx(folder: string, report: Report): Promise<void> {
  if (findPeers().olderUcx !== null) return;
  for (const name of ["apt-get", "dpkg"]) {
    if (findCommand(name) === null) throw new Unavailable(`there is no ${name} in PATH`);
  }
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    report(`fetching UCX ${OLDER_UCX_VERSION} of Debian 12, to test with an older version too`);
    const version = `${OLDER_UCX_VERSION}-1`;
    const packages = [`libucx0=${version}`, `libucx-dev=${version}`, `ucx-utils=${version}`, "libnuma1"];
    await run("apt-get", ["download", "-q", ...packages], { cwd: temporary });
    for (const entry of [...Deno.readDirSync(temporary)].filter((entry) => entry.name.endsWith(".deb"))) {
      await run("dpkg", ["-x", `${temporary}/${entry.name}`, `${temporary}/all`]);
    }
    await Deno.remove(olderUcxFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/all`, olderUcxFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/**
 * Provides what can be provided and says what cannot.
 *
 * @returns What is there, and the cause for each peer that is not
 */
export async function setupPeers(report: Report): Promise<{ peers: Peers; missing: Map<PeerName, string> }> {
  const missing = new Map<PeerName, string>();
  const folder = peersFolder();
  if (folder !== null) {
    await Deno.mkdir(folder, { recursive: true });
    // One at a time: an environment cannot be made elsewhere and then moved into place.
    using lock = await Deno.open(`${folder}/.setup.lock`, { create: true, write: true });
    await lock.lock(true);
    // Compiling takes the processor, and the others the network.
    const lanes = [
      { flightGo: provideFlightGo, goPrograms: provideGoPrograms, sqliteServer: provideSqliteServer },
      {
        python: providePython,
        olderUcx: provideOlderUcx,
        cudaHeaders: provideCudaHeaders,
        grpcJs: provideGrpcJs,
        proxies: provideProxies,
        nanoarrow: provideNanoarrow,
        adbc: provideAdbc,
        duckdb: provideDuckdb,
        duckdb2: provideDuckdb2,
        postgres: providePostgres,
        flightSqlJdbc: provideFlightSqlJdbc,
        roapi: provideRoapi,
        sail: provideSail,
      },
    ] as const;
    await Promise.all(lanes.map(async (steps) => {
      for (const [name, provide] of Object.entries(steps)) {
        try {
          await provide(folder, report);
        } catch (error) {
          if (!(error instanceof Unavailable)) throw error;
          missing.set(name as PeerName, error.message);
        }
      }
    }));
  }
  const peers = findPeers();
  for (const name of Object.keys(peers) as PeerName[]) {
    if (peers[name] === null && !missing.has(name)) missing.set(name, "not found");
  }
  for (const [name, cause] of missing) report(`missing: ${PEER_ADVICE[name]}: ${cause}`);
  return { peers, missing };
}
