/**
 * Puts the machine code of the callbacks into memory, once per isolate.
 *
 * @module
 */
import { addressOf, libc } from "../../ffi/libc.ts";
import { MAP_FAILED, MAP_PRIVATE_ANONYMOUS, PROT_READ_WRITE } from "../../ffi/libc_symbols.ts";
import { PROT_READ_EXEC, rawMemory } from "../../ffi/raw_memory.ts";
import { LocalError } from "../errors.ts";
import { ASYNC_MACHINE_CODE } from "./async_machine_code.ts";
import { MACHINE_CODE } from "./machine_code.ts";

/** A function of `native/c_data/code.c`. */
export type NativeFunction = keyof (typeof MACHINE_CODE)["x86_64"]["functions"];
/** A function of `native/c_data/async.c`. */
export type AsyncFunction = keyof (typeof ASYNC_MACHINE_CODE)["x86_64"]["functions"];

const PAGE = 65_536;

let functions: Readonly<Record<NativeFunction, bigint>> | null = null;
let asyncFunctions: Readonly<Record<AsyncFunction, bigint>> | null = null;

/**
 * Addresses of the functions. They stay valid until the process ends, because consumers call them whenever they like.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`, or if the system allows no executable memory
 */
export function nativeCode(): Readonly<Record<NativeFunction, bigint>> {
  return functions ??= placed(MACHINE_CODE[Deno.build.arch]);
}

/** As {@linkcode nativeCode}, for the asynchronous device stream. @throws {DipcError} as it */
export function asyncCode(): Readonly<Record<AsyncFunction, bigint>> {
  return asyncFunctions ??= placed(ASYNC_MACHINE_CODE[Deno.build.arch]);
}

/**
 * Puts machine code into memory. It stays there until the process ends.
 *
 * @param code Bytes in hexadecimal digits, and where each function begins
 * @param words Words to be written among them before they become executable, by the names of their places
 * @returns Addresses of the functions
 * @throws {DipcError} as {@linkcode nativeCode}
 */
export function placed<N extends string>(
  { hex, functions }: { readonly hex: string; readonly functions: Readonly<Record<N, number>> },
  words: Partial<Readonly<Record<N, bigint>>> = {},
): Readonly<Record<N, bigint>> {
  const code = new Uint8Array(PAGE);
  code.set(Uint8Array.fromHex(hex));
  const view = new DataView(code.buffer);
  for (const [place, word] of Object.entries<bigint>(words as Record<string, bigint>)) {
    view.setBigUint64(functions[place as N], word, true);
  }
  const size = BigInt(PAGE);
  const c = libc();
  const base = c.mmap(0n, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
  if (base === MAP_FAILED) throw refused();
  c.memcpy(base, addressOf(code), size);
  // Pages that become executable are read by the processor anew, so that nothing stale is left in its instruction cache.
  if (rawMemory().mprotect(base, size, PROT_READ_EXEC) !== 0) {
    c.munmap(base, size);
    throw refused();
  }
  const entries = Object.entries<number>(functions).map(([name, offset]) => [name, base + BigInt(offset)]);
  return Object.fromEntries(entries) as Record<N, bigint>;
}

function refused(): LocalError {
  return new LocalError(
    "permission_denied",
    "cannot run machine code: the system refused memory for it; allow this process executable memory",
  );
}
