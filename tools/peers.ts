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

/** Root of the repository, without a slash at its end. */
export const REPOSITORY: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Where everything that is fetched for tests goes: the same folder as the copy of UCX. */
export function peersFolder(): string | null {
  const folder = setupFolder();
  return folder === null ? null : folder.slice(0, folder.lastIndexOf("/"));
}

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

/** Debian 12's version of UCX. */
export const OLDER_UCX_VERSION = "1.13.1";

/** Version of the PyPI package `nvidia-cuda-runtime-cu12` that `cuda.h` is taken from. */
export const CUDA_HEADERS_VERSION = "12.9.79";

/** Version of arrow-go whose Flight integration programs the tests use. */
export const FLIGHT_GO_VERSION = "18.8.0";

/** Names of the two programs: client, then server. */
export const FLIGHT_GO_PROGRAMS = ["arrow-flight-integration-client", "arrow-flight-integration-server"] as const;

/** Names of the programs in `tools/flight_go`: server, then client. */
export const GO_PROGRAMS = ["aging_server", "default_client"] as const;

/** Version of `@grpc/grpc-js` whose client the tests use. */
export const GRPC_JS_VERSION = "1.14.7";

/** Version of nanoarrow whose sources the tests use, in the PyPI package `arx-nanoarrow-sources`. */
export const NANOARROW_VERSION = "0.8.0.post1";

/** Version of the ADBC drivers and of their driver manager on PyPI. */
export const ADBC_VERSION = "1.13.0";

/** Version of the PyPI package `flightsql-dbapi`, which comes with the ADBC drivers. */
export const FLIGHT_SQL_DBAPI_VERSION = "0.2.2";

/** Version of DuckDB's JDBC driver on Maven Central; npm has no DuckDB 2. */
export const DUCKDB_JDBC_VERSION = "2.0.0.1";

/** Version of the JDBC driver of Flight SQL on Maven Central. */
export const FLIGHT_SQL_JDBC_VERSION = "18.3.0";
/** Versions of the Flight SQL servers on PyPI. */
export const ROAPI_VERSION = "0.12.7";
/** See {@linkcode ROAPI_VERSION}. */
export const SAIL_VERSION = "0.7.2";

/** What each peer is called in messages, and how to get it. */
export const PEER_ADVICE: Readonly<Record<PeerName, string>> = {
  python: "Python 3.11 or newer with pyarrow (`deno task setup` makes the environment; needs python3 and pip)",
  compiler: "a C compiler (sudo apt-get install gcc)",
  ucx: `UCX ${SETUP_UCX_VERSION} (\`deno task setup\`; needs pip)`,
  olderUcx: `UCX ${OLDER_UCX_VERSION} (\`deno task setup\` on Debian 12, or in any system with its package lists)`,
  cudaHeaders: `NVIDIA's cuda.h ${CUDA_HEADERS_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  flightGo:
    `the Flight integration programs of arrow-go ${FLIGHT_GO_VERSION} (\`deno task setup\` builds them; needs Go ` +
    "1.25 or newer, or pip to fetch one, and a Go module proxy)",
  goPrograms: `the Flight programs of tools/flight_go (\`deno task setup\` builds them as those of arrow-go's tests)`,
  grpcJs: `@grpc/grpc-js ${GRPC_JS_VERSION} (\`deno task setup\`; needs a registry of npm)`,
  proxies: "Debian's nginx and HAProxy (`deno task setup` on Debian 12, or in any system with its package lists)",
  arrowCpp: "pyarrow with its headers (`deno task setup`), and a compiler of C++20 (sudo apt-get install g++)",
  nanoarrow: `the sources of nanoarrow ${NANOARROW_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  adbc:
    `the ADBC drivers ${ADBC_VERSION} of SQLite, PostgreSQL and Flight SQL (\`deno task setup\`; needs python3 and pip)`,
  duckdb: `libduckdb ${SETUP_DUCKDB_VERSION} (\`deno task setup\`; needs a registry of npm)`,
  duckdb2: `libduckdb of DuckDB's JDBC driver ${DUCKDB_JDBC_VERSION} (\`deno task setup\`; needs Maven Central)`,
  postgres: "Debian's PostgreSQL 15 (`deno task setup` on Debian 12, or in any system with its package lists)",
  flightSqlJdbc:
    `Java 17 or newer (sudo apt-get install openjdk-17-jdk-headless), and Arrow's JDBC driver of Flight SQL ` +
    `${FLIGHT_SQL_JDBC_VERSION} (\`deno task setup\`; needs Maven Central)`,
  sqliteServer: `the SQLite Flight SQL server of arrow-go ${FLIGHT_GO_VERSION} (\`deno task setup\` builds it as the ` +
    "programs of arrow-go's tests)",
  roapi: `ROAPI ${ROAPI_VERSION} (\`deno task setup\`; needs python3 and pip)`,
  sail: `Sail ${SAIL_VERSION} (\`deno task setup\`; needs python3 and pip)`,
};

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Folder of the older UCX, as its packages lay it out. */
export function olderUcxFolder(folder: string): string {
  return `${folder}/ucx-${OLDER_UCX_VERSION}`;
}

/** Folder of NVIDIA's `cuda.h`. */
export function cudaHeadersFolder(folder: string): string {
  return `${folder}/cuda-headers-${CUDA_HEADERS_VERSION}`;
}

/** Folder of the Flight integration programs. */
export function flightGoFolder(folder: string): string {
  return `${folder}/flight-go-${FLIGHT_GO_VERSION}`;
}

/** Folder of arrow-go's Flight SQL server. */
export function sqliteServerFolder(folder: string): string {
  return `${folder}/flight-sql-go-${FLIGHT_GO_VERSION}`;
}

/** Name of the program in it. */
export const SQLITE_SERVER = "sqlite_flightsql_server";

/** Folder of ROAPI, as its wheel lays it out. */
export function roapiFolder(folder: string): string {
  return `${folder}/roapi-${ROAPI_VERSION}`;
}

/** Folder of Sail. */
export function sailFolder(folder: string): string {
  return `${folder}/sail-${SAIL_VERSION}`;
}

/** Folder of the programs of `tools/flight_go`. */
export function goProgramsFolder(folder: string): string {
  return `${folder}/flight-go-programs`;
}

/** Folder of gRPC's library for JavaScript. */
export function grpcJsFolder(folder: string): string {
  return `${folder}/grpc-js-${GRPC_JS_VERSION}`;
}

/** Folder of the sources of nanoarrow. */
export function nanoarrowFolder(folder: string): string {
  return `${folder}/nanoarrow-${NANOARROW_VERSION}`;
}

/** The folder of pyarrow's package, with Arrow's libraries and headers; `null` if it has none. */
export function pyarrowFolder(): string | null {
  const folder = peersFolder();
  const libraries = folder === null ? null : pythonPath(folder).replace(/bin\/[^/]*$/, "lib");
  for (const name of libraries === null ? [] : namesIn(libraries)) {
    const installed = `${libraries}/${name}/site-packages/pyarrow`;
    if (isFile(`${installed}/include/arrow/c/abi.h`)) return installed;
  }
  return null;
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch {
    return [];
  }
}

function findArrowCpp(): ArrowCpp | null {
  const folder = pyarrowFolder();
  const compiler = findCommand("c++", "g++", "clang++");
  const library = folder === null ? undefined : namesIn(folder).find((name) => /^libarrow\.so\.\d+$/.test(name));
  return folder === null || compiler === null || library === undefined ? null : { folder, library, compiler };
}

/** The programs in the folder of proxies. */
export const PROXY_PROGRAMS = { nginx: "usr/sbin/nginx", haproxy: "usr/sbin/haproxy" } as const;

/** nginx's module for connections, in the folder of proxies. */
const STREAM_MODULE = "usr/lib/nginx/modules/ngx_stream_module.so";

/** The libraries in a folder that packages of Debian were unpacked into. */
export const DEBIAN_LIBRARIES: string = `usr/lib/${Deno.build.arch}-linux-gnu`;

/** Folder of nginx and HAProxy, as their packages lay it out. */
export function proxiesFolder(folder: string): string {
  return `${folder}/proxies`;
}

/** Folder of the Python packages with ADBC drivers. */
export function adbcFolder(folder: string): string {
  return `${folder}/adbc-${ADBC_VERSION}`;
}

/** Path of `libduckdb.so`, where `dipc setup duckdb` puts it. */
export function duckdbLibrary(folder: string): string {
  return `${folder}/libduckdb-${SETUP_DUCKDB_VERSION}/libduckdb.so`;
}

/** Path of the library in DuckDB's JDBC driver, which has the whole C interface. */
export function duckdb2Library(folder: string): string {
  return `${folder}/libduckdb-jdbc-${DUCKDB_JDBC_VERSION}/libduckdb.so`;
}

/** Folder of PostgreSQL, as its packages lay it out. */
export function postgresFolder(folder: string): string {
  return `${folder}/postgresql-15`;
}

/** The programs of PostgreSQL in its folder. */
export const POSTGRES_PROGRAMS = "usr/lib/postgresql/15/bin";

function findAdbc(folder: string): AdbcDrivers | null {
  const packages = adbcFolder(folder);
  const include = `${packages}/adbc_driver_manager`;
  const [sqlite, postgresql] = ["sqlite", "postgresql"].map((name) =>
    `${packages}/adbc_driver_${name}/libadbc_driver_${name}.so`
  );
  const flightSql = `${packages}/adbc_driver_flightsql/libadbc_driver_flightsql.so`;
  const all = [`${include}/arrow-adbc/adbc.h`, sqlite, postgresql, flightSql, `${packages}/flightsql/client.py`];
  return all.every(isFile) ? { packages, include, sqlite, postgresql } : null;
}

/** Path of the JDBC driver of Flight SQL. */
export function flightSqlJdbcDriver(folder: string): string {
  return `${folder}/flight-sql-jdbc-driver-${FLIGHT_SQL_JDBC_VERSION}.jar`;
}

function findFlightSqlJdbc(folder: string): FlightSqlJdbc | null {
  const java = findCommand("java");
  const driver = flightSqlJdbcDriver(folder);
  return java !== null && isFile(driver) ? { java, driver } : null;
}

function findPostgres(folder: string): Postgres | null {
  const unpacked = postgresFolder(folder);
  return isFile(`${unpacked}/${POSTGRES_PROGRAMS}/postgres`)
    ? { folder: unpacked, programs: POSTGRES_PROGRAMS, libraries: DEBIAN_LIBRARIES }
    : null;
}

/** The first of some commands that is in `PATH`, or `null`. */
export function findCommand(...names: string[]): string | null {
  for (const name of names) {
    for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
      if (folder !== "" && isFile(`${folder}/${name}`)) return `${folder}/${name}`;
    }
  }
  return null;
}

/** Path of the Python of the virtual environment, there or not. `DIPC_PYTHON` names another. */
export function pythonPath(folder: string): string {
  return Deno.env.get("DIPC_PYTHON") || `${folder}/venv/bin/python`;
}

/** What a machine without a folder for peers has. */
const NOTHING: Peers = {
  python: null,
  compiler: null,
  ucx: null,
  olderUcx: null,
  cudaHeaders: null,
  flightGo: null,
  goPrograms: null,
  grpcJs: null,
  proxies: null,
  arrowCpp: null,
  nanoarrow: null,
  adbc: null,
  duckdb: null,
  duckdb2: null,
  postgres: null,
  flightSqlJdbc: null,
  sqliteServer: null,
  roapi: null,
  sail: null,
};

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
  const older = `${olderUcxFolder(folder)}/usr`;
  const olderLibrary = `${older}/lib/${Deno.build.arch}-linux-gnu/libucp.so.0`;
  const [client, server] = FLIGHT_GO_PROGRAMS.map((name) => `${flightGoFolder(folder)}/${name}`);
  const [agingServer, defaultClient] = GO_PROGRAMS.map((name) => `${goProgramsFolder(folder)}/${name}`);
  const grpcJs = grpcJsFolder(folder);
  const proxies = proxiesFolder(folder);
  const [nginx, haproxy] = Object.values(PROXY_PROGRAMS).map((name) => `${proxies}/${name}`);
  const streamModule = `${proxies}/${STREAM_MODULE}`;
  const nanoarrow = nanoarrowFolder(folder);
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
        version: OLDER_UCX_VERSION,
        library: olderLibrary,
        include: include(`${older}/include`),
        perftest: ifFile(`${older}/bin/ucx_perftest`),
      }
      : null,
    cudaHeaders: isFile(`${cudaHeadersFolder(folder)}/cuda.h`) ? cudaHeadersFolder(folder) : null,
    flightGo: isFile(client) && isFile(server) ? { version: FLIGHT_GO_VERSION, client, server } : null,
    goPrograms: isFile(agingServer) && isFile(defaultClient)
      ? { version: FLIGHT_GO_VERSION, agingServer, defaultClient }
      : null,
    grpcJs: isFile(`${grpcJs}/node_modules/@grpc/grpc-js/package.json`)
      ? { version: GRPC_JS_VERSION, folder: grpcJs }
      : null,
    proxies: isFile(nginx) && isFile(haproxy) && isFile(streamModule)
      ? { nginx, haproxy, streamModule, env: { LD_LIBRARY_PATH: `${proxies}/${DEBIAN_LIBRARIES}` } }
      : null,
    arrowCpp: findArrowCpp(),
    nanoarrow: isFile(`${nanoarrow}/src/nanoarrow.c`) ? nanoarrow : null,
    adbc: findAdbc(folder),
    duckdb: ifFile(duckdbLibrary(folder)),
    duckdb2: ifFile(duckdb2Library(folder)),
    postgres: findPostgres(folder),
    flightSqlJdbc: findFlightSqlJdbc(folder),
    sqliteServer: ifFile(`${sqliteServerFolder(folder)}/${SQLITE_SERVER}`),
    roapi: ifFile(`${roapiFolder(folder)}/bin/roapi`),
    sail: isFile(`${sailFolder(folder)}/pysail/_native.abi3.so`) && isFile(python)
      ? { python, packages: sailFolder(folder) }
      : null,
  };
}
