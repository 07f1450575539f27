/**
 * `dipc setup duckdb`: makes sure that there is a `libduckdb.so`, fetching one into the user's cache folder if there is none.
 *
 * What it fetches is DuckDB's own package of npm, which has the library beside Node's bindings. Only the library and its license
 * are kept.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { duckDbFolder, type LibduckdbOrigin, locateLibduckdb, SETUP_DUCKDB_VERSION } from "../ffi/duckdb_location.ts";
import { concatBytes } from "./bytes.ts";
import { duckDbLibrary } from "./duckdb/library.ts";
import { DipcError, LocalError } from "./errors.ts";
import { netPermission, requirePermissions } from "./permissions.ts";
import { readTar } from "./setup_tar.ts";

/** Options of {@linkcode setupDuckDb}. */
export interface SetupDuckDbOptions {
  /** Called with each line of what is being done and why. */
  report?: (line: string) => void;
}

/** What {@linkcode setupDuckDb} found or provided. */
export interface SetupDuckDbResult {
  /** Path of the library. */
  readonly path: string;
  /** Version of DuckDB, such as `"v1.5.6"`. */
  readonly version: string;
  /** How it was found. */
  readonly origin: LibduckdbOrigin;
  /** Whether something was downloaded. */
  readonly downloaded: boolean;
}

/** The package for a processor, and the SHA-512 that npm has for it, in base64. */
const PACKAGES: Readonly<Record<string, { readonly name: string; readonly sha512: string }>> = {
  x86_64: {
    name: "node-bindings-linux-x64",
    sha512: "IXcrZJE6kEqM0Z4wwdVnGBHX/frOS33VPNAwDXQ/Q+Fs84b058Qe94chrCCIcNJlG8Y3UHIUU4eBeCQxW5mN1Q==",
  },
  aarch64: {
    name: "node-bindings-linux-arm64",
    sha512: "3jnUaDil1BrF/6vAZwVaInJ1xoBaWGHB4PDiUnzJWKCo8a8TLx9j7/gPyPl/UGRBftrYIuTihRZSfF4mWMgtWA==",
  },
};

/** Paths in the package of what is kept. */
const LIBRARY = "package/libduckdb.so", LICENSE = "package/LICENSE";
const DEFAULT_REGISTRY = "https://registry.npmjs.org";
/** Largest package that is read, in bytes. */
const MAX_PACKAGE_BYTES = 2 ** 28;
/** How often the progress is reported. */
const PROGRESS_BYTES = 8 * 2 ** 20;
/** Longest time without a byte of the registry, in milliseconds. */
const IDLE_MS = 30_000;

/**
 * Finds DuckDB, or fetches it into the user's cache folder. Idempotent: does nothing if it is there.
 *
 * @example Usage
 * ```ts ignore
 * import { setupDuckDb } from "@arrow-ucx/dipc/setup";
 *
 * const { path, version } = await setupDuckDb({ report: console.error });
 * ```
 *
 * @throws {DipcError} `invalid_data` if the download is not the pinned file; `unreachable` if the registry does not give it;
 * `permission_denied`; `unsupported` on other platforms; `io` if the cache cannot be written
 */
export async function setupDuckDb(options: SetupDuckDbOptions = {}): Promise<SetupDuckDbResult> {
  const report = options.report ?? (() => {});
  const { os, arch } = Deno.build;
  const source = PACKAGES[arch];
  if (os !== "linux" || source === undefined) {
    throw new DipcError(
      "unsupported",
      `cannot set up DuckDB: it is provided for Linux on x86-64 and aarch64, this is ${os} ${arch}`,
    );
  }
  const location = locateLibduckdb();
  if (location === null) {
    throw new DipcError(
      "library_not_found",
      "cannot set up DuckDB: neither XDG_CACHE_HOME nor HOME is set, so there is no folder for it; set one of them",
    );
  }
  const folder = duckDbFolder();
  const isMissing = location.origin === "setup" && !await isFile(location.path);
  if (isMissing) await provide(folder!, source, report);
  const { path, version } = duckDbLibrary();
  report(
    `DuckDB ${version} at ${path}: ${location.origin === "setup" ? "from dipc setup" : `from ${location.origin}`}`,
  );
  return { path, version, origin: location.origin, downloaded: isMissing };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new LocalError("io", `cannot set up DuckDB: ${(error as Error).message}`, { cause: error });
  }
}

async function provide(
  folder: string,
  { name, sha512 }: { readonly name: string; readonly sha512: string },
  report: (line: string) => void,
): Promise<void> {
  const registry = registryUrl();
  if (!/^https?:$/.test(URL.parse(registry)?.protocol ?? "")) {
    throw new LocalError(
      "invalid_argument",
      `cannot set up DuckDB: NPM_CONFIG_REGISTRY is ${
        JSON.stringify(registry)
      }, which is not a URL; write it as ${DEFAULT_REGISTRY}`,
    );
  }
  const url = `${registry}/@duckdb/${name}/-/${name}-${SETUP_DUCKDB_VERSION}.tgz`;
  const parent = folder.slice(0, folder.lastIndexOf("/"));
  const { hostname, port, protocol } = new URL(url);
  requirePermissions("set up DuckDB", [
    netPermission(hostname.replace(/^\[|\]$/g, ""), Number(port) || (protocol === "http:" ? 80 : 443)),
    { descriptor: { name: "read", path: parent } },
    { descriptor: { name: "write", path: parent } },
  ]);
  report(`fetching DuckDB (@duckdb/${name} ${SETUP_DUCKDB_VERSION} from ${registry}, about 24 MB) into ${folder}`);
  const archive = await download(url, report);
  const found = createHash("sha512").update(archive).digest("base64");
  if (found !== sha512) {
    throw new LocalError(
      "invalid_data",
      `cannot set up DuckDB: ${url} has SHA-512 ${found}, expected ${sha512}; check the registry that NPM_CONFIG_REGISTRY names`,
    );
  }
  const files = readTar(gunzipSync(archive), [LIBRARY, LICENSE]);
  const library = files.get(LIBRARY);
  if (library === undefined) {
    throw new LocalError("invalid_data", `cannot set up DuckDB: ${url} lacks ${LIBRARY}; report this`);
  }
  try {
    await place(folder, parent, { "libduckdb.so": library, LICENSE: files.get(LICENSE) ?? new Uint8Array(0) });
  } catch (cause) {
    throw new LocalError("io", `cannot set up DuckDB in ${folder}: ${(cause as Error).message}`, { cause });
  }
}

/** The registry of npm, which Deno takes from the same variable. */
function registryUrl(): string {
  const variable = "NPM_CONFIG_REGISTRY";
  const isKnown = Deno.permissions.querySync({ name: "env", variable }).state === "granted";
  return ((isKnown ? Deno.env.get(variable) : undefined) || DEFAULT_REGISTRY).replace(/\/+$/, "");
}

async function download(url: string, report: (line: string) => void): Promise<Uint8Array> {
  const stop = new AbortController();
  let timer = setTimeout(() => stop.abort(), IDLE_MS);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let byteLength = 0, reported = 0;
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new Error(`the registry answers ${response.status} ${response.statusText}`);
    }
    const total = Number(response.headers.get("content-length")) || 0;
    for await (const part of response.body) {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), IDLE_MS);
      parts.push(part);
      byteLength += part.byteLength;
      if (byteLength > MAX_PACKAGE_BYTES) throw new Error("it is longer than any such package");
      if (byteLength - reported < PROGRESS_BYTES) continue;
      reported = byteLength;
      report(`fetched ${megabytes(byteLength)}${total > 0 ? ` of ${megabytes(total)}` : ""} MB`);
    }
  } catch (cause) {
    const text = stop.signal.aborted ? `no byte arrived for ${IDLE_MS / 1000} s` : (cause as Error).message;
    throw new LocalError(
      "unreachable",
      `cannot set up DuckDB: ${url} could not be fetched: ${text}; set NPM_CONFIG_REGISTRY to a registry of npm that this ` +
        "machine reaches, or DIPC_LIBDUCKDB to the path of a libduckdb.so",
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
  return concatBytes(parts);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

/** Writes the files into a new folder, and moves that into place in one step. */
async function place(folder: string, parent: string, files: Record<string, Uint8Array>): Promise<void> {
  await Deno.mkdir(parent, { recursive: true });
  const temporary = await Deno.makeTempDir({ dir: parent, prefix: ".setup-" });
  try {
    const made = `${temporary}/made`;
    await Deno.mkdir(made);
    for (const [name, content] of Object.entries(files)) {
      await Deno.writeFile(`${made}/${name}`, content, { mode: 0o755 });
    }
    try {
      await Deno.rename(made, folder);
    } catch (error) {
      if (await isFile(`${folder}/libduckdb.so`)) return; // Another process was faster.
      // What is in the way is incomplete: move it aside.
      await Deno.rename(folder, `${temporary}/old`).catch(() => {
        throw error;
      });
      await Deno.rename(made, folder);
    }
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
