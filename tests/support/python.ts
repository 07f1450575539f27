/**
 * Runs the Python programs of `tests/python`, which use pyarrow as the peer written by others.
 *
 * @module
 */
import { findPeers, PEER_ADVICE } from "../../tools/peers.ts";
import { ROOT } from "./paths.ts";
import type { Need } from "./needs.ts";

/** A Python with pyarrow: the virtual environment of `deno task setup`, or the one `DIPC_PYTHON` names. */
export const python: string | null = findPeers().python;

/** Python with pyarrow. */
export const needsPython: Need = {
  what: "Python with pyarrow",
  present: python !== null,
  how: PEER_ADVICE.python,
};

/** Python with further packages of `requirements.txt`, such as those of an environment that was made before they were in it. */
export function needsPackages(...modules: readonly string[]): Need {
  const search = `import importlib.util, sys; sys.exit(any(importlib.util.find_spec(m) is None for m in ${
    JSON.stringify(modules)
  }))`;
  const present = python !== null &&
    new Deno.Command(python, { args: ["-c", search], stderr: "null" }).outputSync().success;
  return { what: `Python with ${modules.join(" and ")}`, present, how: PEER_ADVICE.python };
}

/** A program that a package of `requirements.txt` brings. */
export function programOf(name: string): string | null {
  const path = python?.replace(/[^/]*$/, name);
  try {
    return path !== undefined && Deno.statSync(path).isFile ? path : null;
  } catch {
    return null;
  }
}

/**
 * Runs one of the programs and returns what it printed, as JSON.
 *
 * @param script File name in `tests/python`
 * @param input Becomes its standard input, as JSON
 */
export async function runPython(script: string, args: readonly string[], input?: unknown): Promise<unknown> {
  if (python === null) throw new Error(`${needsPython.what} is missing; ${needsPython.how}`);
  const child = new Deno.Command(python, {
    args: [`${ROOT}/tests/python/${script}`, ...args],
    env: { PYTHONDONTWRITEBYTECODE: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  if (input !== undefined) await writer.write(new TextEncoder().encode(JSON.stringify(input)));
  await writer.close();
  const { code, signal, stdout, stderr } = await output;
  const text = new TextDecoder().decode(stdout);
  if (code !== 0) {
    throw new Error(`${script} ended with ${signal ?? `status ${code}`}:\n${new TextDecoder().decode(stderr)}${text}`);
  }
  return JSON.parse(text);
}

/** What `compare.py` says about one pair. */
export interface Comparison {
  name: string;
  equal: boolean;
  reason: string;
  batches: number;
  rows: number;
  /** Whether messages are the same byte for byte, even if their order is not; else "other". */
  bytes: "identical" | "reordered" | "other";
}

/** Compares fetched data with served data, by pyarrow. */
export async function compareByPyarrow(pairs: { name: string; want: string; got: string }[]): Promise<Comparison[]> {
  return await runPython("compare.py", [], pairs) as Comparison[];
}
