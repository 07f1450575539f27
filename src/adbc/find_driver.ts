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
  throw search.error();
}

/** Kinds of access that Deno may deny. */
type Access = "env" | "read";

class Search {
  readonly #attempts: Attempt[] = [];
  /** What could not be looked at: names of variables, and folders or files. */
  readonly #denied: Readonly<Record<Access, Set<string>>> = { env: new Set(), read: new Set() };
  readonly #driver: string;
  readonly #entrypoint: string | undefined;

  constructor(driver: string, entrypoint: string | undefined) {
    this.#driver = driver;
    this.#entrypoint = entrypoint;
  }

  run(): FoundDriver | null {
    const driver = this.#driver;
    if (driver.endsWith(".toml")) return this.#byManifest(driver, driver);
    if (driver.includes("/")) return this.#byManifest(`${driver}.toml`, driver, true) ?? this.#open(driver, driver);
    if (/\.so(?:\.|$)/.test(driver)) return this.#open(driver, driver);
    for (const folder of this.#folders()) {
      const found = this.#inFolder(folder);
      if (found !== null) return found;
    }
    return this.#open(driver, driver) ?? this.#open(`lib${driver}.so`, driver);
  }

  /** All that was looked at, and why it is not the driver. */
  error(): LocalError {
    const causes = this.#attempts.map(({ path, cause }) => `${path}: ${cause}`);
    const kinds = (["env", "read"] as const).filter((kind) => this.#denied[kind].size > 0);
    for (const kind of kinds) causes.push(`Deno denied ${kind} access to ${[...this.#denied[kind]].join(", ")}`);
    const folder = "set ADBC_DRIVER_PATH to the folder that it or its manifest is in";
    const flags = kinds.map((kind) => `--allow-${kind}`).join(" ");
    const advice = flags === "" ? `or ${folder}` : `${folder}, or run again with ${flags}`;
    return new LocalError(
      "library_not_found",
      `cannot open the ADBC driver ${this.#driver}: none of these can be used: ${causes.join("; ")}; ` +
        `give its path, ${advice}`,
    );
  }

  #inFolder(folder: string): FoundDriver | null {
    const name = `${folder}/${this.#driver}`;
    const found = this.#byManifest(`${name}.toml`, folder, true);
    if (found !== null) return found;
    const libraries = [`${name}.so`, `${folder}/lib${this.#driver}.so`, name].filter((path) =>
      this.#isThere(path, folder)
    );
    if (libraries.length === 0 && !this.#denied.read.has(folder)) this.#reject(folder, "it does not have the driver");
    for (const path of libraries) {
      const opened = this.#open(path, path);
      if (opened !== null) return opened;
    }
    return null;
  }

  /**
   * @param place What the error names if it may not be read
   * @param isOptional A manifest that is not there is not worth a line
   */
  #byManifest(path: string, place: string, isOptional = false): FoundDriver | null {
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      if (!isOptional || !isMissing(error)) this.#rejectFor(error, path, "read", place);
      return null;
    }
    let manifest: DriverManifest;
    try {
      manifest = readManifest(text, path);
    } catch (error) {
      // One for other systems only does not end the search.
      if (!(error instanceof DipcError) || error.code !== "not_found") throw error;
      this.#reject(path, error.message);
      return null;
    }
    return this.#open(manifest.library, manifest.library, this.#entrypoint ?? manifest.entrypoint ?? undefined);
  }

  #open(path: string, name: string, entrypoint = this.#entrypoint): FoundDriver | null {
    const symbols = entrypoint === undefined ? [defaultEntrypoint(name), "AdbcDriverInit"] : [entrypoint];
    try {
      const init = openAdbcLibrary(path, symbols);
      if (init !== null) return { path, init };
      this.#reject(path, `it has no entry point ${symbols.join(" or ")}; name it`);
    } catch (error) {
      const cause = textOf(error).replace(/^(?:Could not open library: )+/, "");
      this.#reject(path, cause.startsWith(`${path}: `) ? cause.slice(path.length + 2) : cause);
    }
    return null;
  }

  #isThere(path: string, folder: string): boolean {
    try {
      return Deno.statSync(path).isFile;
    } catch (error) {
      if (!isMissing(error)) this.#rejectFor(error, path, "read", folder);
      return false;
    }
  }

  #reject(path: string, cause: string): void {
    this.#attempts.push({ path, cause });
  }

  /** @param place What the message names once if Deno has denied the access */
  #rejectFor(error: unknown, path: string, access: Access, place: string): void {
    if (error instanceof Deno.errors.NotCapable) this.#denied[access].add(place);
    else this.#reject(path, textOf(error));
  }

  /** The folders that exist or may exist, in order. */
  #folders(): string[] {
    const path = this.#variable("ADBC_DRIVER_PATH");
    if (path === "") this.#reject("ADBC_DRIVER_PATH", "it is not set");
    const folders = path?.split(":") ?? [];
    for (const environment of ["VIRTUAL_ENV", "CONDA_PREFIX"] as const) {
      const folder = this.#variable(environment);
      if (folder) folders.push(`${folder}/etc/adbc/drivers`);
    }
    const home = this.#variable("HOME");
    const configuration = this.#variable("XDG_CONFIG_HOME") || (home ? `${home}/.config` : "");
    if (configuration !== "") folders.push(`${configuration}/adbc/drivers`);
    return [...folders.filter((folder) => folder !== ""), SYSTEM_FOLDER];
  }

  /** A variable, empty if it is not set; `null` if it may not be read. */
  #variable(name: typeof DRIVER_VARIABLES[number]): string | null {
    try {
      return Deno.env.get(name) ?? "";
    } catch (error) {
      this.#rejectFor(error, name, "env", name);
      return null;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
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
