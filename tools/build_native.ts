/**
 * Compiles the C and C++ of `native/` that tests and tools load or start, once for each state of its source.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { REPOSITORY } from "./repository.ts";

/**
 * Compiles a shared library or a program.
 *
 * @param name Its name; that of a shared library ends with `.so`
 * @param compiler Path of the compiler
 * @param sources Files to compile
 * @param args Further arguments, which come last
 * @param headers Files that the sources include, beyond those of the system
 * @returns its path
 */
export function buildNative(
  name: string,
  compiler: string,
  sources: readonly string[],
  args: readonly string[],
  headers: readonly string[] = [],
): string {
  const digest = createHash("sha256").update([compiler, ...args].join("\n"));
  for (const file of [...sources, ...headers]) digest.update(Deno.readFileSync(file));
  const isLibrary = name.endsWith(".so");
  const folder = `${REPOSITORY}/.cache/native`;
  const path = `${folder}/${digest.digest("hex").slice(0, 16)}-${name}`;
  try {
    if (Deno.statSync(path).isFile) return path;
  } catch {
    // To be compiled.
  }
  Deno.mkdirSync(folder, { recursive: true });
  const temporary = Deno.makeTempFileSync({ dir: folder, suffix: isLibrary ? ".so" : "" });
  const kind = isLibrary ? ["-shared", "-fPIC"] : [];
  const all = [...kind, "-O1", "-g", "-o", temporary, ...sources, ...args];
  const { success, stderr } = new Deno.Command(compiler, { args: all }).outputSync();
  if (!success) {
    Deno.removeSync(temporary);
    throw new Error(`${sources[0]} does not compile:\n${new TextDecoder().decode(stderr)}`);
  }
  Deno.chmodSync(temporary, 0o755);
  Deno.renameSync(temporary, path);
  return path;
}
