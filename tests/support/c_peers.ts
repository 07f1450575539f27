/**
 * Peers in C and C++ that tests load into their own process: compiled here when they are first needed.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { cString } from "../../ffi/libc.ts";
import { buildNative } from "../../tools/build_native.ts";
import type { Peers } from "../../tools/peers.ts";
import { ROOT } from "./paths.ts";

const SOURCES = `${ROOT}/native/c_data`;

const GUARD_SYMBOLS = {
  guard_live: { parameters: [], result: "i64" },
  guard_released: { parameters: [], result: "i64" },
  guard_faults: { parameters: [], result: "i64" },
  guard_error: { parameters: [], result: "usize" },
  guard_copy: {
    parameters: [
      "usize", // struct ArrowArray *in
      "usize", // struct ArrowSchema *schema
      "usize", // struct ArrowArray *out
      "i32", // int flags
      "i64", // int64_t outer
      "i64", // int64_t inner
    ],
    result: "i32",
  },
  nano_pass: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" },
  guard_read: { parameters: ["usize", "usize"], result: "u64" },
  guard_release: { parameters: ["usize"], result: "void" },
  guard_release_on_thread: { parameters: ["usize"], result: "void" },
  guard_take_child: { parameters: ["usize", "i64", "usize"], result: "void" },
  guard_read_stream: { parameters: ["usize", "buffer"], result: "u64" },
  guard_read_stream_later: {
    name: "guard_read_stream",
    parameters: ["usize", "buffer"],
    result: "u64",
    nonblocking: true,
  },
  guard_reclaim: { parameters: [], result: "i64" },
  guard_stream: {
    parameters: [
      "usize", // struct ArrowSchema *schema
      "buffer", // struct ArrowArray *const *arrays
      "i64", // int64_t count
      "usize", // struct ArrowArrayStream *out
    ],
    result: "i32",
  },
  guard_keep: { parameters: ["usize"], result: "void" },
  guard_keep_stream: { parameters: ["usize"], result: "void" },
  guard_set_static_schema_release: { parameters: ["usize"], result: "void" },
  guard_set_static_release: { parameters: ["usize"], result: "void" },
  guard_structs: { parameters: ["usize", "buffer", "i64"], result: "i64" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The peer in C, on nanoarrow. */
export type Guard = Deno.DynamicLibrary<typeof GUARD_SYMBOLS>["symbols"];

let guard: Guard | null = null;

/** Set in a process that runs with AddressSanitizer, which `LD_PRELOAD` has to name. */
const SANITIZED = "DIPC_SANITIZED";

/** Loads the peer in C; with its memory on the heap and checked by AddressSanitizer in a process that runs with it. */
export function guardLibrary({ compiler, nanoarrow }: Pick<Peers, "compiler" | "nanoarrow">): Guard {
  if (guard !== null) return guard;
  const sources = [`${SOURCES}/guard.c`, `${nanoarrow}/src/nanoarrow.c`];
  const sanitizer = Deno.env.has(SANITIZED) ? ["-fsanitize=address", "-DON_HEAP"] : [];
  const library = buildNative("guard.so", compiler!, sources, [
    `-I${nanoarrow}/include`,
    "-pthread",
    "-Wl,-z,nodelete",
    ...sanitizer,
  ]);
  return guard = Deno.dlopen(library, GUARD_SYMBOLS).symbols;
}

/** The environment of a process with AddressSanitizer; `null` if the compiler has none. */
export function sanitizedEnvironment({ compiler }: Pick<Peers, "compiler">): Record<string, string> | null {
  const { stdout } = new Deno.Command(compiler!, { args: ["-print-file-name=libasan.so"] }).outputSync();
  const library = new TextDecoder().decode(stdout).trim();
  if (!library.startsWith("/")) return null;
  // What was freed is overwritten, so that reading it gives wrong values.
  const options = "detect_leaks=1:leak_check_at_exit=0:max_free_fill_size=1048576:free_fill_byte=221";
  return { LD_PRELOAD: library, ASAN_OPTIONS: options, [SANITIZED]: "1" };
}

const CPP_SYMBOLS = {
  cpp_error: { parameters: [], result: "usize" },
  cpp_import: { parameters: ["usize", "usize"], result: "usize" },
  cpp_export: {
    parameters: [
      "usize", // Batch *batch
      "i32", // int how
      "i64", // int64_t offset
      "i64", // int64_t length
      "usize", // ArrowArray *array
      "usize", // ArrowSchema *schema
    ],
    result: "i32",
  },
  cpp_rows: { parameters: ["usize"], result: "i64" },
  cpp_equal: { parameters: ["usize", "usize", "i64", "i64", "i32"], result: "i32" },
  cpp_addresses: { parameters: ["usize", "buffer", "i64"], result: "i64" },
  cpp_free: { parameters: ["usize"], result: "void" },
  cpp_open: { parameters: ["buffer"], result: "usize" },
  cpp_import_stream: { parameters: ["usize"], result: "usize" },
  cpp_next: { parameters: ["usize"], result: "usize" },
  cpp_next_later: { name: "cpp_next", parameters: ["usize"], result: "usize", nonblocking: true },
  cpp_export_stream: { parameters: ["usize", "usize"], result: "i32" },
  cpp_free_stream: { parameters: ["usize"], result: "void" },
  cpp_import_device_stream: { parameters: ["usize", "buffer"], result: "i32" },
  cpp_export_device_stream: { parameters: ["usize", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Arrow C++. */
export type ArrowCppPeer = Deno.DynamicLibrary<typeof CPP_SYMBOLS>["symbols"];

let cpp: ArrowCppPeer | null = null;

/** Loads Arrow C++, from pyarrow's package. */
export function arrowCppLibrary({ arrowCpp }: Pick<Peers, "arrowCpp">): ArrowCppPeer {
  if (cpp !== null) return cpp;
  const { folder, library, compiler } = arrowCpp!;
  const args = ["-std=c++20", `-I${folder}/include`, `-L${folder}`, `-l:${library}`, `-Wl,-rpath,${folder}`];
  return cpp =
    Deno.dlopen(buildNative("arrow_cpp.so", compiler, [`${SOURCES}/arrow_cpp.cc`], args), CPP_SYMBOLS).symbols;
}

/** What Arrow C++ said last, as an error. */
export function cppError(cpp: ArrowCppPeer): Error {
  return new Error(cStringAt(cpp.cpp_error()) ?? "no message");
}

/** The result of a call of Arrow C++ that is a pointer. @throws its error if it is null */
export function cppPointer(cpp: ArrowCppPeer, pointer: bigint): bigint {
  if (pointer === 0n) throw cppError(cpp);
  return pointer;
}

/** All batches of an Arrow stream in a file, read by Arrow C++; to be freed. */
export function cppBatches(cpp: ArrowCppPeer, path: string): bigint[] {
  const stream = cppPointer(cpp, cpp.cpp_open(cString(path)));
  const batches: bigint[] = [];
  for (let batch; (batch = cpp.cpp_next(stream)) !== 0n;) batches.push(batch);
  const error = cppError(cpp);
  cpp.cpp_free_stream(stream);
  if (error.message !== "") throw error;
  return batches;
}

/** Fails unless a slice of one batch equals the other one. A struct that is exported by itself has no schema metadata. */
export function assertCppEqual(
  cpp: ArrowCppPeer,
  whole: bigint,
  part: bigint,
  { offset = 0n, length = -1n, withMetadata = true }: { offset?: bigint; length?: bigint; withMetadata?: boolean } = {},
): void {
  if (cpp.cpp_equal(whole, part, offset, length, withMetadata ? 1 : 0) !== 1) throw cppError(cpp);
}
