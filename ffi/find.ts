/**
 * Finds libucp, the library of UCX that dipc uses, and explains its choice.
 *
 * A process must not load two copies of UCX: their lower libraries have the same names, so the second libucp would use those
 * of the first. Candidates are therefore judged by reading their files, and only the chosen one is loaded.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { withUcxLog } from "./ucx_log.ts";
import { applyUcxSettings } from "./ucx_settings.ts";

/** Version of UCX that `dipc setup` fetches. */
export const SETUP_UCX_VERSION = "1.22.0";
/** Oldest UCX that dipc supports. */
const OLDEST_UCX_VERSION = "1.13.0";
/** A UCX of the system is preferred to the copy that `dipc setup` made if it has this version or a newer one. */
const PREFERRED_UCX_VERSION = "1.18.0";

/** What selected the library: an option of the caller, the environment, the system, or `dipc setup`. */
export type LibucpOrigin = "option" | "DIPC_LIBUCP" | "system" | "setup";

/** The libucp that was chosen. */
export interface LibucpLocation {
  /** Argument for `Deno.dlopen`: a path, or a bare name that the system's loader resolves. */
  readonly path: string;
  /** Its version, such as `"1.22.0"`. */
  readonly version: string;
  /** What selected it. */
  readonly origin: LibucpOrigin;
  /** Why it was chosen, and hints about it, one sentence each. */
  readonly notes: readonly string[];
}

/** Where to search, for tests and for unusual systems. */
export interface FindLibucpOptions {
  /** Folders of the system's libraries. */
  systemFolders?: readonly string[];
  /** Whether to try `libucp.so.0` with the system's loader, too. Default `true`. */
  systemLoader?: boolean;
  /** Folder that is not empty if there is RDMA hardware. */
  rdmaFolder?: string;
}

/** A path that was tried, and why it was rejected. */
export interface LibucpAttempt {
  readonly path: string;
  readonly cause: string;
}

/** Outcome of {@linkcode rankLibucp}. */
export interface LibucpRanking {
  /** Libraries that may be loaded, best first; a version is `""` if it is unknown until the library is loaded. */
  readonly candidates: readonly LibucpLocation[];
  /** Paths that were rejected, and why. */
  readonly attempts: readonly LibucpAttempt[];
  /** Whether the first candidate is as good as what `dipc setup` would provide. */
  readonly isSatisfied: boolean;
}

const LIBRARY = "libucp.so.0";
// libnuma does not belong to UCX, but a libucs unpacked from a package may need it and have it in its folder.
const SIBLINGS = ["libnuma.so.1", "libucm.so.0", "libucs.so.0", "libuct.so.0"];

/** Folder of what `dipc setup` fetches; `null` if neither `XDG_CACHE_HOME` nor `HOME` is known. */
export function cacheFolder(): string | null {
  const cache = readEnv("XDG_CACHE_HOME");
  if (cache !== undefined && cache.startsWith("/")) return `${cache}/dipc`;
  const home = readEnv("HOME");
  return home ? `${home}/.cache/dipc` : null;
}

/** Folder of the copy of UCX that `dipc setup` makes; `null` if {@linkcode cacheFolder} is. */
export function setupFolder(): string | null {
  const folder = cacheFolder();
  return folder === null ? null : `${folder}/ucx-${SETUP_UCX_VERSION}`;
}

/** Path of libucp in a {@linkcode setupFolder}. */
export function setupLibrary(folder: string): string {
  return `${folder}/libucx/lib/${LIBRARY}`;
}

/**
 * Ranks the copies of libucp without loading one: the caller's, `DIPC_LIBUCP`, the system's if it is 1.18 or newer or there
 * is RDMA hardware, the copy that `dipc setup` made, any other UCX of the system.
 *
 * Reads only what the permissions allow, and never prompts for more.
 *
 * @param option Path chosen by the caller; then only that one is a candidate
 */
export function rankLibucp(option?: string, options: FindLibucpOptions = {}): LibucpRanking {
  const attempts: LibucpAttempt[] = [];
  const named = option ?? (readEnv("DIPC_LIBUCP") || undefined);
  if (named !== undefined) {
    const origin = option !== undefined ? "option" : "DIPC_LIBUCP";
    const who = option !== undefined ? "the `library` option" : "DIPC_LIBUCP";
    return {
      candidates: [{ path: named, version: "", origin, notes: [`${who} names it`] }],
      attempts,
      isSatisfied: true,
    };
  }

  if (!isGranted({ name: "env", variable: "DIPC_LIBUCP" })) {
    attempts.push({ path: "DIPC_LIBUCP", cause: "not readable: needs --allow-env=DIPC_LIBUCP" });
  }
  const preferred: LibucpLocation[] = [];
  const others: LibucpLocation[] = [];
  const rdma = hasRdma(options.rdmaFolder ?? "/sys/class/infiniband");
  const files = new Set<string>();
  for (const folder of options.systemFolders ?? systemFolders()) {
    const path = `${folder}/${LIBRARY}`;
    const seen = glance(path);
    if (typeof seen === "object") {
      attempts.push({ path, cause: seen.cause });
      continue;
    }
    // /lib is often a link to /usr/lib.
    const file = Deno.realPathSync(path);
    if (files.has(file)) continue;
    files.add(file);
    const location = (note: string): LibucpLocation => ({ path, version: seen, origin: "system", notes: [note] });
    if (seen === "") {
      others.push(location("the system's UCX, whose file does not contain its version"));
    } else if (compareVersions(seen, OLDEST_UCX_VERSION) < 0) {
      attempts.push({
        path,
        cause: `UCX ${seen} is older than ${OLDEST_UCX_VERSION}, the oldest that dipc supports`,
      });
    } else if (compareVersions(seen, PREFERRED_UCX_VERSION) >= 0) {
      preferred.push(location(`the system's UCX, ${PREFERRED_UCX_VERSION} or newer`));
    } else if (rdma) {
      preferred.push(
        location("the system's UCX: this machine has RDMA hardware, which the copy of `dipc setup` cannot use"),
      );
    } else {
      others.push(location(
        `the system's UCX, older than ${PREFERRED_UCX_VERSION}: \`dipc setup\` fetches ${SETUP_UCX_VERSION}, which is ` +
          "much faster over shared memory",
      ));
    }
  }

  const copy: LibucpLocation[] = [];
  const folder = setupFolder();
  if (folder === null) {
    const cause = "unknown folder: neither XDG_CACHE_HOME nor HOME is set, or --allow-env does not cover them";
    attempts.push({ path: "copy of `dipc setup`", cause });
  } else {
    const path = setupLibrary(folder);
    // A file that is not readable may still be loaded.
    if (fileExists(path) === false) {
      attempts.push({ path, cause: "not there: `dipc setup` has not been run for this user" });
    } else {
      copy.push({ path, version: SETUP_UCX_VERSION, origin: "setup", notes: ["the copy that `dipc setup` made"] });
    }
  }
  if (options.systemLoader !== false) {
    others.push({ path: LIBRARY, version: "", origin: "system", notes: ["what the system's loader found by name"] });
  }
  return { candidates: [...preferred, ...copy, ...others], attempts, isSatisfied: preferred.length + copy.length > 0 };
}

let loaded: { location: LibucpLocation; handles: Deno.DynamicLibrary<Deno.ForeignLibraryInterface>[] } | null = null;

/**
 * Finds libucp and loads it. The library stays loaded until the process ends; later calls return the same location.
 *
 * @param option Path chosen by the caller; then only that one is tried
 * @throws {DipcError} `library_not_found` naming every path tried and why it was rejected; `unsupported` on systems other
 * than Linux; `permission_denied` without `--allow-ffi`; `invalid_argument` if another libucp is loaded already
 */
export function findLibucp(option?: string, options: FindLibucpOptions = {}): LibucpLocation {
  const { os, arch } = Deno.build;
  if (os !== "linux") {
    throw new LocalError(
      "unsupported",
      `cannot load libucp: UCX runs on Linux (x86-64 and aarch64) only, this is ${os} ${arch}`,
    );
  }
  if (loaded !== null) {
    const named = option ?? (readEnv("DIPC_LIBUCP") || undefined);
    if (named === undefined || named === loaded.location.path) return loaded.location;
    throw new LocalError(
      "invalid_argument",
      `cannot load libucp from ${named}: this process already uses ${loaded.location.path} (${loaded.location.version}), ` +
        "and two copies of UCX in one process would break each other; use one of them, or one process for each",
    );
  }
  const { candidates, attempts } = rankLibucp(option, options);
  const failures = [...attempts];
  for (const { path, origin, notes } of candidates) {
    const result = load(path);
    if ("cause" in result) {
      failures.push({ path, cause: result.cause });
    } else if (compareVersions(result.version, OLDEST_UCX_VERSION) < 0) {
      // It cannot be unloaded, so no other copy may be loaded.
      failures.push({ path, cause: `UCX ${result.version} is older than ${OLDEST_UCX_VERSION}` });
      break;
    } else {
      loaded = { location: { path, version: result.version, origin, notes }, handles: result.handles };
      return loaded.location;
    }
  }
  if (failures.some(({ cause }) => cause.includes("Too many open files"))) {
    throw new LocalError(
      "io",
      "cannot load libucp: the process may open no more files; close some, or raise the limit with `ulimit -n`",
    );
  }
  const [only] = candidates;
  const who = only?.origin === "option" ? "the option library" : "DIPC_LIBUCP";
  const isNamed = only?.origin === "option" || only?.origin === "DIPC_LIBUCP";
  throw new LocalError("library_not_found", explain(failures, isNamed ? { path: only.path, who } : undefined));
}

/** The message for a libucp that was not found: what to do, then what was tried and why each was rejected. */
export function explain(attempts: readonly LibucpAttempt[], named?: { path: string; who: string }): string {
  if (named !== undefined) {
    const cause = attempts.find(({ path }) => path === named.path)?.cause ?? "it cannot be loaded";
    return `cannot load the libucp that ${named.who} names, ${named.path}: ${cause}; correct the path, or leave it out to ` +
      "use the system's or the copy of `dipc setup`";
  }
  return `cannot load libucp: no usable UCX ${OLDEST_UCX_VERSION} or newer was found; do one of these:\n` +
    "  dipc setup\n" +
    `      fetch UCX ${SETUP_UCX_VERSION} into your cache folder with pip; with the permissions that this needs:\n` +
    `      ${setupCommand()}\n` +
    "  sudo apt-get install libucx0\n" +
    "      install your system's UCX (Fedora, RHEL: sudo dnf install ucx)\n" +
    `  export DIPC_LIBUCP=/path/to/${LIBRARY}\n` +
    "      name a libucp that you have\n" +
    `Tried:\n${attemptLines(attempts).map((line) => `  ${line}`).join("\n")}`;
}

/** The attempts, one per line; missing files share a line, and so do files that are not readable. */
export function attemptLines(attempts: readonly LibucpAttempt[]): string[] {
  const pathsOf = (expected: string): string[] =>
    attempts.filter(({ cause }) => cause === expected).map(({ path }) => path);
  const absent = pathsOf(ABSENT), hidden = pathsOf(HIDDEN);
  const lines = attempts.filter(({ cause }) => cause !== ABSENT && cause !== HIDDEN)
    .map(({ path, cause }) => `${path}: ${cause}`);
  if (hidden.length > 0) {
    const folders = hidden.map((path) => path.slice(0, path.lastIndexOf("/")) || "/");
    lines.unshift(`the system's folders: ${HIDDEN}=${folders.join(",")}`);
  }
  if (absent.length > 0) lines.unshift(`${ABSENT}: ${absent.join(", ")}`);
  return lines;
}

/** The command line that runs setup with only the permissions that it needs. */
export function setupCommand(): string {
  const xdg = readEnv("XDG_CACHE_HOME");
  const cache = xdg?.startsWith("/") ? xdg : "$HOME/.cache";
  return "deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME " +
    `--allow-read=${cache},/usr/lib --allow-write=${cache} --allow-run=python3,pip3,pip ` +
    `${isClone() ? "cli.ts" : "jsr:@arrow-ucx/dipc/cli"} setup`;
}

/** Whether this runs from a clone of the repository: not from the registry, not as one binary. */
export function isClone(): boolean {
  return import.meta.url.startsWith("file:") && !Deno.build.standalone;
}

const ABSENT = "not there";
const HIDDEN = "not readable: needs --allow-read";

/** Folders of libraries: those of `LD_LIBRARY_PATH`, then the usual ones of Linux systems. */
function systemFolders(): string[] {
  const arch = Deno.build.arch;
  const triple = `${arch}-linux-gnu`;
  const own = (readEnv("LD_LIBRARY_PATH") ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const usual = [
    "/usr/local/lib",
    "/usr/local/lib64",
    `/usr/lib/${triple}`,
    `/lib/${triple}`,
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/opt/ucx/lib",
    "/opt/hpcx/ucx/lib",
  ];
  return [...new Set([...own, ...usual])];
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** The value of a variable, or `undefined` if it is unset or reading it is not permitted. Never prompts. */
function readEnv(variable: string): string | undefined {
  return isGranted({ name: "env", variable }) ? Deno.env.get(variable) : undefined;
}

/** Whether there is such a file; `null` if reading it is not permitted. Never prompts. */
function fileExists(path: string): boolean | null {
  if (!isGranted({ name: "read", path })) return null;
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function hasRdma(folder: string): boolean {
  if (!isGranted({ name: "read", path: folder })) return false;
  try {
    for (const _ of Deno.readDirSync(folder)) return true;
  } catch {
    // No such folder: no RDMA hardware.
  }
  return false;
}

/** The version contained in a library file, `""` if there is none, or why the file is rejected. */
function glance(path: string): string | { cause: string } {
  const exists = fileExists(path);
  if (exists === null) return { cause: HIDDEN };
  if (!exists) return { cause: ABSENT };
  try {
    return versionInFile(Deno.readFileSync(path)) ?? "";
  } catch (error) {
    return { cause: `cannot be read: ${(error as Error).message}` };
  }
}

/**
 * The version that `ucp_get_version_string` of a library returns, found without loading it: the only text of the form
 * `N.N.N` in the file that is not a version of the C library's symbols (`GLIBC_2.2.5`).
 *
 * @returns `null` if there is none, or more than one
 */
export function versionInFile(library: Uint8Array): string | null {
  const text = new TextDecoder("latin1").decode(library);
  const found = new Set([...text.matchAll(/(?<![\d._])(\d{1,2}\.\d{1,3}\.\d{1,3})\0/g)].map((match) => match[1]));
  return found.size === 1 ? [...found][0] : null;
}

/** Negative, zero or positive if `a` is older than, the same as, or newer than `b`. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split(".").map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

type Handle = Deno.DynamicLibrary<Deno.ForeignLibraryInterface>;

function load(path: string): { version: string; handles: Handle[] } | { cause: string } {
  applyUcxSettings();
  return withUcxLog(() => loadWithSettings(path));
}

function loadWithSettings(path: string): { version: string; handles: Handle[] } | { cause: string } {
  const handles: Handle[] = [];
  try {
    if (path.includes("/")) {
      // The lower libraries must come from the same folder, even if this libucp has no RUNPATH and the system has others: the
      // loader uses one that is already loaded under that name.
      const folder = path.slice(0, path.lastIndexOf("/"));
      for (const name of SIBLINGS) {
        const exists = fileExists(`${folder}/${name}`);
        if (exists === false) continue;
        try {
          handles.push(Deno.dlopen(`${folder}/${name}`, {}));
        } catch (error) {
          // A file that is not readable may not exist.
          if (exists || error instanceof Deno.errors.NotCapable) throw error;
        }
      }
    }
    const library = Deno.dlopen(
      path,
      { ucp_get_version: { parameters: ["buffer", "buffer", "buffer"], result: "void" } } as const,
    );
    handles.push(library);
    const parts = [new Uint32Array(1), new Uint32Array(1), new Uint32Array(1)];
    library.symbols.ucp_get_version(parts[0], parts[1], parts[2]);
    return { version: parts.map((part) => part[0]).join("."), handles };
  } catch (error) {
    for (const handle of handles.reverse()) handle.close();
    if (error instanceof Deno.errors.NotCapable) {
      throw new LocalError(
        "permission_denied",
        `cannot load libucp from ${path}: Deno may not load native libraries; run with --allow-ffi ` +
          "(without a path: Deno allows no raw pointers with a path-scoped permission)",
        { cause: error },
      );
    }
    return { cause: loaderText(path, error as Error) };
  }
}

/** The loader's message, without the prefixes that Deno and the loader add. */
function loaderText(path: string, error: Error): string {
  const text = error.message.replace(/^(Could not open library: )+/, "");
  return text.startsWith(`${path}: `) ? text.slice(path.length + 2) : text;
}
