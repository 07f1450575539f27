/**
 * Finds the fuzz targets and their corpus.
 *
 * @module
 */
import type { FuzzTarget } from "./target.ts";

const HERE = new URL("./", import.meta.url);

const files = new WeakMap<FuzzTarget, string>();

/** All targets, by name. @throws {Error} if a module has no target or a name is taken */
export async function loadTargets(): Promise<FuzzTarget[]> {
  const targets = new Map<string, FuzzTarget>();
  const names = [...Deno.readDirSync(new URL("targets/", HERE))].map(({ name }) => name);
  for (const file of names.filter((name) => name.endsWith(".ts")).sort()) {
    for (const target of await loadTargetsOf(file)) {
      if (targets.has(target.name)) throw new Error(`tests/fuzz/targets/${file}: the name ${target.name} is taken`);
      targets.set(target.name, target);
    }
  }
  return [...targets.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The targets of one module, by its file's name. @throws {Error} if it has none */
export async function loadTargetsOf(file: string): Promise<FuzzTarget[]> {
  const exported = (await import(new URL(`targets/${file}`, HERE).href)).default;
  const list: FuzzTarget[] = Array.isArray(exported) ? exported : [exported];
  for (const target of list) {
    if (typeof target?.run !== "function") {
      throw new Error(`tests/fuzz/targets/${file} has no target as its default export`);
    }
    files.set(target, file);
  }
  return list;
}

/** The file's name of a target's module. */
export function fileOf(target: FuzzTarget): string {
  return files.get(target)!;
}

/** Targets with this name, or with this part of a name. */
export function chooseTargets(targets: readonly FuzzTarget[], wanted: string): FuzzTarget[] {
  return targets.filter(({ name }) => name === wanted || name.split("/").includes(wanted));
}

/** Folder of a target's corpus. */
export function corpusFolder(name: string): URL {
  return new URL(`corpus/${name}/`, HERE);
}

/** Inputs of a target's committed corpus, in the order of their names. */
export function loadCorpus({ name: own, corpusOf: name = own }: FuzzTarget): Uint8Array<ArrayBuffer>[] {
  try {
    const files = [...Deno.readDirSync(corpusFolder(name))].filter((entry) => entry.isFile).map((entry) => entry.name)
      .sort();
    return files.map((file) => Deno.readFileSync(new URL(file, corpusFolder(name))));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
