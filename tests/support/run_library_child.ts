/**
 * Runs `library_child.ts`.
 *
 * @module
 */
import type { ChildAnswer, ChildTask } from "./library_child.ts";

const CHILD = new URL("library_child.ts", import.meta.url).pathname;

/** Environment and permissions of the child. */
export interface ChildOptions {
  /** Its whole environment, beside where Deno keeps its cache. */
  readonly env?: Record<string, string>;
  /** Permission flags; all permissions by default. */
  readonly permissions?: string[];
}

/** Deno's cache folder, which a child with another `HOME` must be given. */
export function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
}

/** Runs the child. @throws {Error} if it fails otherwise than by a `DipcError`, or prints anything else */
export async function runLibraryChild(task: ChildTask, options: ChildOptions = {}): Promise<ChildAnswer> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", ...(options.permissions ?? ["-A"]), CHILD, JSON.stringify(task)],
    clearEnv: true,
    env: { DENO_DIR: denoDir(), NO_COLOR: "1", ...options.env },
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (code !== 0) throw new Error(`the child ended with status ${code}: ${text}${new TextDecoder().decode(stderr)}`);
  return JSON.parse(text) as ChildAnswer;
}
