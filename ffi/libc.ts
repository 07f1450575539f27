/**
 * The C library, opened on first use, and what is needed to call it. No policy here.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { LIBC_SYMBOLS } from "./libc_symbols.ts";

/** The functions of the C library. */
export type Libc = Deno.DynamicLibrary<typeof LIBC_SYMBOLS>["symbols"];

let symbols: Libc | null = null;

/**
 * The C library, opened on first use.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`, `unsupported` on a system without glibc
 */
export function libc(): Libc {
  if (symbols !== null) return symbols;
  // A prompt of dlopen would grant this one path, with which Deno allows no raw pointers: the whole permission is requested.
  const { permissions } = Deno;
  const ffi = { name: "ffi" } as const;
  if (permissions.querySync(ffi).state !== "granted" && permissions.requestSync(ffi).state !== "granted") {
    throw new LocalError(
      "permission_denied",
      "cannot open libc.so.6: Deno may not load native libraries; run with --allow-ffi " +
        "(without a path: Deno allows no raw pointers with a path-scoped permission)",
    );
  }
  try {
    return symbols = Deno.dlopen("libc.so.6", LIBC_SYMBOLS).symbols;
  } catch (cause) {
    throw new LocalError(
      "unsupported",
      `cannot open libc.so.6: ${(cause as Error).message}; dipc needs Linux with glibc`,
      { cause },
    );
  }
}

/**
 * Collects what a C function prints to a `FILE *`.
 *
 * @param print Called with the address of the stream
 * @returns The text, empty if the system has no memory for it
 */
export function printed(print: (stream: bigint) => void): string {
  const c = libc();
  const text = new BigUint64Array(16); // char *, and 8 bytes on, size_t
  const stream = c.open_memstream(new Uint8Array(text.buffer), new Uint8Array(text.buffer, 8));
  if (stream === 0n) return "";
  print(stream);
  c.fclose(stream);
  const pointer = Deno.UnsafePointer.create(text[0]);
  const result = pointer === null ? "" : new Deno.UnsafePointerView(pointer).getCString();
  c.free(text[0]);
  return result;
}

/** `d_name` of struct dirent of glibc on 64-bit systems. */
const DIRENT_NAME = 19n;

/**
 * The names in a folder, read without Deno's permission.
 *
 * @param folder Absolute path
 * @returns Names in the system's order without `.` and `..`; empty if there is no such folder
 */
export function namesIn(folder: string): string[] {
  const c = libc();
  const open = c.opendir(cString(folder));
  if (open === 0n) return [];
  const names: string[] = [];
  for (let entry; (entry = c.readdir(open)) !== 0n;) {
    const name = new Deno.UnsafePointerView(Deno.UnsafePointer.create(entry + DIRENT_NAME)!).getCString();
    if (name !== "." && name !== "..") names.push(name);
  }
  c.closedir(open);
  return names;
}

/**
 * Converts a string to a C string.
 *
 * @param text Text without NUL characters
 * @returns Its UTF-8 bytes and a final 0
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

/**
 * The address of a byte array outside V8's moving heap (65 bytes or more), valid while the array is referenced.
 *
 * @param bytes An array of 65 bytes or more
 * @returns The address of its first byte
 */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}
