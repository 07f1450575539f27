/**
 * What a server serves under which name: opens paths, tables and iterables as datasets, and closes what it opened.
 *
 * @module
 */
import { type RecordBatch, Table } from "apache-arrow";
import { fileURLToPath } from "node:url";
import { DipcError } from "./errors.ts";
import type { Dataset } from "./sources/dataset.ts";

/** What can be served: a dataset, a file, a table, or batches. */
export type Servable = Dataset | Table | string | URL | Iterable<RecordBatch> | AsyncIterable<RecordBatch>;

/** One dataset that is served. */
export interface Entry {
  /** Its name. */
  readonly name: string;
  /** What is served. */
  readonly dataset: Dataset;
  /** True where the server made the dataset itself and therefore closes it. */
  readonly owned: boolean;
}

/**
 * Opens everything that is to be served; where one fails, those before it are closed.
 *
 * @param datasets What to serve under which name
 * @param mayBeEmpty Whether there need not be any: clients will upload some
 * @throws {DipcError} `invalid_argument`, `not_found`, `invalid_data`
 */
export async function openEntries(
  datasets: Record<string, Servable>,
  mayBeEmpty: boolean,
): Promise<Map<string, Entry>> {
  const names = Object.keys(datasets);
  if (names.length === 0 && !mayBeEmpty) {
    throw new DipcError("invalid_argument", "there is nothing to serve: give at least one dataset");
  }
  const entries = new Map<string, Entry>();
  try {
    for (const name of names) entries.set(name, await openEntry(name, datasets[name]));
  } catch (error) {
    await closeEntries(entries.values());
    throw error;
  }
  return entries;
}

async function openEntry(name: string, served: Servable): Promise<Entry> {
  if (name === "") {
    throw new DipcError("invalid_argument", "a dataset's name is empty: give it a name, it becomes the URI's path");
  }
  if (typeof served === "string" || served instanceof URL) {
    const { openPath } = await import("./sources/open_path.ts");
    const path = typeof served === "string" ? served : fileURLToPath(served);
    return { name, dataset: await openPath(path), owned: true };
  }
  if (isDataset(served)) return { name, dataset: served, owned: false };
  const { fromBatches, fromTable } = await import("./sources/table.ts");
  if (served instanceof Table) return { name, dataset: await fromTable(served), owned: true };
  if (Symbol.iterator in served || Symbol.asyncIterator in served) {
    return { name, dataset: await fromBatches(served), owned: true };
  }
  throw new DipcError(
    "invalid_argument",
    `the dataset ${JSON.stringify(name)} is no Dataset, Table, path or iterable of batches`,
  );
}

function isDataset(value: object): value is Dataset {
  return "schema" in value && "open" in value && typeof value.open === "function";
}

/**
 * Closes the datasets that the server made itself.
 *
 * @param entries What was opened
 */
export async function closeEntries(entries: Iterable<Entry>): Promise<void> {
  for (const { dataset, owned } of entries) if (owned) await dataset.close();
}
