/**
 * Looks for libucp in a process of its own, as the JSON in its first argument says, and prints what it found as JSON.
 * A process can load only one UCX, and the environment and permissions are part of what is tested.
 *
 * @module
 */
import { findLibucp, type FindLibucpOptions, rankLibucp } from "../../ffi/find.ts";
import { DipcError } from "../../src/errors.ts";

/** What the child is asked to do. */
export interface ChildTask {
  readonly do: "rank" | "find" | "setup";
  readonly option?: string;
  readonly search?: FindLibucpOptions;
  /** Then look for this one too. */
  readonly second?: string;
  readonly tools?: boolean;
}

/** What the child prints. */
export interface ChildAnswer {
  // deno-lint-ignore no-explicit-any
  readonly result?: any;
  readonly error?: { readonly code: string; readonly message: string };
  /** What setup reported. */
  readonly lines: string[];
  /** Files of UCX that are loaded in the child. */
  readonly loaded: string[];
}

if (import.meta.main) {
  const task = JSON.parse(Deno.args[0]) as ChildTask;
  const lines: string[] = [];
  const answer: { -readonly [K in keyof ChildAnswer]: ChildAnswer[K] } = { lines, loaded: [] };
  try {
    if (task.do === "rank") answer.result = rankLibucp(task.option, task.search);
    else if (task.do === "find") answer.result = findLibucp(task.option, task.search);
    else {
      const { setup } = await import("../../src/setup.ts");
      const report = (line: string): void => void lines.push(line);
      answer.result = await setup({ report, find: task.search, tools: task.tools });
    }
    if (task.second !== undefined) answer.result = findLibucp(task.second);
  } catch (error) {
    if (!(error instanceof DipcError)) throw error;
    answer.error = { code: error.code, message: error.message };
  }
  if (Deno.permissions.querySync({ name: "read", path: "/proc/self/maps" }).state === "granted") {
    const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
    const files = maps.map((line) => line.split(/ +/)[5]).filter((file) => /\/libuc[mpst]\.so/.test(file ?? ""));
    answer.loaded = [...new Set(files)].sort();
  }
  console.log(JSON.stringify(answer));
}
