/**
 * Finds and opens libcuda, the library of the NVIDIA driver. Nothing is loaded before the first call.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { CUDA_SYMBOLS, type CudaSymbols } from "./cuda_symbols.ts";

const LIBRARY = "libcuda.so.1";

/** Where drivers put libcuda without telling the system's loader: containers of Google's GKE, and WSL. */
const UNUSUAL_FOLDERS = ["/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"];

/** Who named the library: the caller, the environment, or the system. */
export type LibcudaOrigin = "option" | "DIPC_LIBCUDA" | "system";

/** An opened libcuda. It stays open for the life of the process. */
export interface CudaLibrary {
  /** The path or name that was opened. */
  readonly path: string;
  /** Who named it. */
  readonly origin: LibcudaOrigin;
  /** Its functions. */
  readonly symbols: CudaSymbols;
}

/** Where to look, for tests and for unusual systems. */
export interface FindLibcudaOptions {
  /** What to open by name or path, in this order, where nothing else names the library. */
  candidates?: readonly string[];
}

const opened = new Map<string, CudaSymbols>();

/**
 * Opens libcuda, once per path and isolate: what `option` names, else what `DIPC_LIBCUDA` names, else `libcuda.so.1` as
 * the system's loader finds it. Never closed, as the driver keeps threads.
 *
 * @param option Path that the caller gave; then only that one is tried
 * @throws {DipcError} `library_not_found` naming every path tried, its cause and what to do; `permission_denied` without
 * `--allow-ffi`; `unsupported` elsewhere than on Linux
 */
export function openLibcuda(option?: string, options: FindLibcudaOptions = {}): CudaLibrary {
  const { os, arch } = Deno.build;
  if (os !== "linux") {
    throw new LocalError("unsupported", `opening libcuda: device memory needs Linux, this is ${os} ${arch}`);
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
    causes.unshift("DIPC_LIBCUDA: may not be looked at without --allow-env=DIPC_LIBCUDA");
  }
  const who = { option: " that the `library` option names", DIPC_LIBCUDA: " that DIPC_LIBCUDA names", system: "" };
  throw new LocalError(
    "library_not_found",
    `libcuda${who[origin]} could not be opened, so there is no device memory here. Do one of these:\n` +
      "  install the NVIDIA driver of your system (it brings libcuda.so.1; the CUDA toolkit is not needed)\n" +
      "  in a container: start it with the GPU, such as docker run --gpus all\n" +
      `  export DIPC_LIBCUDA=/path/to/${LIBRARY}\n` +
      '  leave `memory: "cuda:N"` away: bodies stay in host memory\n' +
      `Tried:\n${causes.map((line) => `  ${line}`).join("\n")}`,
  );
}

/** The variable, `""` where it is unset, or `null` where it may not be read. Never prompts. */
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
    opened.set(path, symbols);
    return symbols;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      throw new LocalError(
        "permission_denied",
        `opening libcuda at ${path}: Deno may not load native libraries; run with --allow-ffi ` +
          "(without a path: Deno does not allow raw pointers to a path-scoped permission)",
        { cause },
      );
    }
    const text = (cause as Error).message.replace(/^(Could not open library: )+/, "");
    const isMissingSymbol = /register symbol/.test(text);
    const reason = text.startsWith(`${path}: `) ? text.slice(path.length + 2) : text;
    return isMissingSymbol ? `${reason}; dipc needs a driver of CUDA 11.0 or newer` : reason;
  }
}
