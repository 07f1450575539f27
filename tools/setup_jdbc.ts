/**
 * Provides Arrow's JDBC driver of Flight SQL, from Maven Central. Java is the system's.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { findCommand, findPeers, FLIGHT_SQL_JDBC_VERSION, flightSqlJdbcDriver } from "./peers.ts";
import { type Report, Unavailable } from "./setup_run.ts";

const NAME = "flight-sql-jdbc-driver";
const SHA256 = "3f418b46c880e263558c5de669bdbede2c5d4375527ced116fb29f795b03704c";
/** Longest download in milliseconds. */
const TIMEOUT_MS = 300_000;

/**
 * Provides the driver.
 *
 * @param folder Where peers are kept
 * @param report Called before something is downloaded
 * @throws {Unavailable} if there is no Java, or the driver cannot be fetched
 */
export async function provideFlightSqlJdbc(folder: string, report: Report): Promise<void> {
  if (findPeers().flightSqlJdbc !== null) return;
  if (findCommand("java") === null) throw new Unavailable("there is no java in PATH");
  report(`fetching Arrow's JDBC driver of Flight SQL ${FLIGHT_SQL_JDBC_VERSION} (from Maven Central, 45 MB)`);
  const file = `${NAME}-${FLIGHT_SQL_JDBC_VERSION}.jar`;
  const url = `https://repo1.maven.org/maven2/org/apache/arrow/${NAME}/${FLIGHT_SQL_JDBC_VERSION}/${file}`;
  const temporary = await Deno.makeTempFile({ dir: folder, prefix: ".setup-" });
  try {
    await Deno.writeFile(temporary, await fetched(url));
    await Deno.rename(temporary, flightSqlJdbcDriver(folder));
  } finally {
    await Deno.remove(temporary).catch(() => {});
  }
}

async function fetched(url: string): Promise<Uint8Array> {
  let bytes;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
    bytes = await response.bytes();
  } catch (error) {
    throw new Unavailable(`${url} cannot be fetched: ${(error as Error).message}`);
  }
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== SHA256) throw new Unavailable(`${url} has SHA-256 ${digest}, expected ${SHA256}`);
  return bytes;
}
