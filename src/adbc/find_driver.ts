/**
 * Finds the shared object of an ADBC driver, by its path, or by a name in the folders that other driver managers search, too.
 *
 * @module
 */
import { type AdbcInit, openAdbcLibrary } from "../../ffi/adbc.ts";
import { libc } from "../../ffi/libc.ts";
import { DipcError, LocalError } from "../errors.ts";
import { textOf } from "../text.ts";
import { type DriverManifest, readManifest } from "./manifest.ts";

/** A driver that was found, and opened. */
export interface FoundDriver {
  /** What was opened. */
  readonly path: string;
  readonly init: AdbcInit;
}

/** Something that was looked at, and why it is not the driver. */
interface Attempt {
  readonly path: string;
  readonly cause: string;
}

/** Variables that say which folders are searched. */
export const DRIVER_VARIABLES = ["ADBC_DRIVER_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CONFIG_HOME", "HOME"] as const;

const SYSTEM_FOLDER = "/etc/adbc/drivers";

/**
 * Finds a driver and opens it.
 *
 * A name with a `/` or an extension is the path of a shared object, or of a manifest if it ends in `.toml`. Any other name is
 * looked up as `NAME.toml`, `NAME.so`, `libNAME.so` and `NAME` in the folders of `ADBC_DRIVER_PATH`, in those of the active virtual or
 * conda environment, of the user and of the system, and at last given to the system's loader.
 *
 * @param driver Path or name
 * @param entrypoint Name of the entry point; by default that of the manifest, else the usual ones
 * @throws {DipcError} `library_not_found` naming all that was looked for; `invalid_data`, `unsupported` for a manifest;
 * `permission_denied`; `invalid_argument`
 */
export function findDriver(driver: string, entrypoint?: string): FoundDriver {
  if (typeof driver !== "string" || driver === "" || driver.includes("\0")) {
    throw new DipcError(
      "invalid_argument",
      "cannot open the ADBC driver: it has no name; give the path or the name of one",
    );
  }
  libc(); // throws a clear error if native libraries may not be loaded
  const search = new Search(driver, entrypoint);
  const found = search.run();
  if (found !== null) return found;
  const causes = search.attempts.map(({ path, cause }) => `${path}: ${cause}`);
  throw new LocalError(
    "library_not_found",
    `cannot open the ADBC driver ${driver}: none of these can be used: ${causes.join("; ")}; give its path, or set ` +
      "ADBC_DRIVER_PATH to the folder that it or its manifest is in",
  );
}

class Search {
  readonly attempts: Attempt[] = [];
  readonly #driver: string;
  readonly #entrypoint: string | undefined;

  constructor(driver: string, entrypoint: string | undefined) {
    this.#driver = driver;
    this.#entrypoint = entrypoint;
  }

  run(): FoundDriver | null {
    const driver = this.#driver;
    if (driver.endsWith(".toml")) return this.#byManifest(driver);
    if (driver.includes("/")) return this.#byManifest(`${driver}.toml`, true) ?? this.#open(driver, driver);
    if (/\.so(?:\.|$)/.test(driver)) return this.#open(driver, driver);
    for (const folder of searchedFolders(this.attempts)) {
      const found = this.#inFolder(folder);
      if (found !== null) return found;
    }
    return this.#open(driver, driver) ?? this.#open(`lib${driver}.so`, driver);
  }

  #inFolder(folder: string): FoundDriver | null {
    const name = `${folder}/${this.#driver}`;
    const found = this.#byManifest(`${name}.toml`, true);
    if (found !== null) return found;
    const libraries = [`${name}.so`, `${folder}/lib${this.#driver}.so`, name].filter((path) => this.#isThere(path));
    if (libraries.length === 0) this.attempts.push({ path: folder, cause: "it does not have the driver" });
    for (const path of libraries) {
      const opened = this.#open(path, path);
      if (opened !== null) return opened;
    }
    return null;
  }

  /** @param isOptional A manifest that is not there is not worth a line */
  #byManifest(path: string, isOptional = false): FoundDriver | null {
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      if (!isOptional || !isMissing(error)) this.attempts.push({ path, cause: readCause(error) });
      return null;
    }
    let manifest: DriverManifest;
    try {
      manifest = readManifest(text, path);
    } catch (error) {
      // One for other systems only does not end the search.
      if (!(error instanceof DipcError) || error.code !== "not_found") throw error;
      this.attempts.push({ path, cause: error.message });
      return null;
    }
    return this.#open(manifest.library, manifest.library, this.#entrypoint ?? manifest.entrypoint ?? undefined);
  }

  #open(path: string, name: string, entrypoint = this.#entrypoint): FoundDriver | null {
    const symbols = entrypoint === undefined ? [defaultEntrypoint(name), "AdbcDriverInit"] : [entrypoint];
    try {
      const init = openAdbcLibrary(path, symbols);
      if (init !== null) return { path, init };
      this.attempts.push({ path, cause: `it has no entry point ${symbols.join(" or ")}; name it` });
    } catch (error) {
      this.attempts.push({ path, cause: textOf(error).replace(/^(?:Could not open library: )+/, "") });
    }
    return null;
  }

  #isThere(path: string): boolean {
    try {
      return Deno.statSync(path).isFile;
    } catch (error) {
      if (!isMissing(error)) this.attempts.push({ path, cause: readCause(error) });
      return false;
    }
  }
}

/** The folders that exist or may exist, in order. What is not set is noted. */
function searchedFolders(attempts: Attempt[]): string[] {
  const path = variable("ADBC_DRIVER_PATH", attempts);
  if (path === "") attempts.push({ path: "ADBC_DRIVER_PATH", cause: "it is not set" });
  const folders = path.split(":");
  for (const environment of ["VIRTUAL_ENV", "CONDA_PREFIX"] as const) {
    const folder = variable(environment, attempts);
    if (folder !== "") folders.push(`${folder}/etc/adbc/drivers`);
  }
  const home = variable("HOME", attempts);
  const configuration = variable("XDG_CONFIG_HOME", attempts) || (home === "" ? "" : `${home}/.config`);
  if (configuration !== "") folders.push(`${configuration}/adbc/drivers`);
  return [...folders.filter((folder) => folder !== ""), SYSTEM_FOLDER];
}

function variable(name: typeof DRIVER_VARIABLES[number], attempts: Attempt[]): string {
  try {
    return Deno.env.get(name) ?? "";
  } catch (error) {
    attempts.push({ path: name, cause: readCause(error) });
    return "";
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}

function readCause(error: unknown): string {
  return error instanceof Deno.errors.NotCapable ? `it needs a permission: ${error.message}` : textOf(error);
}

/**
 * The entry point that a library's name suggests, as the driver managers of others form it: `AdbcDriverSqliteInit` for
 * `libadbc_driver_sqlite.so.1`.
 *
 * @param name Path or name of the library
 */
export function defaultEntrypoint(name: string): string {
  const base = name.replace(/^.*[/\\]/s, "").replace(/\..*$/s, "").replace(/^lib/, "");
  const words = base.split(/[-_]/).map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("");
  return `${words.startsWith("Adbc") ? "" : "Adbc"}${words}Init`;
}
