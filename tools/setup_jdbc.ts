/**
 * Provides what comes in JDBC drivers of Maven Central: Arrow's driver of Flight SQL, whose Java is the system's, and the library in
 * DuckDB's driver.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readZip } from "../src/setup_zip.ts";
import {
  duckdb2Library,
  DUCKDB_JDBC_VERSION,
  findCommand,
  FLIGHT_SQL_JDBC_VERSION,
  flightSqlJdbcDriver,
} from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { fillFolder, type Report, Unavailable } from "./setup_run.ts";

/** A file of Maven Central. */
interface Jar {
  /** Path of its folder, with the slashes of the group. */
  readonly group: string;
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}

const FLIGHT_SQL: Jar = {
  group: "org/apache/arrow",
  name: "flight-sql-jdbc-driver",
  version: FLIGHT_SQL_JDBC_VERSION,
  sha256: "3f418b46c880e263558c5de669bdbede2c5d4375527ced116fb29f795b03704c",
};
const DUCKDB: Jar = {
  group: "org/duckdb",
  name: "duckdb_jdbc",
  version: DUCKDB_JDBC_VERSION,
  sha256: "6cb8b0e0fc51b2e45aead2d2c1e1fd09dd10267db2966e69aaab0de67319f826",
};
/** The library in DuckDB's driver, for a processor. */
const DUCKDB_LIBRARIES: Readonly<Record<string, string>> = {
  x86_64: "libduckdb_java.so_linux_amd64",
  aarch64: "libduckdb_java.so_linux_arm64",
};
/** Longest download in milliseconds. */
const TIMEOUT_MS = 300_000;

/**
 * Provides Arrow's driver of Flight SQL.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if there is no Java, or the driver cannot be fetched
 */
export async function provideFlightSqlJdbc(folder: string, report: Report): Promise<void> {
  if (findPeers().flightSqlJdbc !== null) return;
  if (findCommand("java") === null) throw new Unavailable("there is no java in PATH");
  report(`fetching Arrow's JDBC driver of Flight SQL ${FLIGHT_SQL_JDBC_VERSION} (from Maven Central, 45 MB)`);
  const temporary = await Deno.makeTempFile({ dir: folder, prefix: ".setup-" });
  try {
    await Deno.writeFile(temporary, await fetched(FLIGHT_SQL));
    await Deno.rename(temporary, flightSqlJdbcDriver(folder));
  } finally {
    await Deno.remove(temporary).catch(() => {});
  }
}

/**
 * Provides a `libduckdb.so` of DuckDB 2.0: the library in its JDBC driver, and nothing else of that. It loads without Java.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if the driver cannot be fetched, or has no library for this machine
 */
export async function provideDuckdb2(folder: string, report: Report): Promise<void> {
  if (findPeers().duckdb2 !== null) return;
  const name = DUCKDB_LIBRARIES[Deno.build.arch];
  if (Deno.build.os !== "linux" || name === undefined) throw new Unavailable("it is there for Linux only");
  report(`fetching DuckDB's JDBC driver ${DUCKDB_JDBC_VERSION}, for the library in it (from Maven Central, 80 MB)`);
  const library = readZip(await fetched(DUCKDB)).find((entry) => entry.name === name);
  if (library === undefined) throw new Unavailable(`the driver lacks ${name}`);
  const path = duckdb2Library(folder);
  await fillFolder(folder, path.replace(/\/[^/]*$/, ""), async (_, made) => {
    await Deno.writeFile(`${made}/libduckdb.so`, library.read(), { mode: 0o755 });
  });
}

async function fetched({ group, name, version, sha256 }: Jar): Promise<Uint8Array> {
  const url = `https://repo1.maven.org/maven2/${group}/${name}/${version}/${name}-${version}.jar`;
  let bytes;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
    bytes = await response.bytes();
  } catch (error) {
    throw new Unavailable(`${url} cannot be fetched: ${(error as Error).message}`);
  }
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== sha256) throw new Unavailable(`${url} has SHA-256 ${digest}, expected ${sha256}`);
  return bytes;
}
