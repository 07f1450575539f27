/**
 * Where `libduckdb.so` is: named by the caller, named by `DIPC_LIBDUCKDB`, or the copy that `dipc setup duckdb` has made.
 *
 * @module
 */
import { cacheFolder } from "./find.ts";

/** Version of the npm package that `dipc setup duckdb` fetches. */
export const SETUP_DUCKDB_VERSION = "1.5.6-r.1";

/** How the library was found. */
export type LibduckdbOrigin = "option" | "DIPC_LIBDUCKDB" | "setup";

/** A library that may be there. */
export interface LibduckdbLocation {
  /** Its path. */
  readonly path: string;
  readonly origin: LibduckdbOrigin;
}

/** Folder of the copy that `dipc setup duckdb` makes; `null` if no cache folder is known. */
export function duckDbFolder(): string | null {
  const folder = cacheFolder();
  return folder === null ? null : `${folder}/libduckdb-${SETUP_DUCKDB_VERSION}`;
}

/**
 * The place from which the library is to be loaded. Never prompts.
 *
 * @param option Path chosen by the caller
 * @returns `null` if there is no name for it and no cache folder
 */
export function locateLibduckdb(option?: string): LibduckdbLocation | null {
  if (option !== undefined) return { path: option, origin: "option" };
  const variable = Deno.permissions.querySync({ name: "env", variable: "DIPC_LIBDUCKDB" }).state === "granted"
    ? Deno.env.get("DIPC_LIBDUCKDB")
    : undefined;
  if (variable) return { path: variable, origin: "DIPC_LIBDUCKDB" };
  const folder = duckDbFolder();
  return folder === null ? null : { path: `${folder}/libduckdb.so`, origin: "setup" };
}
