/**
 * What `dipc doctor` says of DuckDB.
 *
 * @module
 */
import { locateLibduckdb } from "../../ffi/duckdb_location.ts";
import { asFailure } from "./failure.ts";

/** The libduckdb that would be used. */
export interface DuckDbFacts {
  /** Its path; `null` if no cache folder is known. */
  readonly path: string | null;
  /** How it was found. */
  readonly origin: string | null;
  /** Version of DuckDB; `null` if it cannot be loaded. */
  readonly version: string | null;
  /** Why it cannot be loaded. */
  readonly cause: string | null;
}

/** Loads DuckDB, if it is there. */
export async function duckDbFacts(): Promise<DuckDbFacts> {
  const location = locateLibduckdb();
  const { path = null, origin = null } = location ?? {};
  try {
    const { duckDbLibrary } = await import("../duckdb/library.ts");
    return { path, origin, version: duckDbLibrary().version, cause: null };
  } catch (error) {
    return { path, origin, version: null, cause: asFailure(error).message };
  }
}

/** Versions of DuckDB that the tests run with. */
const TESTED = /^v(1\.5|2\.0)\./;

/** Lines of the text for people. */
export function duckDbLines({ path, origin, version, cause }: DuckDbFacts): string[] {
  if (version !== null && TESTED.test(version)) return [`${version} at ${path}`];
  if (version !== null) return [`${version} at ${path}`, "has all that dipc calls, but is not tested: 1.5 and 2.0 are"];
  if (origin === "DIPC_LIBDUCKDB") return [cause!];
  return ['not set up; "dipc setup duckdb" fetches it for duckdb: sources and dipc query'];
}
