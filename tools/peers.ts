/**
 * The programs by others that the tests and benchmarks compare with: Python with pyarrow, a C compiler, `ucx_perftest`,
 * a second, older UCX, NVIDIA's `cuda.h`, Flight programs on arrow-go, grpc-js, nginx and HAProxy, databases and their ADBC
 * drivers. This module only looks; `setup_peers.ts` provides.
 *
 * @module
 */
import { SETUP_DUCKDB_VERSION } from "../ffi/duckdb_location.ts";
import { SETUP_UCX_VERSION, setupFolder, setupLibrary } from "../ffi/find.ts";
import { toolsFolder } from "../src/setup.ts";
import { findCommand, isFile, namesIn, peersFolder, pyarrowFolder, pythonPath } from "./peer_places.ts";
import * as places from "./peer_places.ts";

/** A UCX that the tests can use. */
export interface UcxInstallation {
  /** Its version, such as `"1.22.0"`. */
  readonly version: string;
  /** Path for `DIPC_LIBUCP` or the `library` option. */
  readonly library: string;
  /** Folder to compile with (`-I`), if its headers are there. */
  readonly include: string | null;
  /** Its `ucx_perftest`, to be run with `LD_LIBRARY_PATH` set to the library's folder. */
  readonly perftest: string | null;
}

/** Arrow's Flight integration programs in Go. */
export interface FlightGo {
  /** Version of arrow-go. */
  readonly version: string;
  /** Path of the client: `-host -port -scenario -path`. */
  readonly client: string;
  /** Path of the server: `-port -scenario`. */
  readonly server: string;
}

/** Flight programs of this repository that are made of nothing but arrow-go. */
export interface GoPrograms {
  /** Version of arrow-go. */
  readonly version: string;
  /** Path of a server that ends each connection after a second and takes one call at a time. */
  readonly agingServer: string;
  /** Path of a client with arrow-go's defaults: `ADDRESS PATH…`. */
  readonly defaultClient: string;
}

/** gRPC's library for JavaScript. */
export interface GrpcJs {
  /** Its version. */
  readonly version: string;
  /** Folder whose modules `@grpc/grpc-js` is one of. */
  readonly folder: string;
}

/** Proxies that understand HTTP/2. */
export interface Proxies {
  /** Path of nginx. */
  readonly nginx: string;
  /** Path of nginx's module that passes connections on as they are. */
  readonly streamModule: string;
  /** Path of HAProxy. */
  readonly haproxy: string;
  /** Environment to run them with. */
  readonly env: Readonly<Record<string, string>>;
}

/** Arrow's library in C++. */
export interface ArrowCpp {
  /** Folder with `include/` and the libraries. */
  readonly folder: string;
  /** File name of the library, such as `libarrow.so.2600`. */
  readonly library: string;
  /** A compiler of C++20. */
  readonly compiler: string;
}

/** ADBC drivers, and Python's package to use them with. */
export interface AdbcDrivers {
  /** Folder of Python packages, for `PYTHONPATH`: `adbc_driver_manager` and the drivers, that of Flight SQL and `flightsql` among them. */
  readonly packages: string;
  /** Folder with the specification's `arrow-adbc/adbc.h`, to compile with (`-I`). */
  readonly include: string;
  /** Path of the driver for SQLite, which has the database in it. */
  readonly sqlite: string;
  /** Path of the driver for PostgreSQL. */
  readonly postgresql: string;
}

/** Arrow's JDBC driver of Flight SQL. */
export interface FlightSqlJdbc {
  /** Path of Java, 17 or newer. */
  readonly java: string;
  /** Path of the driver. */
  readonly driver: string;
}

/** Debian's PostgreSQL server. */
export interface Postgres {
  /** Folder that its packages were unpacked into. */
  readonly folder: string;
  /** Folder of its programs, below {@linkcode folder}. */
  readonly programs: string;
  /** Folder of its libraries, below {@linkcode folder}. */
  readonly libraries: string;
}

/** What is on this machine; `null` or an empty list for what is not. */
export interface Peers {
  /** Python of the virtual environment with everything in `tests/python/requirements.txt`. */
  readonly python: string | null;
  /** A C compiler. */
  readonly compiler: string | null;
  /** The UCX that `dipc setup` fetches. */
  readonly ucx: UcxInstallation | null;
  /** The older UCX of Debian 12. */
  readonly olderUcx: UcxInstallation | null;
  /** Folder with NVIDIA's `cuda.h`, to compile with (`-I`). */
  readonly cudaHeaders: string | null;
  /** Arrow's Flight integration client and server in Go. */
  readonly flightGo: FlightGo | null;
  /** A server and a client on arrow-go, from `tools/flight_go`. */
  readonly goPrograms: GoPrograms | null;
  /** gRPC's library for JavaScript. */
  readonly grpcJs: GrpcJs | null;
  /** Debian's nginx and HAProxy. */
  readonly proxies: Proxies | null;
  /** pyarrow's own copy of Arrow C++, and a compiler for it. */
  readonly arrowCpp: ArrowCpp | null;
  /** Folder with the sources of nanoarrow: `include/nanoarrow/nanoarrow.h` and `src/nanoarrow.c`. */
  readonly nanoarrow: string | null;
  /** ADBC drivers of SQLite and PostgreSQL. */
  readonly adbc: AdbcDrivers | null;
  /** Path of `libduckdb.so`. */
  readonly duckdb: string | null;
  /** Path of a `libduckdb.so` of DuckDB 2.0. */
  readonly duckdb2: string | null;
  /** Debian's PostgreSQL server. */
  readonly postgres: Postgres | null;
  /** Arrow's JDBC driver of Flight SQL, and a Java to run it. */
  readonly flightSqlJdbc: FlightSqlJdbc | null;
  /** Path of arrow-go's example of a Flight SQL server, which has SQLite in it: `-port`. */
  readonly sqliteServer: string | null;
  /** Path of ROAPI, which serves files by Flight SQL with DataFusion: `--addr-flight-sql`. */
  readonly roapi: string | null;
  /** Sail, which serves Flight SQL in the dialect of Spark. */
  readonly sail: Sail | null;
}

/** Sail, as a package of Python. */
export interface Sail {
  /** The Python that runs `-m pysail`. */
  readonly python: string;
  /** Folder of packages, for `PYTHONPATH`. */
  readonly packages: string;
}

/** What a test may need; the key of {@linkcode Peers}. */
export type PeerName = keyof Peers;

/** What each peer is called in messages, and how to get it. */
export const PEER_ADVICE: Readonly<Record<PeerName, string>> = {
  python: "Python 3.11 or newer with pyarrow (`deno task setup` makes the environment; needs python3 and pip)",
  compiler: "a C compiler (sudo apt-get install gcc)",
  ucx: `UCX ${SETUP_UCX_VERSION} (\`deno task setup\`; needs pip)`,
  olderUcx:
    `UCX ${places.OLDER_UCX_VERSION} (\`deno task setup\` on Debian 12, or in any system with its package lists)`,
  cudaHeaders: `NVIDIA's cuda.h ${places.CUDA_HEADERS_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  flightGo:
    `the Flight integration programs of arrow-go ${places.FLIGHT_GO_VERSION} (\`deno task setup\` builds them; needs Go ` +
    "1.25 or newer, or pip to fetch one, and a Go module proxy)",
  goPrograms: `the Flight programs of tools/flight_go (\`deno task setup\` builds them as those of arrow-go's tests)`,
  grpcJs: `@grpc/grpc-js ${places.GRPC_JS_VERSION} (\`deno task setup\`; needs a registry of npm)`,
  proxies: "Debian's nginx and HAProxy (`deno task setup` on Debian 12, or in any system with its package lists)",
  arrowCpp: "pyarrow with its headers (`deno task setup`), and a compiler of C++20 (sudo apt-get install g++)",
  nanoarrow: `the sources of nanoarrow ${places.NANOARROW_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  adbc:
    `the ADBC drivers ${places.ADBC_VERSION} of SQLite, PostgreSQL and Flight SQL (\`deno task setup\`; needs python3 and pip)`,
  duckdb: `libduckdb ${SETUP_DUCKDB_VERSION} (\`deno task setup\`; needs a registry of npm)`,
  duckdb2: `libduckdb of DuckDB's JDBC driver ${places.DUCKDB_JDBC_VERSION} (\`deno task setup\`; needs Maven Central)`,
  postgres: "Debian's PostgreSQL 15 (`deno task setup` on Debian 12, or in any system with its package lists)",
  flightSqlJdbc:
    `Java 17 or newer (sudo apt-get install openjdk-17-jdk-headless), and Arrow's JDBC driver of Flight SQL ` +
    `${places.FLIGHT_SQL_JDBC_VERSION} (\`deno task setup\`; needs Maven Central)`,
  sqliteServer:
    `the SQLite Flight SQL server of arrow-go ${places.FLIGHT_GO_VERSION} (\`deno task setup\` builds it as the ` +
    "programs of arrow-go's tests)",
  roapi: `ROAPI ${places.ROAPI_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  sail: `Sail ${places.SAIL_VERSION} (\`deno task setup\`; needs python3 and pip)`,
};

function findArrowCpp(): ArrowCpp | null {
  const folder = pyarrowFolder();
  const compiler = findCommand("c++", "g++", "clang++");
  const library = folder === null ? undefined : namesIn(folder).find((name) => /^libarrow\.so\.\d+$/.test(name));
  return folder === null || compiler === null || library === undefined ? null : { folder, library, compiler };
}

function findAdbc(folder: string): AdbcDrivers | null {
  const packages = places.adbcFolder(folder);
  const include = `${packages}/adbc_driver_manager`;
  const [sqlite, postgresql] = ["sqlite", "postgresql"].map((name) =>
    `${packages}/adbc_driver_${name}/libadbc_driver_${name}.so`
  );
  const flightSql = `${packages}/adbc_driver_flightsql/libadbc_driver_flightsql.so`;
  const all = [`${include}/arrow-adbc/adbc.h`, sqlite, postgresql, flightSql, `${packages}/flightsql/client.py`];
  return all.every(isFile) ? { packages, include, sqlite, postgresql } : null;
}

function findFlightSqlJdbc(folder: string): FlightSqlJdbc | null {
  const java = findCommand("java");
  const driver = places.flightSqlJdbcDriver(folder);
  return java !== null && isFile(driver) ? { java, driver } : null;
}

function findPostgres(folder: string): Postgres | null {
  const unpacked = places.postgresFolder(folder);
  return isFile(`${unpacked}/${places.POSTGRES_PROGRAMS}/postgres`)
    ? { folder: unpacked, programs: places.POSTGRES_PROGRAMS, libraries: places.DEBIAN_LIBRARIES }
    : null;
}

/** What a machine without a folder for peers has. */
const NOTHING = Object.fromEntries(Object.keys(PEER_ADVICE).map((name) => [name, null])) as unknown as Peers;

/** Looks for all peers. Starts nothing and downloads nothing. */
export function findPeers(): Peers {
  const folder = peersFolder();
  const copy = setupFolder();
  if (folder === null || copy === null) {
    return { ...NOTHING, compiler: findCommand("cc", "gcc", "clang") };
  }
  const ifFile = (path: string): string | null => isFile(path) ? path : null;
  const python = pythonPath(folder);
  const tools = toolsFolder();
  const older = `${places.olderUcxFolder(folder)}/usr`;
  const olderLibrary = `${older}/lib/${Deno.build.arch}-linux-gnu/libucp.so.0`;
  const [client, server] = places.FLIGHT_GO_PROGRAMS.map((name) => `${places.flightGoFolder(folder)}/${name}`);
  const [agingServer, defaultClient] = places.GO_PROGRAMS.map((name) => `${places.goProgramsFolder(folder)}/${name}`);
  const grpcJs = places.grpcJsFolder(folder);
  const proxies = places.proxiesFolder(folder);
  const [nginx, haproxy] = Object.values(places.PROXY_PROGRAMS).map((name) => `${proxies}/${name}`);
  const streamModule = `${proxies}/${places.STREAM_MODULE}`;
  const nanoarrow = places.nanoarrowFolder(folder);
  const include = (path: string): string | null => isFile(`${path}/ucp/api/ucp.h`) ? path : null;
  return {
    python: ifFile(python),
    compiler: findCommand("cc", "gcc", "clang"),
    ucx: isFile(setupLibrary(copy))
      ? {
        version: SETUP_UCX_VERSION,
        library: setupLibrary(copy),
        include: include(`${tools}/include`),
        perftest: ifFile(`${tools}/bin/ucx_perftest`),
      }
      : null,
    olderUcx: isFile(olderLibrary)
      ? {
        version: places.OLDER_UCX_VERSION,
        library: olderLibrary,
        include: include(`${older}/include`),
        perftest: ifFile(`${older}/bin/ucx_perftest`),
      }
      : null,
    cudaHeaders: isFile(`${places.cudaHeadersFolder(folder)}/cuda.h`) ? places.cudaHeadersFolder(folder) : null,
    flightGo: isFile(client) && isFile(server) ? { version: places.FLIGHT_GO_VERSION, client, server } : null,
    goPrograms: isFile(agingServer) && isFile(defaultClient)
      ? { version: places.FLIGHT_GO_VERSION, agingServer, defaultClient }
      : null,
    grpcJs: isFile(`${grpcJs}/node_modules/@grpc/grpc-js/package.json`)
      ? { version: places.GRPC_JS_VERSION, folder: grpcJs }
      : null,
    proxies: isFile(nginx) && isFile(haproxy) && isFile(streamModule)
      ? { nginx, haproxy, streamModule, env: { LD_LIBRARY_PATH: `${proxies}/${places.DEBIAN_LIBRARIES}` } }
      : null,
    arrowCpp: findArrowCpp(),
    nanoarrow: isFile(`${nanoarrow}/src/nanoarrow.c`) ? nanoarrow : null,
    adbc: findAdbc(folder),
    duckdb: ifFile(places.duckdbLibrary(folder)),
    duckdb2: ifFile(places.duckdb2Library(folder)),
    postgres: findPostgres(folder),
    flightSqlJdbc: findFlightSqlJdbc(folder),
    sqliteServer: ifFile(`${places.sqliteServerFolder(folder)}/${places.SQLITE_SERVER}`),
    roapi: ifFile(`${places.roapiFolder(folder)}/bin/roapi`),
    sail: isFile(`${places.sailFolder(folder)}/pysail/_native.abi3.so`) && isFile(python)
      ? { python, packages: places.sailFolder(folder) }
      : null,
  };
}
