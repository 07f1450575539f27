/**
 * The calls of libc on raw memory and on function pointers: one symbol table, no policy.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { cString, libc } from "./libc.ts";

const SYMBOLS = {
  malloc: { parameters: ["usize" /* size_t size */], result: "usize" },
  mprotect: {
    parameters: [
      "usize", // void *addr
      "usize", // size_t length
      "i32", // int prot
    ],
    result: "i32",
  },
  // Calls compar(key, base) once if nmemb is 1: a call of a function pointer with two arguments, far cheaper than Deno's own.
  bsearch: {
    parameters: [
      "usize", // const void *key
      "usize", // const void *base
      "usize", // size_t nmemb
      "usize", // size_t size
      "usize", // int (*compar)(const void *key, const void *element)
    ],
    result: "usize", // void *, the element if compar returned 0
  },
  // The same function on a thread of Deno's pool.
  bsearchLater: {
    name: "bsearch",
    parameters: ["usize", "usize", "usize", "usize", "usize"],
    result: "usize",
    nonblocking: true,
  },
  futex: {
    name: "syscall", // variadic in C; with these arguments the calling conventions of x86-64 and arm64 on Linux are the same
    parameters: [
      "i64", // long number
      "usize", // uint32_t *uaddr
      "i32", // int futex_op
      "i32", // uint32_t val
    ],
    result: "i64",
  },
  gettid: { parameters: [], result: "i32" },
  process_vm_readv: {
    parameters: [
      "i32", // pid_t pid
      "usize", // const struct iovec *local_iov
      "usize", // unsigned long liovcnt
      "usize", // const struct iovec *remote_iov
      "usize", // unsigned long riovcnt
      "usize", // unsigned long flags
    ],
    result: "isize",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const LOADER_SYMBOLS = {
  dlopen: {
    parameters: [
      "buffer", // const char *filename
      "i32", // int flags
    ],
    result: "usize",
  },
  dlsym: {
    parameters: [
      "usize", // void *handle
      "buffer", // const char *symbol
    ],
    result: "usize",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions. */
export type RawMemory = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** `PROT_READ | PROT_EXEC` of mprotect. */
export const PROT_READ_EXEC = 5;
/** Number of the system call futex. */
export const SYS_FUTEX: bigint = Deno.build.arch === "aarch64" ? 98n : 202n;
/** `FUTEX_WAKE_PRIVATE` of futex. */
export const FUTEX_WAKE_PRIVATE = 129;

let symbols: RawMemory | null = null;

/**
 * The functions, opened on first use.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`, `unsupported` on a system without glibc
 */
export function rawMemory(): RawMemory {
  if (symbols !== null) return symbols;
  libc(); // throws a clear error if the C library cannot be opened
  return symbols = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** `RTLD_LAZY` of dlopen. */
const RTLD_LAZY = 1;
/** `RTLD_NODELETE` of dlopen. */
const RTLD_NODELETE = 0x1000;

type Loader = Deno.DynamicLibrary<typeof LOADER_SYMBOLS>["symbols"];

let loader: Loader | null = null;

/** The functions of the system's loader, opened once: Deno never gives a library back. */
function openLoader(): Loader {
  if (loader !== null) return loader;
  // Until glibc 2.34 the loader was a library of its own.
  try {
    loader = Deno.dlopen("libc.so.6", LOADER_SYMBOLS).symbols;
  } catch {
    loader = Deno.dlopen("libdl.so.2", LOADER_SYMBOLS).symbols;
  }
  return loader;
}

/** Functions that were looked up. */
const addresses = new Map<string, bigint>();

/**
 * The address of a function of the C library itself, which another library that is loaded may stand in for elsewhere.
 *
 * @param name Its name
 * @throws {DipcError} `unsupported` on a system without glibc
 */
export function libcAddress(name: string): bigint {
  let address = addresses.get(name);
  if (address === undefined) addresses.set(name, address = findAddress(name));
  return address;
}

function findAddress(name: string): bigint {
  const { dlopen, dlsym } = openLoader();
  const address = dlsym(dlopen(cString("libc.so.6"), RTLD_LAZY), cString(name));
  if (address !== 0n) return address;
  throw new LocalError("unsupported", `cannot find ${name}: the C library lacks it; dipc needs Linux with glibc`);
}

/**
 * Keeps a library that was opened loaded until the process ends: Deno unloads what an isolate has opened when the isolate ends, be it a
 * web worker's or, just before the process ends, the program's own; also while a thread executes it.
 *
 * @param path As it was opened
 */
export function keepLoaded(path: string): void {
  openLoader().dlopen(cString(path), RTLD_LAZY | RTLD_NODELETE);
}

/**
 * A block of native memory.
 *
 * @param byteLength Its size in bytes
 * @throws {DipcError} `out_of_memory`
 */
export function allocate(byteLength: number): bigint {
  const address = rawMemory().malloc(BigInt(byteLength));
  if (address === 0n) {
    throw new LocalError("out_of_memory", `cannot allocate ${byteLength} bytes: the system does not provide them`);
  }
  return address;
}

/**
 * Native memory for a call on another thread. Such a call may go on after its isolate has ended, and with it all memory of JavaScript; this
 * stays until it is freed.
 */
export class CallMemory implements Disposable {
  /** Address of its first byte. */
  readonly address: bigint;
  /** Its bytes, which begin as zeros; not to be used after it was freed. */
  readonly bytes: Uint8Array<ArrayBuffer>;

  /**
   * @param byteLength Its size in bytes
   * @throws {DipcError} `out_of_memory`
   */
  constructor(byteLength: number) {
    this.address = allocate(byteLength);
    const pointer = Deno.UnsafePointer.create(this.address)!;
    this.bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer).fill(0);
  }

  /** Frees it, when no call uses it. Called once. */
  [Symbol.dispose](): void {
    libc().free(this.address);
  }
}

/**
 * Calls a C function of one or two pointer arguments on this thread.
 *
 * @param address The function
 * @returns Whether it returned 0; without meaning for one that returns nothing
 */
export function callPointer(address: bigint, first: bigint, second: bigint): boolean {
  return rawMemory().bsearch(first, second, 1n, 1n, address) !== 0n;
}

/**
 * As {@linkcode callPointer}, on another thread.
 *
 * @param address The function
 * @returns Whether it returned 0; without meaning for one that returns nothing
 */
export async function callPointerLater(address: bigint, first: bigint, second: bigint): Promise<boolean> {
  return await rawMemory().bsearchLater(first, second, 1n, 1n, address) !== 0n;
}
