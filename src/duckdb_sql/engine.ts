/**
 * DuckDB as the engine of a Flight SQL server: datasets as tables, and nothing else of this machine.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { EngineCatalog, EngineConnection, EngineFacts, EnginePlace, SqlEngine } from "../flight_sql/engine.ts";
import { checkOptionNames, integerIn } from "../options.ts";
import { FileHandle } from "../sources/file_handle.ts";
import { formatOfFile, openPath } from "../sources/open_path.ts";
import { statPath } from "../sources/paths.ts";
import { DuckDbDatabase } from "../duckdb/database.ts";
import { identifier, literal } from "../duckdb/identifiers.ts";
import { duckDbLibrary } from "../duckdb/library.ts";
import { NativeConnection, NativeDatabase } from "../duckdb/native.ts";
import { NativeTable } from "../duckdb/table.ts";
import { DuckDbCatalog } from "./catalog.ts";
import { DuckDbSqlConnection } from "./connection.ts";
import { duckDbInfo } from "./info.ts";
import { MAIN } from "./place.ts";
import type { DuckDbEngineOptions } from "./options.ts";
import { DUCKDB_SQL_TYPES } from "./types.ts";

const KEYS: Readonly<Record<keyof DuckDbEngineOptions, true>> = {
  ...{ tables: true, write: true, memoryLimit: true, threads: true, library: true },
};

/** Nothing is fetched from a network, and nothing is kept beside the tables, or after them. */
const CONFIG: Readonly<Record<string, string>> = {
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  allow_community_extensions: "false",
  allow_persistent_secrets: "false",
  // It would be named among the settings.
  secret_directory: "",
  extension_directory: "",
  // What a statement has used goes back to the system after it, also while no other one comes: it stays gigabytes otherwise.
  allocator_background_threads: "true",
};

/** The database with the tables of clients, and its file. */
const WRITTEN = "tables";
/** The database with the datasets, which nobody changes. */
const DATASETS = "datasets";

/** Opens DuckDB as an engine, as `duckDbEngine` says. */
export async function openEngine(options: DuckDbEngineOptions): Promise<DuckDbEngine> {
  checkOptionNames("duckDbEngine", options, KEYS);
  const { memoryLimit, threads, write } = options;
  if (write !== undefined && !statPath(write).isDirectory) {
    throw new DipcError(
      "invalid_argument",
      `cannot keep tables in "${write}": it is not a folder; give the path of one`,
    );
  }
  const config: Record<string, string> = { ...CONFIG, temp_directory: write === undefined ? "" : `${write}/spilled` };
  if (memoryLimit !== undefined) config.memory_limit = memoryLimit;
  if (threads !== undefined) config.threads = String(integerIn("threads", threads, 1, 1024));
  const native = await NativeDatabase.open(duckDbLibrary(options.library), null, config);
  const engine = new DuckDbEngine(native, write !== undefined);
  try {
    await engine._open(options.tables, write);
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** DuckDB as an engine. Made by `duckDbEngine`. */
export class DuckDbEngine implements SqlEngine, AsyncDisposable {
  /** What clients learn about it. */
  facts: EngineFacts;
  readonly #catalog: DuckDbCatalog;
  readonly #native: NativeDatabase;
  /** Catalogs in which names are looked for, in order. */
  readonly #catalogs: readonly string[];
  readonly #tables: NativeTable[] = [];
  readonly #files: FileHandle[] = [];
  #closing: Promise<void> | null = null;

  /** @ignore Use `duckDbEngine`. */
  constructor(native: NativeDatabase, canWrite: boolean) {
    this.#native = native;
    this.#catalogs = [...canWrite ? [WRITTEN] : [], DATASETS];
    this.#catalog = new DuckDbCatalog(new DuckDbDatabase(native));
    this.facts = {
      name: "DuckDB",
      version: native.library.version.replace(/^v/, ""),
      isReadOnly: !canWrite,
      transactions: "transactions",
      canIngest: canWrite,
      types: DUCKDB_SQL_TYPES,
    };
  }

  /** @ignore Makes the tables, then closes everything else off. */
  async _open(tables: DuckDbEngineOptions["tables"], write: string | undefined): Promise<void> {
    const connection = await NativeConnection.open(this.#native);
    const execute = (sql: string): Promise<number> =>
      connection.run("open the tables", undefined, () => connection.execute("open the tables", sql));
    const place = write === undefined ? ":memory:" : `${write}/${DATASETS}.duckdb`;
    if (write !== undefined) {
      await execute(`attach ${literal(`${write}/${WRITTEN}.duckdb`)} as ${WRITTEN}`);
      await Deno.remove(place).catch(() => {});
    }
    await execute(`attach ${literal(place)} as ${DATASETS}`);
    for (const [name, source] of Object.entries(tables)) {
      if (typeof source === "string" && formatOfFile(source) === "parquet") {
        const file = FileHandle.open(source);
        this.#files.push(file);
        await execute(`create view ${DATASETS}.main.${identifier(name)} as ${scanOf(file)}`);
      } else {
        const dataset = typeof source === "string" ? await openPath(source, { map: "guarded" }) : source;
        try {
          this.#tables.push(await NativeTable.create(connection, `${DATASETS}.main.${identifier(name)}`, dataset));
        } finally {
          if (typeof source === "string") await (dataset as { close(): Promise<void> }).close();
        }
      }
    }
    if (write !== undefined) {
      // Clients who may write could replace the views otherwise. Nothing but a file can be attached in this way.
      await execute(`detach ${DATASETS}`);
      await execute(`attach ${literal(place)} as ${DATASETS} (read_only)`);
    }
    await execute(`set allowed_paths = [${this.#files.map((file) => literal(pathOf(file))).join(", ")}]`);
    await execute("set enable_external_access = false");
    this.facts = { ...this.facts, info: duckDbInfo(!this.facts.isReadOnly, await this.#catalog.keywords()) };
  }

  get catalog(): EngineCatalog {
    return this.#catalog;
  }

  connect(): Promise<EngineConnection> {
    return DuckDbSqlConnection.open(this.#native, this.facts.isReadOnly, this.#catalogs);
  }

  async missingIn({ catalog, schema }: EnginePlace): Promise<keyof EnginePlace | null> {
    const found = await this.#catalog.schemas();
    const within = found.filter((each) => isSameName(each.catalog, catalog ?? this.#catalogs[0]));
    if (within.length === 0) return "catalog";
    return within.some((each) => isSameName(each.schema, schema ?? MAIN)) ? null : "schema";
  }

  /** Ends the connections, and closes DuckDB. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#native.close();
    for (const table of this.#tables) table.free();
    for (const file of this.#files) file[Symbol.dispose]();
  }
}

/** The file that was opened, whatever is at its path by now; and no client learns that. */
function pathOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

function scanOf(file: FileHandle): string {
  return `from read_parquet(${literal(pathOf(file))}, hive_partitioning = false, binary_as_string = false)`;
}

/** Whether two names are one to DuckDB. */
function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
