/**
 * Counts the page faults of this process. No policy.
 *
 * @module
 */
import { libc } from "./libc.ts";

const SYMBOLS = {
  // int getrusage(int who, struct rusage *usage)
  getrusage: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `RUSAGE_SELF` of sys/resource.h. */
const RUSAGE_SELF = 0;
/** Offsets of the fields used of struct rusage, and its size; compared with the header by a test. */
export const RUSAGE_LAYOUT = { ru_minflt: 64, ru_majflt: 72, size: 144 } as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function calls(): NonNullable<typeof library> {
  if (library !== undefined) return library;
  libc(); // throws a clear error if the C library cannot be opened
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

const memory = new Uint8Array(RUSAGE_LAYOUT.size);
const view = new DataView(memory.buffer);

/** The page faults of all threads of this process so far; `NaN`, which equals nothing, if the system does not count them. */
export function pageFaults(): number {
  calls().getrusage(RUSAGE_SELF, memory);
  const { ru_minflt, ru_majflt } = RUSAGE_LAYOUT;
  // No process gets as far as this without one.
  return Number(view.getBigInt64(ru_minflt, true) + view.getBigInt64(ru_majflt, true)) || NaN;
}
