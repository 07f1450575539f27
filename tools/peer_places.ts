/**
 * The versions of the programs by others that the tests and benchmarks compare with, and where each of them lies once it was fetched.
 *
 * @module
 */
import { SETUP_DUCKDB_VERSION } from "../ffi/duckdb_location.ts";
import { setupFolder } from "../ffi/find.ts";

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

/** Where everything that is fetched for tests goes: the same folder as the copy of UCX. */
export function peersFolder(): string | null {
  const folder = setupFolder();
  return folder === null ? null : folder.slice(0, folder.lastIndexOf("/"));
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

/** Whether there is a file. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
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

/** Names in a folder, which need not be there. */
export function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch {
    return [];
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

/** The programs in the folder of proxies. */
export const PROXY_PROGRAMS = { nginx: "usr/sbin/nginx", haproxy: "usr/sbin/haproxy" } as const;

/** nginx's module for connections, in the folder of proxies. */
export const STREAM_MODULE = "usr/lib/nginx/modules/ngx_stream_module.so";

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

/** Path of the JDBC driver of Flight SQL. */
export function flightSqlJdbcDriver(folder: string): string {
  return `${folder}/flight-sql-jdbc-driver-${FLIGHT_SQL_JDBC_VERSION}.jar`;
}
