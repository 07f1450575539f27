/**
 * A dataset as a table of DuckDB, which reads its batches in place.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { Arena } from "../c_data/arena.ts";
import { exportArrays } from "../c_data/export.ts";
import { type ExportSource, openSource, type StreamSource } from "../c_data/export_source.ts";
import { scratch } from "../c_data/raw.ts";
import { C_LAYOUT, releaseStruct } from "../c_data/structs.ts";
import type { NativeConnection } from "./native.ts";
import { ScanColumns } from "./scan_columns.ts";
import { ANY_CONNECTION, SCAN_FUNCTION } from "./scan_function.ts";
import { SOURCE, SOURCE_BYTES } from "./scan_source.ts";

const ARRAY_BYTES = BigInt(C_LAYOUT.ArrowArray.size);

/** The batches of a dataset, which all connections of a database can read, any number of times. */
export class NativeTable {
  readonly #arena = new Arena();
  readonly #columns: ScanColumns;
  /** Addresses of `ArrowArray`s. */
  readonly #batches: readonly bigint[];
  /** What the table function is called with. */
  readonly #id: bigint;
  #isFreed = false;

  private constructor(columns: ScanColumns, batches: readonly bigint[], id: (struct: bigint, arena: Arena) => bigint) {
    this.#columns = columns;
    this.#batches = batches;
    this.#id = id(this.#arena.zeros(SOURCE_BYTES), this.#arena);
  }

  /**
   * Reads a dataset to its end, and makes a view of it. Its bodies stay in place, be that a mapped file or memory.
   *
   * @param connection A connection that stays open as long as the table is used. Not within a call of it
   * @param view Name of the view, as a statement has it
   * @param source The dataset
   * @throws {DipcError} `unsupported`, naming the column, for a type that DuckDB does not have; what the source throws
   */
  static async create(connection: NativeConnection, view: string, source: StreamSource): Promise<NativeTable> {
    const action = "make a table of the dataset";
    return await connection.run(action, undefined, async () => {
      const table = await NativeTable.#load(connection, source);
      try {
        const from = `from ${SCAN_FUNCTION}(${table.#id})`;
        await connection.execute(action, `create view ${view} as ${from}`);
        return table;
      } catch (error) {
        table.free();
        throw error;
      }
    });
  }

  static async #load(connection: NativeConnection, source: StreamSource): Promise<NativeTable> {
    const fn = await connection.database.scanFunction(connection.handle);
    const opened = await openSource(source);
    const batches: bigint[] = [];
    const arena = new Arena();
    let columns: ScanColumns | null = null, rows = 0;
    try {
      columns = new ScanColumns(connection.library, connection.handle, opened.schema.layout);
      rows = await collect(opened, arena, batches);
      const { types, names, schemas } = columns;
      return new NativeTable(columns, batches, (struct, own) => {
        const list = own.zeros(Math.max(1, batches.length) * Number(ARRAY_BYTES));
        batches.forEach((batch, i) => {
          const at = list + BigInt(i) * ARRAY_BYTES;
          libc().memcpy(at, batch, ARRAY_BYTES);
          batches[i] = at;
        });
        const place = scratch(SOURCE_BYTES);
        place.words[SOURCE.connection / 8] = connection.handle;
        place.words[SOURCE.columnCount / 8] = BigInt(types.length);
        place.words[SOURCE.types / 8] = own.words(types);
        place.words[SOURCE.names / 8] = own.words(names.map((name) => own.text("the name of a column", name)));
        place.words[SOURCE.schemas / 8] = own.words(schemas);
        place.words[SOURCE.batches / 8] = list;
        place.words[SOURCE.batchCount / 8] = BigInt(batches.length);
        place.words[SOURCE.rowCount / 8] = BigInt(rows);
        libc().memcpy(struct, place.address, BigInt(SOURCE_BYTES));
        return fn.add(ANY_CONNECTION, struct).id;
      });
    } catch (error) {
      for (const batch of batches) releaseStruct("ArrowArray", batch);
      columns?.[Symbol.dispose]();
      throw error;
    } finally {
      arena[Symbol.dispose]();
      await opened.close();
    }
  }

  /** Releases the batches, after the database was closed. Idempotent. */
  free(): void {
    if (this.#isFreed) return;
    this.#isFreed = true;
    for (const batch of this.#batches) releaseStruct("ArrowArray", batch);
    this.#columns[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }
}

/** Exports every batch of a source. @returns the number of their rows */
async function collect(source: ExportSource, arena: Arena, into: bigint[]): Promise<number> {
  let rows = 0;
  for (let batch; (batch = await source.next()) !== null;) {
    const target = arena.zeros(Number(ARRAY_BYTES));
    rows += batch.arrays.batch.rows;
    exportArrays(batch, target);
    into.push(target);
  }
  return rows;
}
