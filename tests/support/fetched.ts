/**
 * Serves files with one `dipc serve` process, fetches each with a `dipc get` process, and compares with pyarrow.
 *
 * @module
 */
import { dipc, getArguments, serve } from "./processes.ts";
import { TemporaryFolder } from "./paths.ts";
import { compareByPyarrow, type Comparison } from "./python.ts";
import { printTable } from "./table.ts";

/** Processes that run concurrently. */
const AT_ONCE = 3;

/** A file and the name it is served under. */
export interface Served {
  name: string;
  path: string;
}

/** What became of one file. */
export interface FetchResult extends Comparison {
  /** Exit status of `dipc get`. */
  code: number;
  stderr: string;
}

/**
 * Fetches every file in two processes and prints the table of all results.
 *
 * @param title Heading of the table
 * @param env Environment of both processes
 * @param serveArguments Further arguments of `dipc serve`
 * @param fetchArguments Further arguments of `dipc get`
 */
export async function fetchAndCompare(
  title: string,
  files: readonly Served[],
  env: Record<string, string> = {},
  serveArguments: readonly string[] = [],
  fetchArguments: readonly string[] = [],
): Promise<FetchResult[]> {
  using folder = new TemporaryFolder();
  await using server = await serve([...files.map(({ name, path }) => `${name}=${path}`), ...serveArguments], { env });
  const outcomes = new Map<string, { code: number; stderr: string }>();
  const waiting = [...files.entries()];
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [number, { name }] = next;
      const target = folder.file(`${number}.arrows`);
      const args = [...getArguments(server.uris(name)), "-o", target, "--json", ...fetchArguments];
      outcomes.set(name, await dipc(args, { env }));
    }
  });
  await Promise.all(workers);
  const whole = [...files.entries()].filter(([, { name }]) => outcomes.get(name)!.code === 0);
  const compared = await compareByPyarrow(
    whole.map(([number, { name, path }]) => ({ name, want: path, got: folder.file(`${number}.arrows`) })),
  );
  const results = files.map(({ name }): FetchResult => {
    const { code, stderr } = outcomes.get(name)!;
    const comparison = compared.find((each) => each.name === name);
    return {
      ...(comparison ?? { name, equal: false, reason: "refused", batches: 0, rows: 0, bytes: "other" as const }),
      code,
      stderr,
    };
  });
  printTable(
    title,
    ["file", "exit", "batches", "rows", "equal", "bytes", "reason"],
    results.map((result) => [
      result.name,
      String(result.code),
      String(result.batches),
      String(result.rows),
      result.equal ? "yes" : "NO",
      result.bytes,
      result.equal ? "" : `${result.reason} ${result.code === 0 ? "" : result.stderr.trim()}`,
    ]),
  );
  return results;
}

/** What is wrong with results that should all be whole and unchanged: nothing is an empty list. */
export function faults(results: readonly FetchResult[]): string[] {
  return results.filter(({ equal, bytes }) => !equal || bytes === "other")
    .map(({ name, equal, reason }) => `${name}: ${equal ? "the messages' bytes have changed" : reason}`);
}
