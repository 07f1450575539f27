/**
 * The check of dipc's table of driver functions against NVIDIA's `cuda.h`: from the table and the C declarations in its
 * comments a C file is made that compiles only if all of it is true.
 *
 * @module
 */
import { CUDA, CUDA_SIZES } from "../../../ffi/cuda_constants.ts";
import { MAPPED_RESULTS } from "../../../ffi/cuda_status.ts";
import { CUDA_SYMBOLS } from "../../../ffi/cuda_symbols.ts";
import { ROOT } from "../../support/paths.ts";

/** A parameter: the type given to Deno, and the C declaration in the comment. */
export interface Parameter {
  /** Deno's type, or for a structure by value its size in bytes. */
  ffi: string | number;
  /** C's type. */
  c: string;
}

/** A function of the table. */
export interface Signature {
  name: string;
  parameters: Parameter[];
  result: string;
}

/** All that is checked. */
export interface Claims {
  functions: Signature[];
  constants: Record<string, number>;
  sizes: Record<string, number>;
}

type Table = Record<string, { parameters: readonly unknown[]; result: string }>;

/** Enumerations without negative values, which a compiler makes unsigned, and Deno gets as `i32`. */
const ENUMERATIONS = ["CUresult", "CUdevice_attribute", "CUpointer_attribute"];

function ffiType(type: unknown): string | number {
  return typeof type === "string" ? type : 8 * (type as { struct: unknown[] }).struct.length;
}

/**
 * Reads the declarations out of the table's source, and sees to it that every parameter of the table has one.
 *
 * @throws if the source cannot be parsed
 */
export function readClaims(): Claims {
  const source = Deno.readTextFileSync(`${ROOT}/ffi/cuda_symbols.ts`);
  const functions = Object.entries(CUDA_SYMBOLS as unknown as Table).map(([name, { parameters, result }]) => {
    const start = source.indexOf(`\n  ${name}: {`);
    if (start < 0) throw new Error(`${name} is not found in the source`);
    const text = source.slice(start, source.indexOf(" result:", start));
    const comments = [...text.matchAll(/(?:\/\/ (.*)|\/\* (.*?) \*\/)/g)].map((match) => match[1] ?? match[2]);
    if (comments.length !== parameters.length) {
      throw new Error(`${name} has ${parameters.length} parameters and ${comments.length} C declarations`);
    }
    return {
      name,
      parameters: parameters.map((type, i) => ({ ffi: ffiType(type), c: comments[i].replace(/\w+$/, "").trim() })),
      result,
    };
  });
  const results = Object.entries(MAPPED_RESULTS).map(([value, [name]]) => [name, Number(value)]);
  return { functions, constants: { ...CUDA, ...Object.fromEntries(results) }, sizes: { ...CUDA_SIZES } };
}

/** `__builtin_classify_type` of GCC and clang. */
const INTEGER_OR_ENUM = "(KIND(T) == 1 || KIND(T) == 3)";
const POINTER = "(KIND(T) == 5)";
const UNSIGNED = "((T)-1 > (T)0)";

function condition({ ffi, c }: Parameter): string {
  if (typeof ffi === "number") return `sizeof(T) == ${ffi}`;
  const sign = ENUMERATIONS.includes(c) ? "1" : `!${UNSIGNED}`;
  const conditions: Record<string, string> = {
    buffer: POINTER,
    pointer: POINTER,
    usize: `sizeof(T) == sizeof(void *) && (${POINTER} || (${INTEGER_OR_ENUM} && ${UNSIGNED}))`,
    u64: `sizeof(T) == 8 && ${INTEGER_OR_ENUM} && ${UNSIGNED}`,
    u32: `sizeof(T) == 4 && ${INTEGER_OR_ENUM} && ${UNSIGNED}`,
    i32: `sizeof(T) == 4 && ${INTEGER_OR_ENUM} && ${sign}`,
    u8: `sizeof(T) == 1 && ${INTEGER_OR_ENUM} && ${UNSIGNED}`,
  };
  if (!(ffi in conditions)) throw new Error(`the check knows no type ${ffi}`);
  return conditions[ffi];
}

/** The C file. */
export function checkSource({ functions, constants, sizes }: Claims): string {
  const lines = ["#include <cuda.h>", "#define KIND(T) __builtin_classify_type((T)0)"];
  for (const { name, parameters, result } of functions) {
    const types = parameters.map(({ c }) => c).join(", ") || "void";
    // If the header maps the name to another, the library's function of this name is an older one.
    lines.push(`#undef ${name}`);
    lines.push(
      `_Static_assert(__builtin_types_compatible_p(__typeof__(${name}), CUresult (${types})), "${name}(${types})");`,
    );
    lines.push(`_Static_assert(${result === "i32" ? "sizeof(CUresult) == 4" : "0"}, "${name}: result ${result}");`);
    parameters.forEach((parameter, i) => {
      // The last word of a typedef keeps `T` one type also for pointers.
      lines.push(`typedef __typeof__(${parameter.c}) ${name}_${i};`);
      const text = condition(parameter).replaceAll(/\bT\b/g, `${name}_${i}`);
      lines.push(`_Static_assert(${text}, "${name}: ${parameter.c} as ${parameter.ffi}");`);
    });
  }
  for (const [name, value] of Object.entries(constants)) {
    lines.push(`_Static_assert(${name} == ${value}, "${name} is not ${value}");`);
  }
  for (const [name, size] of Object.entries(sizes)) {
    lines.push(`_Static_assert(sizeof(${name}) == ${size}, "${name} has not ${size} bytes");`);
  }
  return lines.join("\n") + "\n";
}

/**
 * Compiles the check.
 *
 * @returns What the compiler found wrong; empty if all is true
 */
export function compileCheck(claims: Claims, compiler: string, headers: string): string {
  const file = Deno.makeTempFileSync({ suffix: ".c" });
  try {
    Deno.writeTextFileSync(file, checkSource(claims));
    const args = ["-std=gnu11", "-Wall", "-Werror", "-fsyntax-only", "-isystem", headers, file];
    const { success, stderr } = new Deno.Command(compiler, { args }).outputSync();
    return success ? "" : new TextDecoder().decode(stderr) || "the compiler failed";
  } finally {
    Deno.removeSync(file);
  }
}
