/**
 * V8's garbage collector, called by name.
 *
 * V8 lets native memory behind dropped ArrayBuffers grow beyond a hundred megabytes before it collects on its own.
 *
 * @module
 */

/** What to collect: everything, or only what is young, which takes a few milliseconds whatever the heap's size. */
export type Collection = "all" | "young";

/** The modules of Node that lead to the collector; loading them takes a tenth of a second, so only when needed. */
interface NodeProcess {
  getBuiltinModule?(name: "node:v8"): { setFlagsFromString(flags: string): void };
  getBuiltinModule?(name: "node:vm"): { runInNewContext(code: string): unknown };
}

type Collector = (options?: { type: "minor" }) => void;

let collector: Collector | null = null;

/**
 * Collects garbage now. Does nothing if the collector cannot be reached.
 *
 * @param what What to collect
 */
export function collect(what: Collection): void {
  collector ??= findCollector();
  if (what === "all") collector();
  else collector({ type: "minor" });
}

function findCollector(): Collector {
  try {
    const { process } = globalThis as { process?: NodeProcess };
    process!.getBuiltinModule!("node:v8").setFlagsFromString("--expose-gc");
    const gc = process!.getBuiltinModule!("node:vm").runInNewContext("gc");
    if (typeof gc === "function") return gc as Collector;
  } catch {
    // V8 then collects at its own pace.
  }
  return () => {};
}
