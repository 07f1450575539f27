/**
 * Provides databases and their ADBC drivers: Python's packages of the drivers, `libduckdb.so` from npm, and Debian's PostgreSQL,
 * unpacked; needs no root.
 *
 * @module
 */
import { DipcError } from "../src/errors.ts";
import { setupDuckDb } from "../src/setup_duckdb.ts";
import {
  ADBC_VERSION,
  adbcFolder,
  DEBIAN_LIBRARIES,
  duckdbLibrary,
  findCommand,
  FLIGHT_SQL_DBAPI_VERSION,
  POSTGRES_PROGRAMS,
  postgresFolder,
  pythonPath,
} from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { findPython } from "./setup_python.ts";
import { fillFolder, type Report, run, Unavailable } from "./setup_run.ts";

/** The server, its client, and the libraries that few machines have. */
const POSTGRES_PACKAGES = ["postgresql-15", "postgresql-client-15", "libpq5", "libicu72", "libxml2", "libldap-2.5-0"];

/**
 * Provides the ADBC drivers of SQLite and PostgreSQL, and the driver manager of Python.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if they cannot be fetched
 */
export async function provideAdbc(folder: string, report: Report): Promise<void> {
  if (findPeers().adbc !== null) return;
  report(`fetching the ADBC drivers ${ADBC_VERSION} of SQLite, PostgreSQL and Flight SQL (from PyPI, about 25 MB)`);
  await fillFolder(folder, adbcFolder(folder), async (temporary, made) => {
    // The packages are for one version of Python, which is that of the environment if there is one.
    const python = findPeers().python === null ? await findPython() : pythonPath(folder);
    const environment = python === pythonPath(folder) ? ["--python", python] : [];
    const drivers = ["manager", "sqlite", "postgresql", "flightsql"];
    const others = ["typing-extensions==4.15.0", `flightsql-dbapi==${FLIGHT_SQL_DBAPI_VERSION}`, "protobuf==7.36.2"];
    const requirements = [...drivers.map((name) => `adbc-driver-${name}==${ADBC_VERSION}`), ...others];
    const options = ["--no-deps", "--only-binary=:all:", "-q", "--disable-pip-version-check", "--target", made];
    await run(await findPython(), ["-m", "pip", ...environment, "install", ...options, ...requirements], {
      cwd: temporary,
    });
  });
}

/**
 * Provides `libduckdb.so`, as `dipc setup duckdb` does.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if it cannot be fetched
 */
export async function provideDuckdb(folder: string, report: Report): Promise<void> {
  if (findPeers().duckdb !== null) return;
  try {
    const { path } = await setupDuckDb({ report });
    if (path !== duckdbLibrary(folder)) throw new Unavailable(`DIPC_LIBDUCKDB names another one, ${path}`);
  } catch (error) {
    throw error instanceof DipcError ? new Unavailable(error.message) : error;
  }
}

/**
 * Provides PostgreSQL.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if it cannot be fetched, or does not start on this machine
 */
export async function providePostgres(folder: string, report: Report): Promise<void> {
  if (findPeers().postgres !== null) return;
  for (const name of ["apt-get", "dpkg"]) {
    if (findCommand(name) === null) throw new Unavailable(`there is no ${name} in PATH`);
  }
  report("fetching PostgreSQL of Debian, to test ADBC with it (about 30 MB)");
  await fillFolder(folder, postgresFolder(folder), async (temporary, made) => {
    await run("apt-get", ["download", "-q", ...POSTGRES_PACKAGES], { cwd: temporary });
    for (const { name } of [...Deno.readDirSync(temporary)].filter(({ name }) => name.endsWith(".deb"))) {
      await run("dpkg", ["-x", `${temporary}/${name}`, made]);
    }
    const env = { LD_LIBRARY_PATH: `${made}/${DEBIAN_LIBRARIES}` };
    for (const program of ["postgres", "initdb", "psql"]) {
      await run(`${made}/${POSTGRES_PROGRAMS}/${program}`, ["--version"], { env });
    }
  });
}
