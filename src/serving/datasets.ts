/**
 * Opens the paths, tables and iterables that a server serves as datasets, and closes what it opened.
 *
 * @module
 */
import { type RecordBatch, Table } from "apache-arrow";
import { fileURLToPath } from "node:url";
import { DipcError } from "../errors.ts";
import { refusal } from "../options.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { Entry } from "./entry.ts";

/** What can be served from where it lies: a dataset, a file, a table, or batches. */
export type ServableSource = Dataset | Table | string | URL | Iterable<RecordBatch> | AsyncIterable<RecordBatch>;

/** A source that is copied into memory for which that matters: that of a GPU, or such that clients can read in place. */
export interface PlacedSource {
  /** The source to copy. */
  readonly source: ServableSource;
  /** Such as `"cuda:0"`; `"host"`, the default, does not copy it. */
  readonly memory?: string;
  /**
   * Whether clients on this machine may read bodies in this process's memory instead of receiving them. A table, or a dataset that
   * is in memory or is brought into that of a GPU, is copied for that once; everything else as it is read. Default false.
   */
  readonly share?: boolean;
}

/**
 * What can be served. `cStream` is the address of an `ArrowArrayStream` that another library of this process exports; the server
 * takes it over, and one client can read it.
 */
export type Servable = ServableSource | PlacedSource | { readonly cStream: bigint };

/** How {@linkcode openEntries} opens datasets. */
export interface EntryOptions {
  /** Called when a dataset that is opened here is read. */
  readonly warn: DatasetWarning;
  /** Size of the memory through which the bodies of a shared dataset stream, in bytes. */
  readonly arenaBytes: number;
}

/** Called with the name of a dataset, and with what looks wrong with its data but is not an error. */
export type DatasetWarning = (dataset: string, warning: string) => void;

/**
 * Opens everything that is to be served; if one fails, those before it are closed.
 *
 * @param datasets What to serve, by name
 * @param mayBeEmpty Whether there may be none, because clients will upload some
 * @param options What is called when a dataset that is opened here is read, and the size of shared memory
 * @throws {DipcError} `invalid_argument`, `not_found`, `invalid_data`
 */
export async function openEntries(
  datasets: Record<string, Servable>,
  mayBeEmpty: boolean,
  { warn, arenaBytes }: EntryOptions,
): Promise<Map<string, Entry>> {
  if (typeof datasets !== "object" || datasets === null || Array.isArray(datasets)) {
    throw new DipcError(
      "invalid_argument",
      "cannot start the server: datasets is not an object; give one with the name of each dataset and what to serve",
    );
  }
  const names = Object.keys(datasets);
  if (names.length === 0 && !mayBeEmpty) {
    throw new DipcError(
      "invalid_argument",
      "cannot start the server: there is nothing to serve; give at least one dataset",
    );
  }
  const entries = new Map<string, Entry>();
  try {
    for (const name of names) entries.set(name, await openEntry(name, datasets[name], { warn, arenaBytes }));
  } catch (error) {
    await closeEntries(entries.values());
    throw error;
  }
  return entries;
}

async function openEntry(name: string, served: Servable, options: EntryOptions): Promise<Entry> {
  if (name === "") {
    throw new DipcError(
      "invalid_argument",
      "cannot serve a dataset: its name is empty; give it a name, which becomes the URI's path",
    );
  }
  if (!isServable(served)) {
    throw new DipcError(
      "invalid_argument",
      `cannot serve ${JSON.stringify(name)}: ${shown(served)} is not a Dataset, Table, path or iterable of batches`,
    );
  }
  if (isCStream(served)) {
    const { fromCStream } = await import("./c_stream.ts");
    return { name, dataset: await fromCStream(served.cStream), owned: true };
  }
  if (isPlaced(served)) return await place(name, served, options);
  if (typeof served === "string" || served instanceof URL) {
    const { openPath } = await import("../files.ts");
    const path = typeof served === "string" ? served : fileURLToPath(served);
    const dataset = await openPath(path, { onWarning: (warning) => options.warn(name, warning) });
    return { name, dataset, owned: true };
  }
  if (isDataset(served)) return { name, dataset: served, owned: false };
  const { fromBatches, fromTable } = await import("../sources/table.ts");
  if (served instanceof Table) return { name, dataset: await fromTable(served), owned: true };
  if (Symbol.iterator in served || Symbol.asyncIterator in served) {
    return { name, dataset: await fromBatches(served), owned: true };
  }
  throw new DipcError(
    "invalid_argument",
    `cannot serve ${JSON.stringify(name)}: it is not a Dataset, Table, path or iterable of batches`,
  );
}

function isServable(served: unknown): served is Servable {
  if (typeof served === "string") return true;
  if (typeof served !== "object" || served === null) return false;
  if (isCStream(served)) return typeof served.cStream === "bigint";
  const known = ["schema", "source", Symbol.iterator, Symbol.asyncIterator];
  return served instanceof URL || known.some((name) => name in served);
}

function shown(value: unknown): string {
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

function isCStream(served: object | string): served is { readonly cStream: bigint } {
  return typeof served === "object" && "cStream" in served;
}

function isPlaced(served: Servable): served is PlacedSource {
  return typeof served === "object" && "source" in served && ("memory" in served || "share" in served);
}

/** Opens a source and copies it into the memory of a GPU; what was opened for that is closed again. */
async function place(name: string, placed: PlacedSource, options: EntryOptions): Promise<Entry> {
  const { source, memory = "host", share = false } = placed;
  if (typeof share !== "boolean") {
    throw new DipcError(
      "invalid_argument",
      refusal(`share of the dataset ${JSON.stringify(name)}`, share, "a boolean"),
    );
  }
  const isDevice = memory !== "host" && (await import("./device_memory.ts")).isDeviceSpace(name, memory);
  const entry = await openEntry(name, source, options);
  if (share) return await shareEntry(entry, isDevice ? memory : entry.dataset.memory ?? "host", options);
  if (!isDevice || entry.dataset.memory === memory) return entry;
  try {
    const { deviceResident } = await import("../device/upload.ts");
    return { name, dataset: await deviceResident(entry.dataset, memory), owned: true };
  } finally {
    await closeEntries([entry]);
  }
}

/** Gives a dataset memory that clients can read; what was opened for it is closed if that fails. */
async function shareEntry(entry: Entry, space: string, { arenaBytes }: EntryOptions): Promise<Entry> {
  const { name, dataset } = entry;
  try {
    if (space !== "host") return await shareOnDevice(entry, space);
    const { packDataset, StreamMemory } = await import("./shared_memory.ts");
    const { ResidentDataset } = await import("../sources/resident.ts");
    if (!(dataset instanceof ResidentDataset)) return { ...entry, shared: new StreamMemory(arenaBytes) };
    const packed = packDataset(dataset);
    await closeEntries([entry]);
    return { name, dataset: packed.dataset, owned: true, shared: packed.memory };
  } catch (error) {
    await closeEntries([entry]);
    throw error;
  }
}

/** Brings a dataset into memory of a GPU that clients can open. */
async function shareOnDevice(entry: Entry, space: string): Promise<Entry> {
  const [{ openGpu }, { uploadDataset, DeviceResidentDataset }, { packOnDevice }] = await Promise.all([
    import("../device/devices.ts"),
    import("../device/upload.ts"),
    import("./shared_device_memory.ts"),
  ]);
  const { name, dataset } = entry;
  const isThere = dataset instanceof DeviceResidentDataset && dataset.memory === space;
  const loaded = isThere ? dataset : await uploadDataset(dataset, space);
  const isOwned = !isThere || entry.owned;
  try {
    const { dataset: shared, memory } = packOnDevice(loaded, openGpu(space));
    if (shared !== loaded && isOwned) loaded.close();
    if (!isThere) await closeEntries([entry]);
    return { name, dataset: shared, owned: shared !== loaded || isOwned, shared: memory };
  } catch (error) {
    if (!isThere) loaded.close();
    throw error;
  }
}

function isDataset(value: object): value is Dataset {
  return "schema" in value && "open" in value && typeof value.open === "function";
}

/**
 * Closes the datasets that the server made itself.
 *
 * @param entries Entries to close
 */
export async function closeEntries(entries: Iterable<Entry>): Promise<void> {
  for (const { dataset, owned, shared } of entries) {
    if (owned) await dataset.close();
    shared?.close();
  }
}
