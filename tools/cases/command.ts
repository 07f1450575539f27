/**
 * The command as a program of its own, for cases that start it.
 *
 * @module
 */
import { ROOT } from "./bench.ts";

/** Writes a program that runs the command. @returns its path */
export async function makeCommand(
  path: string,
  { deno = Deno.execPath(), root = ROOT, env = {} }: { deno?: string; root?: string; env?: Record<string, string> } =
    {},
): Promise<string> {
  const words = [deno, "run", "-A", "--quiet", "--no-check", "--config", `${root}deno.json`, `${root}cli.ts`];
  const exports = Object.entries(env).map(([name, value]) => `export ${name}='${value}'\n`).join("");
  await Deno.writeTextFile(path, `#!/bin/sh\n${exports}exec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
  await Deno.chmod(path, 0o755);
  return path;
}
