/**
 * Finds and opens libcuda, the library of the NVIDIA driver. Nothing is loaded before the first call.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { CUDA_SYMBOLS, type CudaSymbols } from "./cuda_symbols.ts";
import { keepLoaded } from "./raw_memory.ts";

const LIBRARY = "libcuda.so.1";

/** Folders of libcuda that the system's loader does not search: in containers of Google's GKE, and WSL. */
const UNUSUAL_FOLDERS = ["/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"];

/** What selected the library: an option of the caller, the environment, or the system. */
export type LibcudaOrigin = "option" | "DIPC_LIBCUDA" | "system";

/** An opened libcuda. It stays open for the life of the process. */
export interface CudaLibrary {
  /** The path or name that was opened. */
  readonly path: string;
  /** What selected it. */
  readonly origin: LibcudaOrigin;
  /** Its functions. */
  readonly symbols: CudaSymbols;
}

/** Where to search, for tests and for unusual systems. */
export interface FindLibcudaOptions {
  /** Names or paths to open, in this order, if nothing else names the library. */
  candidates?: readonly string[];
}

const opened = new Map<string, CudaSymbols>();

/**
 * Opens libcuda, once per path and isolate: the one of `option`, else that of `DIPC_LIBCUDA`, else `libcuda.so.1` as
 * the system's loader finds it. Never closed, as the driver keeps threads.
 *
 * @param option Path chosen by the caller; then only that one is tried
 * @throws {DipcError} `library_not_found` naming every path tried, its cause and what to do; `permission_denied` without
 * `--allow-ffi`; `unsupported` on systems other than Linux
 */
export function openLibcuda(option?: string, options: FindLibcudaOptions = {}): CudaLibrary {
  const { os, arch } = Deno.build;
  if (os !== "linux") {
    throw new LocalError("unsupported", `cannot open libcuda: device memory needs Linux, this is ${os} ${arch}`);
  }
  const variable = readVariable();
  const named = option ?? (variable || undefined);
  const origin: LibcudaOrigin = option !== undefined ? "option" : named !== undefined ? "DIPC_LIBCUDA" : "system";
  const usual = options.candidates ?? [LIBRARY, ...UNUSUAL_FOLDERS.map((folder) => `${folder}/${LIBRARY}`)];
  const causes: string[] = [];
  for (const path of named !== undefined ? [named] : usual) {
    const result = open(path);
    if (typeof result !== "string") return { path, origin, symbols: result };
    causes.push(`${path}: ${result}`);
  }
  if (variable === null && named === undefined) {
    causes.unshift("DIPC_LIBCUDA: not readable: needs --allow-env=DIPC_LIBCUDA");
  }
  const which = {
    option: "the libcuda that the `library` option names",
    DIPC_LIBCUDA: "the libcuda that DIPC_LIBCUDA names",
    system: "libcuda",
  };
  throw new LocalError(
    "library_not_found",
    `cannot open ${which[origin]}: device memory is not available without it; do one of these:\n` +
      "  install the NVIDIA driver of your system (it brings libcuda.so.1; the CUDA toolkit is not needed)\n" +
      "  in a container: start it with the GPU, such as docker run --gpus all\n" +
      `  export DIPC_LIBCUDA=/path/to/${LIBRARY}\n` +
      "  without a GPU: use `connect`, and neither `memory` nor --memory; bodies then stay in host memory\n" +
      `Tried:\n${causes.map((line) => `  ${line}`).join("\n")}`,
  );
}

/** The value of the variable, `""` if it is unset, or `null` if reading it is not permitted. Never prompts. */
function readVariable(): string | null {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "DIPC_LIBCUDA" });
  return state === "granted" ? Deno.env.get("DIPC_LIBCUDA") ?? "" : null;
}

/** Opens one path. @returns its functions, or why it could not be opened */
function open(path: string): CudaSymbols | string {
  const known = opened.get(path);
  if (known !== undefined) return known;
  try {
    const { symbols } = Deno.dlopen(path, CUDA_SYMBOLS);
    keepLoaded(path); // a driver has threads
    opened.set(path, symbols);
    return symbols;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      throw new LocalError(
        "permission_denied",
        `cannot open libcuda at ${path}: Deno may not load native libraries; run with --allow-ffi ` +
          "(without a path: Deno allows no raw pointers with a path-scoped permission)",
        { cause },
      );
    }
    const text = (cause as Error).message.replace(/^(Could not open library: )+/, "");
    const isMissingSymbol = /register symbol/.test(text);
    const reason = text.startsWith(`${path}: `) ? text.slice(path.length + 2) : text;
    return isMissingSymbol ? `${reason}; dipc needs a driver of CUDA 11.0 or newer` : reason;
  }
}
