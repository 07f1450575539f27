/**
 * The driver that the tests of device memory run on: the simulated one, compiled here when it is first needed, or with
 * `DIPC_CUDA_TESTS=real` the machine's own.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { cStringIn } from "../../ffi/c_string.ts";
import { cString } from "../../ffi/libc.ts";
import { findPeers, PEER_ADVICE } from "../../tools/peers.ts";
import type { Need } from "./needs.ts";
import { ROOT } from "./paths.ts";

const SOURCES = `${ROOT}/native/cuda_sim`;
/** Warnings are errors: against the driver's header they mean a wrong signature. */
const FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC"];
const LINK = ["-Wl,-soname,libcuda_sim.so,-z,nodelete", "-pthread"];

const CONTROL_SYMBOLS = {
  cuda_sim_calls: { parameters: [], result: "u64" },
  cuda_sim_calls_of: { parameters: ["buffer" /* const char *function */], result: "u64" },
  cuda_sim_fail_after: {
    parameters: [
      "u64", // uint64_t calls
      "i32", // int result
      "i32", // int sticky
    ],
    result: "void",
  },
  cuda_sim_fail_function: {
    parameters: [
      "buffer", // const char *function
      "i32", // int result
    ],
    result: "void",
  },
  cuda_sim_set_delay: { parameters: ["u64" /* uint64_t queries */], result: "void" },
  cuda_sim_complaints: { parameters: [], result: "u64" },
  cuda_sim_complaint: {
    parameters: [
      "u64", // uint64_t index
      "buffer", // char *text
      "i32", // int bytes
    ],
    result: "i32",
  },
  cuda_sim_clear: { parameters: [], result: "void" },
  cuda_sim_live: { parameters: ["buffer" /* const char *what */], result: "u64" },
  cuda_sim_report_leaks: { parameters: [], result: "void" },
  cuda_sim_peek: {
    parameters: [
      "u64", // uint64_t address
      "buffer", // void *target
      "u64", // uint64_t bytes
    ],
    result: "i32",
  },
  cuda_sim_depth: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What {@linkcode SimulatorControl.live} counts. */
export type LiveKind =
  | "allocations"
  | "bytes"
  | "imports"
  | "pinned"
  | "pinnedBytes"
  | "streams"
  | "events"
  | "contexts"
  | "unseen";

/** What only the simulated driver can be asked. */
export class SimulatorControl {
  readonly #symbols: Deno.DynamicLibrary<typeof CONTROL_SYMBOLS>["symbols"];

  constructor(library: string) {
    this.#symbols = Deno.dlopen(library, CONTROL_SYMBOLS).symbols;
  }

  /** Calls of driver functions so far; those that only read the texts of errors are not counted. */
  get calls(): number {
    return Number(this.#symbols.cuda_sim_calls());
  }

  /** Calls of one function so far. */
  callsOf(name: string): number {
    return Number(this.#symbols.cuda_sim_calls_of(cString(name)));
  }

  /**
   * Has a later call fail.
   *
   * @param calls Which one: 1 is the next
   * @param result `CUresult`; 0 for none
   * @param sticky Whether all calls after it fail too, as after an illegal access
   */
  failAfter(calls: number, result: number, sticky = false): void {
    this.#symbols.cuda_sim_fail_after(BigInt(calls), result, sticky ? 1 : 0);
  }

  /**
   * Has all calls of a function fail until {@linkcode clear}.
   *
   * @param name The function
   * @param result `CUresult`
   */
  failFunction(name: string, result: number): void {
    this.#symbols.cuda_sim_fail_function(cString(name), result);
  }

  /** Sets how many queries work takes before it is done. */
  setDelay(queries: number): void {
    this.#symbols.cuda_sim_set_delay(BigInt(queries));
  }

  /** What the simulator complained about since the last {@linkcode clear}. */
  get complaints(): string[] {
    const text = new Uint8Array(1024);
    return Array.from({ length: Number(this.#symbols.cuda_sim_complaints()) }, (_, i) => {
      this.#symbols.cuda_sim_complaint(BigInt(i), text, text.length);
      return cStringIn(text);
    });
  }

  /** Forgets complaints and planned failures. */
  clear(): void {
    this.#symbols.cuda_sim_clear();
  }

  /** How much of something exists: allocations, their bytes, memory of other processes, pinned memory, streams, events, contexts retained, and work whose
   * end the host has not seen. */
  live(what: LiveKind): number {
    return Number(this.#symbols.cuda_sim_live(cString(what)));
  }

  /** Everything that exists. */
  get all(): Record<LiveKind, number> {
    const kinds = [
      ...["allocations", "bytes", "imports", "pinned", "pinnedBytes", "streams", "events"] as const,
      ...["contexts", "unseen"] as const,
    ];
    return Object.fromEntries(kinds.map((kind) => [kind, this.live(kind)])) as Record<LiveKind, number>;
  }

  /** Complains of everything that exists, as at the end of the process. */
  reportLeaks(): void {
    this.#symbols.cuda_sim_report_leaks();
  }

  /** Reads device memory as it is at the moment, whatever is under way. `null` if the range is not allocated. */
  peek(address: bigint, byteLength: number): Uint8Array | null {
    const bytes = new Uint8Array(byteLength);
    return this.#symbols.cuda_sim_peek(address, bytes, BigInt(byteLength)) === 0 ? bytes : null;
  }

  /** Contexts on the stack of this thread. */
  get depth(): number {
    return this.#symbols.cuda_sim_depth();
  }
}

/** The driver that tests run on. */
export interface CudaForTests {
  /** Path for the `library` option, or a name that the loader finds. */
  readonly library: string;
  /** Whether it is the machine's own. */
  readonly isReal: boolean;
  /** What another process must have in its environment to use it. */
  readonly env: Readonly<Record<string, string>>;
  /** `null` for the machine's own. */
  readonly control: SimulatorControl | null;
}

/** Compiles the simulator, once for each state of its sources. @returns its path, or `null` if something is missing */
export function buildSimulator(): string | null {
  const { compiler, cudaHeaders } = findPeers();
  if (compiler === null || cudaHeaders === null) return null;
  const files = [...Deno.readDirSync(SOURCES)].map(({ name }) => `${SOURCES}/${name}`).sort();
  const digest = createHash("sha256").update([compiler, cudaHeaders, ...FLAGS, ...LINK].join("\n"));
  for (const file of files) digest.update(file).update(Deno.readFileSync(file));
  const folder = `${ROOT}/.cache/cuda_sim`;
  const library = `${folder}/libcuda_sim-${digest.digest("hex").slice(0, 16)}.so`;
  try {
    if (Deno.statSync(library).isFile) return library;
  } catch {
    // To be compiled.
  }
  Deno.mkdirSync(folder, { recursive: true });
  const temporary = Deno.makeTempFileSync({ dir: folder, suffix: ".so" });
  const sources = files.filter((file) => file.endsWith(".c"));
  // The header's own warnings are not ours: hence -isystem.
  const args = [...FLAGS, "-isystem", cudaHeaders, ...LINK, "-o", temporary, ...sources];
  const { success, stderr } = new Deno.Command(compiler, { args }).outputSync();
  if (!success) {
    Deno.removeSync(temporary);
    throw new Error(`the simulated driver does not compile:\n${new TextDecoder().decode(stderr)}`);
  }
  Deno.renameSync(temporary, library);
  return library;
}

/** Whether the machine's own driver is requested. */
const IS_REAL = Deno.env.get("DIPC_CUDA_TESTS") === "real";

function choose(): CudaForTests | null {
  if (IS_REAL) {
    const library = Deno.env.get("DIPC_LIBCUDA") || "libcuda.so.1";
    return { library, isReal: true, env: { DIPC_LIBCUDA: library }, control: null };
  }
  const library = buildSimulator();
  if (library === null) return null;
  return { library, isReal: false, env: { DIPC_LIBCUDA: library }, control: new SimulatorControl(library) };
}

/** The driver that tests run on, or `null` if the simulator cannot be compiled. */
export const cuda: CudaForTests | null = choose();

/** A CUDA driver, simulated or real. */
export const needsCuda: Need = {
  what: "a C compiler or NVIDIA's cuda.h, for the simulated CUDA driver,",
  present: cuda !== null,
  how: `${PEER_ADVICE.compiler}; ${PEER_ADVICE.cudaHeaders}`,
};

/** The simulated driver: what such tests assert cannot be asked of a real one. */
export const needsSimulator: Need = IS_REAL
  ? {
    what: "the simulated CUDA driver",
    present: false,
    how: "DIPC_CUDA_TESTS=real asks for the machine's own, which cannot be asked this",
    isOptional: true,
  }
  : needsCuda;

/** Runs assertions that only the simulated driver can answer, or says aloud that they are skipped. */
export function onSimulator(what: string, assertions: (control: SimulatorControl) => void): void {
  if (cuda?.control) assertions(cuda.control);
  else console.log(`SKIPPED on a real driver: ${what}`);
}
