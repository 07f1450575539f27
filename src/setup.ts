/**
 * `dipc setup`: makes sure that there is a libucp, fetching one into the user's cache folder if there is none.
 *
 * What it fetches is the PyPI package `libucx-cu12`, with the machine's own pip, so that its index, proxy and
 * certificates apply. Only the files that are needed to run are kept. Nothing else of dipc ever downloads anything.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DipcError } from "./errors.ts";
import { readZip, type ZipEntry } from "./setup_zip.ts";
import {
  attemptLines,
  findLibucp,
  type FindLibucpOptions,
  isClone,
  type LibucpLocation,
  type LibucpOrigin,
  rankLibucp,
  SETUP_UCX_VERSION,
  setupCommand,
  setupFolder,
} from "../ffi/find.ts";

export type { FindLibucpOptions, LibucpOrigin };
export { setupDuckDb, type SetupDuckDbOptions, type SetupDuckDbResult } from "./setup_duckdb.ts";
export type { LibduckdbOrigin } from "../ffi/duckdb_location.ts";

/** Options of {@linkcode setup}. */
export interface SetupOptions {
  /** Called with each line of what is being done and why. */
  report?: (line: string) => void;
  /** Also provide `ucx_perftest`, `ucx_info` and the C headers, for tests and benchmarks. */
  tools?: boolean;
  /** How to search for a UCX of the system, for tests and for unusual systems. */
  find?: FindLibucpOptions;
}

/** What {@linkcode setup} found or provided. */
export interface SetupResult {
  /** Path of libucp. */
  readonly path: string;
  /** Version of libucp, such as `"1.22.0"`. */
  readonly version: string;
  /** How it was found. */
  readonly origin: LibucpOrigin;
  /** Why it was chosen, one sentence each. */
  readonly notes: readonly string[];
  /** Whether something was downloaded. */
  readonly downloaded: boolean;
  /** Folder with `bin/ucx_perftest`, `bin/ucx_info` and `include/`, if `tools` was requested. */
  readonly toolsFolder?: string;
}

const PACKAGE = "libucx-cu12";

/** SHA-256 of the wheel on PyPI, by architecture. */
const WHEEL_SHA256: Readonly<Record<string, string>> = {
  x86_64: "5cbbef0c140a0a158ae3486089af659b38822b2234cd3dc90ba40a5e6553402a",
  aarch64: "269aa884c3f83ced2ffb5f7704fb3a2da56d9402431222ddbe2901c1ae4fb227",
};

/** Needed to run. UCX looks for its modules next to libucs, with the same suffix, so the folders stay as they are. */
const RUNTIME_FILES = [
  /^libucx\/lib\/lib(ucm|ucs|uct|ucp)\.so\.0$/,
  /^libucx\/lib\/ucx\/lib(ucm|uct|ucx)_(?!perftest)\w+\.so\.0$/,
  /^libucx\/etc\/ucx\/ucx\.conf$/,
  /^libucx_cu12\.libs\/libcudart[\w.-]*$/,
  /^libucx_cu12-[\d.]+\.dist-info\/licenses\/\w+$/,
];
const REQUIRED_FILES = ["libucm.so.0", "libucs.so.0", "libuct.so.0", "libucp.so.0"].map((name) => `libucx/lib/${name}`);

/** Needed by tests and benchmarks. */
const TOOL_FILES = [
  /^libucx\/bin\/(ucx_perftest|ucx_info)$/,
  /^libucx\/include\/[\w/.-]+\.h$/,
  /^libucx_cu12\.libs\/libgomp[\w.-]*$/,
];
const REQUIRED_TOOLS = ["libucx/bin/ucx_perftest", "libucx/bin/ucx_info", "libucx/include/ucp/api/ucp.h"];

/** Folder in which {@linkcode setup} keeps tools and headers; `null` if no cache folder is known. */
export function toolsFolder(): string | null {
  const folder = setupFolder();
  return folder === null ? null : `${folder}-tools/libucx`;
}

/**
 * Finds libucp, or fetches it into the user's cache folder. Idempotent: does nothing if everything is there.
 *
 * @example Usage
 * ```ts ignore
 * import { setup } from "@arrow-ucx/dipc/setup";
 *
 * const { path, version } = await setup({ report: console.error });
 * ```
 *
 * @throws {DipcError} `library_not_found` naming each attempt, its cause and what to do; `invalid_data` if the
 * download is not the pinned file; `permission_denied` naming the whole command; `unsupported` on other platforms; `io`
 * if the cache cannot be written
 */
export async function setup(options: SetupOptions = {}): Promise<SetupResult> {
  const report = options.report ?? (() => {});
  const { os, arch } = Deno.build;
  if (os !== "linux" || WHEEL_SHA256[arch] === undefined) {
    throw new DipcError(
      "unsupported",
      `cannot set up UCX: it is provided for Linux on x86-64 and aarch64, this is ${os} ${arch}`,
    );
  }

  const ranking = rankLibucp(undefined, options.find);
  const found = ranking.attempts.filter(({ cause }) => !cause.startsWith("not there"));
  for (const line of attemptLines(found)) report(`not used: ${line}`);
  const best = ranking.candidates[0];
  const folder = setupFolder();
  const lacksTools = options.tools === true && (folder === null || !isComplete(`${folder}-tools`, REQUIRED_TOOLS));
  const lacksLibrary = !ranking.isSatisfied || (best.origin === "setup" && !isUsable(folder, options.find));

  let downloaded = false;
  if (lacksLibrary || lacksTools) {
    try {
      await provide(folder, { runtime: lacksLibrary, tools: lacksTools, report });
      downloaded = true;
    } catch (error) {
      // An older UCX of the system still does if only a newer one was missing.
      const older = ranking.candidates.find(({ origin, version }) => origin === "system" && version !== "");
      if (!(error instanceof DipcError) || older === undefined || lacksTools) throw error;
      report(error.message);
      report(`going on with UCX ${older.version} of the system`);
    }
  }

  const chosen = findLibucp(undefined, options.find);
  report(`libucp ${chosen.version} at ${chosen.path}: ${chosen.notes.join("; ")}`);
  return { ...chosen, downloaded, ...(options.tools ? { toolsFolder: toolsFolder()! } : {}) };
}

/** Whether the copy is complete, or can be loaded if it is not readable. */
function isUsable(folder: string | null, find: FindLibucpOptions | undefined): boolean {
  if (folder === null) return false;
  if (isGranted({ name: "read", path: folder })) return isComplete(folder, REQUIRED_FILES);
  let location: LibucpLocation;
  try {
    location = findLibucp(undefined, find);
  } catch (error) {
    if (error instanceof DipcError && error.code === "library_not_found") return false;
    throw error;
  }
  return location.origin === "setup";
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** Names of pip, best first. */
const PIPS: readonly (readonly string[])[] = [["python3", "-m", "pip"], ["pip3"], ["pip"]];

/** Names everything that is missing at once, without a prompt. @throws {DipcError} `permission_denied` */
function checkPermissions(folder: string | null): void {
  const missing: string[] = [];
  const need = (flag: string, ...anyOf: Deno.PermissionDescriptor[]): void => {
    if (!anyOf.some(isGranted)) missing.push(`--allow-${flag}`);
  };
  need("ffi", { name: "ffi" });
  if (folder === null) {
    need("env", { name: "env", variable: "HOME" });
  } else {
    const parent = folder.slice(0, folder.lastIndexOf("/"));
    need("read", { name: "read", path: parent });
    need("write", { name: "write", path: parent });
  }
  need("run", ...PIPS.map(([command]) => ({ name: "run" as const, command })));
  if (missing.length === 0) return;
  throw new DipcError(
    "permission_denied",
    `cannot set up UCX: fetching it needs ${missing.join(", ")}; run ${setupCommand()}` +
      (isClone() ? " in the folder of the clone" : ""),
  );
}

function isComplete(folder: string, files: readonly string[]): boolean {
  return files.every((file) => {
    try {
      return Deno.statSync(`${folder}/${file}`).isFile;
    } catch {
      return false;
    }
  });
}

interface ProvideOptions {
  runtime: boolean;
  tools: boolean;
  report: (line: string) => void;
}

/** Downloads the wheel, checks it, and puts the requested parts in place. */
async function provide(folder: string | null, options: ProvideOptions): Promise<void> {
  checkPermissions(folder);
  if (folder === null) {
    throw new DipcError(
      "library_not_found",
      "cannot set up UCX: neither XDG_CACHE_HOME nor HOME is set, so there is no folder for it; set one of them",
    );
  }
  const { runtime, tools, report } = options;
  const parent = folder.slice(0, folder.lastIndexOf("/"));
  let temporary: string;
  try {
    await Deno.mkdir(parent, { recursive: true });
    await removeLeftovers(parent);
    temporary = await Deno.makeTempDir({ dir: parent, prefix: ".setup-" });
  } catch (cause) {
    throw new DipcError("io", `cannot set up UCX in ${parent}: ${(cause as Error).message}`, { cause });
  }
  try {
    report(
      `fetching UCX ${SETUP_UCX_VERSION} (${PACKAGE} from PyPI, about 43 MB) with pip; keeping what is needed in ${parent}`,
    );
    const wheel = await download(temporary, report);
    const entries = readZip(wheel);
    if (runtime) await unpack(entries, RUNTIME_FILES, REQUIRED_FILES, `${temporary}/runtime`, folder);
    if (tools) await unpack(entries, TOOL_FILES, REQUIRED_TOOLS, `${temporary}/tools`, `${folder}-tools`);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** Removes what an interrupted setup has left; the folder of one that is running is younger. */
async function removeLeftovers(parent: string): Promise<void> {
  for await (const { name } of Deno.readDir(parent)) {
    if (!name.startsWith(".setup-")) continue;
    const { mtime } = await Deno.stat(`${parent}/${name}`).catch(() => ({ mtime: null }));
    if (mtime !== null && Date.now() - mtime.getTime() > 3_600_000) {
      await Deno.remove(`${parent}/${name}`, { recursive: true }).catch(() => {});
    }
  }
}

/** Downloads the wheel with pip. @returns its content, which has the pinned SHA-256 */
async function download(folder: string, report: (line: string) => void): Promise<Uint8Array> {
  const requirement = `${PACKAGE}==${SETUP_UCX_VERSION}`;
  // The wheel has no Python in it and runs on older systems than its name declares: override what pip would refuse.
  const pip = ["download", "--no-deps", "--only-binary=:all:", `--platform=manylinux_2_28_${Deno.build.arch}`];
  pip.push("--python-version=3.12", "--no-cache-dir", "--disable-pip-version-check", "-q");
  const causes: string[] = [];
  for (const command of PIPS.filter(([command]) => isGranted({ name: "run", command }))) {
    const text = [...command, ...pip, requirement].join(" ");
    const target = await Deno.makeTempDir({ dir: folder, prefix: "wheel-" });
    const cause = await run([...command, ...pip, "-d", target, requirement]);
    if (cause !== null) {
      report(`${command.join(" ")}: ${cause}`);
      causes.push(`  ${text}: ${cause}`);
      continue;
    }
    const names = [...Deno.readDirSync(target)].map((entry) => entry.name).filter((name) => name.endsWith(".whl"));
    if (names.length !== 1) {
      causes.push(`  ${text}: expected one wheel, found ${names.length}`);
      continue;
    }
    const wheel = await Deno.readFile(`${target}/${names[0]}`);
    checkDigest(names[0], wheel);
    return wheel;
  }
  throw new DipcError(
    "library_not_found",
    `cannot set up UCX ${SETUP_UCX_VERSION}: pip could not fetch it; tried\n${causes.join("\n")}\n` +
      "Do one of these, then run setup again:\n" +
      "  sudo apt-get install libucx0          install your system's UCX (Fedora, RHEL: sudo dnf install ucx)\n" +
      "  sudo apt-get install python3-pip      install pip (or: python3 -m ensurepip --user)\n" +
      "  export DIPC_LIBUCP=/path/to/libucp.so.0   name a libucp that you have",
  );
}

function checkDigest(name: string, wheel: Uint8Array): void {
  const expected = WHEEL_SHA256[Deno.build.arch];
  const found = createHash("sha256").update(wheel).digest("hex");
  if (found === expected) return;
  throw new DipcError(
    "invalid_data",
    `cannot use ${name}: pip delivered it with SHA-256 ${found}, expected ${expected}; check the index that pip is set ` +
      "to use (python3 -m pip config list)",
  );
}

/** Runs a command. @returns why it failed in one line, or `null` */
async function run(command: string[]): Promise<string | null> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(command[0], { args: command.slice(1), stdin: "null" }).output();
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? `there is no ${command[0]} in PATH` : (error as Error).message;
  }
  if (output.success) return null;
  const decoder = new TextDecoder();
  const lines = (decoder.decode(output.stderr) + decoder.decode(output.stdout)).trim().split("\n");
  const errors = lines.filter((line) => /error|no module/i.test(line));
  const reported = (errors.length > 0 ? errors : lines).slice(-2).map((line) => line.trim().slice(-200));
  return `exit status ${output.code}: ${reported.join(" ")}`;
}

/** Unpacks the matching files into a new folder, then moves that into place in one step. */
async function unpack(
  entries: ZipEntry[],
  patterns: readonly RegExp[],
  required: readonly string[],
  temporary: string,
  folder: string,
): Promise<void> {
  for (const entry of entries) {
    if (!patterns.some((pattern) => pattern.test(entry.name))) continue;
    const path = `${temporary}/${entry.name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, entry.read(), { mode: 0o755 });
  }
  const missing = required.filter((file) => !isComplete(temporary, [file]));
  if (missing.length > 0) {
    throw new DipcError("invalid_data", `cannot set up UCX: the wheel lacks ${missing.join(", ")}`);
  }
  try {
    await Deno.rename(temporary, folder);
  } catch (error) {
    if (isComplete(folder, required)) return; // Another process was faster.
    // What is in the way is incomplete: move it aside.
    try {
      await Deno.rename(folder, `${temporary}-old`);
      await Deno.rename(temporary, folder);
    } catch {
      throw new DipcError("io", `cannot set up UCX in ${folder}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}
