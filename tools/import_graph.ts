/**
 * Who imports whom in the package: types and lazy imports count too.
 *
 * @module
 */
import { REPOSITORY } from "./repository.ts";

/** Files of the package and what each of them imports, as paths from the root of the repository. */
export type ImportGraph = ReadonlyMap<string, ReadonlySet<string>>;

/** The parts of `deno info --json` that are used. */
interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

/** Entry points of the package, and the worker that is loaded by its URL. */
function roots(): string[] {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${REPOSITORY}/deno.json`)) as {
    exports: Record<string, string>;
  };
  return [...Object.values(exports), "src/sources/parquet/decode_worker.ts"];
}

async function infoOf(root: string): Promise<Info> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", root],
    cwd: REPOSITORY,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`deno info ${root} failed: ${decoder.decode(stderr)}`);
  return JSON.parse(decoder.decode(stdout)) as Info;
}

/** What is reachable from the entry points. */
export async function importGraph(): Promise<ImportGraph> {
  const base = new URL(`file://${REPOSITORY}/`).href;
  const isOurs = (specifier: string | undefined): specifier is string =>
    specifier?.startsWith(base) === true && specifier.endsWith(".ts");
  const graph = new Map<string, Set<string>>();
  for (const { modules } of await Promise.all(roots().map(infoOf))) {
    for (const { specifier, dependencies = [] } of modules) {
      if (!isOurs(specifier)) continue;
      const targets = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier]).filter(isOurs);
      graph.set(specifier.slice(base.length), new Set(targets.map((target) => target.slice(base.length))));
    }
  }
  return graph;
}

/**
 * The room of a file: its folder below `src/`, `ffi`, the name of a file of `src/` that stands alone, or that of an entry point
 * with its `.ts`.
 *
 * @param file Path from the root of the repository
 */
export function roomOf(file: string): string {
  const [top, second, third] = file.split("/");
  if (top === "src" && second !== undefined) return third === undefined ? second.replace(/\.ts$/, "") : second;
  return top;
}

/** Rooms and the rooms that each imports. */
export function roomGraph(graph: ImportGraph): Map<string, Set<string>> {
  const rooms = new Map<string, Set<string>>();
  for (const [file, targets] of graph) {
    const room = roomOf(file);
    const known = rooms.get(room) ?? new Set<string>();
    rooms.set(room, known);
    for (const target of targets) if (roomOf(target) !== room) known.add(roomOf(target));
  }
  return rooms;
}

/** Groups of nodes that import each other in a circle: none if all is well. */
export function cyclesOf(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const index = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): void => {
    const number = index.size;
    index.set(node, number);
    lowest.set(node, number);
    stack.push(node);
    for (const target of graph.get(node) ?? []) {
      if (!index.has(target)) visit(target);
      if (stack.includes(target)) lowest.set(node, Math.min(lowest.get(node)!, lowest.get(target)!));
    }
    if (lowest.get(node) !== number) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1 || graph.get(node)?.has(node)) found.push(group.sort());
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return found;
}

/** The files of a package folder, as paths from the root of the repository. */
export function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(`${REPOSITORY}/${folder}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${folder}/${name}`) : name.endsWith(".ts") ? [`${folder}/${name}`] : []
  ).sort();
}
