/**
 * DuckDB as an engine that decodes Parquet files, with several threads.
 *
 * @module
 */
import { locateLibduckdb } from "../../../ffi/duckdb_location.ts";
import { LocalError } from "../../errors.ts";
import { typeText } from "../../ipc/describe.ts";
import { quoted } from "../../ipc/quote.ts";
import type { NativeFile, NativeParquet, NativeReader } from "../../sources/parquet/engine.ts";
import { columnsOfQuery } from "../result.ts";
import type { RowColumn } from "../rows.ts";
import { rowColumn } from "../row_columns.ts";
import { isConverted } from "./columns.ts";
import { errorOf, FileRun } from "./run.ts";
import { SharedDatabase } from "./shared_database.ts";

/** The engine. */
export const duckDbParquet: NativeParquet = {
  findObstacle(): string | null {
    const location = locateLibduckdb();
    if (location === null) return "DuckDB is not installed";
    if (Deno.permissions.querySync({ name: "ffi", path: location.path }).state !== "granted") {
      return "DuckDB may not be loaded without --allow-ffi";
    }
    return null;
  },

  async open(file: NativeFile): Promise<NativeReader> {
    const database = await SharedDatabase.acquire();
    try {
      const sql = `from read_parquet('${file.source}', hive_partitioning = false, binary_as_string = false)`;
      return new DuckDbReader(database, file, sql, await planColumns(database, file, sql));
    } catch (error) {
      await database.release();
      throw errorOf(file, error);
    }
  },
};

/**
 * How each column is read; `null` if some are nested, and all are converted by DuckDB.
 *
 * @throws {DipcError} `unsupported`, by the name of the column; what DuckDB reports
 */
async function planColumns(database: SharedDatabase, file: NativeFile, sql: string): Promise<RowColumn[] | null> {
  if (file.obstacle !== null) throw misfit(file, `it ${file.obstacle}`);
  const { fields } = file.schema.layout!;
  const found = await database.run("read the schema of the file", (connection) => columnsOfQuery(connection, sql));
  if (found.length !== fields.length) throw misfit(file, `it finds ${found.length} columns, not ${fields.length}`);
  const isFlat = fields.every(({ children }) => children.length === 0);
  const columns: RowColumn[] = [];
  fields.forEach((field, i) => {
    const column = isFlat ? rowColumn(found[i], field) : null;
    if (column !== null) columns.push(column);
    else if (isFlat || !isConverted(found[i].arrow, field)) {
      throw misfit(file, `it would not give column ${quoted(field.name)} as ${typeText(field)}`);
    }
  });
  return isFlat ? columns : null;
}

function misfit(file: NativeFile, what: string): LocalError {
  return new LocalError("unsupported", `cannot read "${file.path}" by DuckDB: ${what}; choose the engine "wasm"`);
}

class DuckDbReader implements NativeReader {
  readonly #database: SharedDatabase;
  readonly #file: NativeFile;
  readonly #sql: string;
  readonly #columns: readonly RowColumn[] | null;
  readonly #runs = new Set<FileRun>();
  #closing: Promise<void> | null = null;

  constructor(database: SharedDatabase, file: NativeFile, sql: string, columns: readonly RowColumn[] | null) {
    this.#database = database;
    this.#file = file;
    this.#sql = sql;
    this.#columns = columns;
  }

  open(signal?: AbortSignal): FileRun {
    const parts = { file: this.#file, sql: this.#sql, columns: this.#columns };
    const run: FileRun = new FileRun(this.#database, parts, signal, () => this.#runs.delete(run));
    this.#runs.add(run);
    return run;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#runs].map((run) => run.close()));
    await this.#database.release();
  }
}
